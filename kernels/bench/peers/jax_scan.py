"""JAX's associative_scan under jit: `pip install jax` (or `jax[cuda13]`)."""

from __future__ import annotations

import os

import numpy as np
import torch
from lrscan.cases import Case, Leaves
from lrscan.measure import Results, gradient
from torch import Tensor

from bench.peers.base import Built, Peer

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the others need the memory too
try:
    import jax
    from jax import numpy as jnp
except ImportError:
    jax = None


def _missing(device: str) -> str | None:
    if jax is None:
        return "JAX is not installed"
    wanted = "gpu" if device.startswith("cuda") else "cpu"
    return None if jax.default_backend() == wanted else f"JAX runs on {jax.default_backend()} here, not on {wanted}"


def _build(case: Case, leaves: Leaves, bounds: Tensor | None) -> Built:
    if case.direction == "backward":
        raise NotImplementedError("under jit the backward pass has no call of its own")

    def combine(left, right):  # type: ignore[no-untyped-def]
        return left[0] * right[0], right[0] * left[1] + right[1]

    def scan(a, b):  # type: ignore[no-untyped-def]
        return jax.lax.associative_scan(combine, (a, b), axis=1)[1]

    dtype = jnp.bfloat16 if case.dtype == "bfloat16" else jnp.float32
    a, b = (jnp.asarray(leaves[name].detach().float().cpu().numpy(), dtype=dtype) for name in ("a", "b"))
    g = jnp.asarray(gradient(leaves["b"].detach()).float().cpu().numpy(), dtype=dtype)

    def forward_and_backward(a, b):  # type: ignore[no-untyped-def]
        out, back = jax.vjp(scan, a, b)
        return out, *back(g)

    compiled = jax.jit(scan if case.direction == "forward" else forward_and_backward)

    def timed() -> object:
        return jax.block_until_ready(compiled(a, b))

    def results() -> Results:
        found = compiled(a, b)
        found = found if isinstance(found, tuple) else (found,)
        return {
            name: torch.from_numpy(np.array(one.astype(jnp.float32)))
            for name, one in zip(("out", "d a", "d b"), found, strict=False)
        }

    return Built(timed, results)


PEERS = [
    Peer(
        name="JAX associative_scan",
        what="jax.lax.associative_scan under jit; timed from the call to its end.",
        operators=frozenset({"linear"}),
        build=_build,
        missing=_missing,
        most_steps=2**31,
    )
]
