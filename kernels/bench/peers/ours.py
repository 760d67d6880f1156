"""Every backend of lrscan, and the padded twin of each on a batch of different lengths."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import lrscan
import torch
from lrscan.cases import OPERATORS, Case, Leaves, call
from torch import Tensor

from bench.peers.base import Built, Peer, of_torch, rearranged

NOT_TIMED = frozenset({"reference", "triton-interpret"})
"""What is there to be right, and not to be fast."""


def _build(backend: str) -> Callable[[Case, Leaves, Tensor | None], Built]:
    def build(case: Case, leaves: Leaves, bounds: Tensor | None) -> Built:
        return of_torch(case, leaves, lambda given: call(case, given, bounds, backend))

    return build


def _build_padded(backend: str) -> Callable[[Case, Leaves, Tensor | None], Built]:
    def build(case: Case, leaves: Leaves, bounds: Tensor | None) -> Built:
        ends = [] if bounds is None else bounds.tolist()
        spans = list(pairwise(ends))

        def pad(packed: Tensor) -> Tensor:
            padded = packed.new_zeros(case.batch, case.time, *packed.shape[1:])
            for n, (start, end) in enumerate(spans):
                padded[n, : end - start] = packed[start:end]
            return padded

        def unpad(padded: Tensor) -> Tensor:
            return torch.cat([padded[n, : end - start] for n, (start, end) in enumerate(spans)])

        return rearranged(case, leaves, lambda given: call(case, given, None, backend), pad, unpad)

    return build


def _missing(backend: str) -> Callable[[str], str | None]:
    def missing(device: str) -> str | None:
        why = lrscan.backends()[backend]
        if why is None and backend == "native" and device.startswith("cuda"):
            return "runs on CPUs only"
        if why is None and backend == "triton" and device == "cpu":
            return "runs on GPUs only"
        return why

    return missing


def _common(backend: str) -> dict[str, Any]:
    unbounded = backend in {"native", "triton"}
    return {
        "operators": frozenset(OPERATORS),
        "missing": _missing(backend),
        "ours": True,
        **({"most_steps": 2**31} if unbounded else {}),
    }


def peer(backend: str) -> Peer:
    """A backend, on padded or packed inputs as the case has them."""
    what = "This project, from [B, T, D]."
    return Peer(name=f"lrscan {backend}", what=what, build=_build(backend), packed=True, **_common(backend))


def padded_twin(backend: str) -> Peer:
    """The same on a packed case laid out with zeros up to the longest sequence."""
    what = "The same sequences with zeros up to the longest."
    name = f"lrscan {backend}, padded"
    return Peer(name=name, what=what, build=_build_padded(backend), padded=True, **_common(backend))


PEERS = [make(backend) for backend in lrscan.backends() if backend not in NOT_TIMED for make in (peer, padded_twin)]
