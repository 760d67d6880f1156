"""flash-linear-attention's HGRN: `pip install flash-linear-attention`. It takes [B, T, D] and the logarithm of a."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from lrscan.cases import Case, Leaves
from lrscan.measure import Results, program, results
from torch import Tensor

from bench.peers.base import Built, Peer

try:
    from fla.ops.hgrn import chunk_hgrn, fused_recurrent_hgrn

    _why_not = None
except Exception as error:  # it asks for a driver on import
    chunk_hgrn = fused_recurrent_hgrn = None
    _why_not = f"flash-linear-attention: {str(error).strip().partition(chr(10))[0]}"


def _missing(device: str) -> str | None:
    return _why_not or (None if device.startswith("cuda") else "runs on GPUs only")


def _build(function: Callable[..., Any]) -> Callable[[Case, Leaves, Tensor | None], Built]:
    def build(case: Case, leaves: Leaves, bounds: Tensor | None) -> Built:
        own = {"a": leaves["a"].detach().log().requires_grad_(), "b": leaves["b"]}

        def run(given: Leaves) -> Tensor:
            out: Tensor = function(given["b"], given["a"])[0]
            return out

        def restored() -> Results:
            found = results(case.direction, run, own)
            if "d a" in found:  # from the gradient of log a
                found["d a"] = found["d a"] / leaves["a"].detach()
            return {name: torch.as_tensor(one) for name, one in found.items()}

        return Built(program(case.direction, run, own), restored)

    return build


PEERS = [
    Peer(
        name=f"fla {name}",
        what="From [B, T, D] and log a, which is computed before the clock starts.",
        operators=frozenset({"linear"}),
        build=_build(function),
        missing=_missing,
        most_steps=2**31,
    )
    for name, function in (("chunk_hgrn", chunk_hgrn), ("fused_recurrent_hgrn", fused_recurrent_hgrn))
]
