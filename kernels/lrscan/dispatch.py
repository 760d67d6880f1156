"""Which backend runs an operator: names, what each supports, why one is unavailable, how "auto" chooses.

A backend is a module with ``unavailable() -> str | None``, ``supports(operator, sample) -> bool`` and, for each
operator it supports, two pure functions: ``linear_forward`` and ``linear_backward``, ``gated_…``, ``complex_…``,
``ssd_…``, ``selective_…``, ``delta_…`` (signatures: `lrscan.reference`). Differentiation and registration with torch
are written once for all of them, in `lrscan.ops`. To add a backend: write the module and add its line to `BACKENDS`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from types import ModuleType

import torch
from torch import Tensor

from lrscan import native, reference, torch_backend, triton
from lrscan.triton import interpreter

BACKENDS: dict[str, ModuleType] = {
    "triton": triton,
    "triton-interpret": interpreter,
    "native": native,
    "torch": torch_backend,
    "reference": reference,
}
"""In the order in which "auto" tries them. Importing these is cheap: Triton and C wait until they are asked for."""

_NOT_BY_ITSELF = ("triton-interpret",)
"""Thousands of times slower than any other: for proofs, so only by name."""

_chosen: ContextVar[str] = ContextVar("lrscan_backend", default="")


def backend_module(name: str) -> ModuleType:
    return BACKENDS[name]


def _why_not(name: str) -> str | None:
    why: str | None = backend_module(name).unavailable()
    return why


def backends() -> dict[str, str | None]:
    """Backend name -> why it cannot be used here, or None."""
    return {name: _why_not(name) for name in BACKENDS}


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Run every operator inside the block on one backend; "auto" chooses."""
    _check(name)
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


def _check(name: str) -> None:
    if name == "auto":
        return
    if name not in BACKENDS:
        raise ValueError(f"backend {name!r} is unknown: choose one of auto, {', '.join(BACKENDS)}")
    why = _why_not(name)
    if why is not None:
        raise RuntimeError(f"backend {name!r} cannot be used here: {why}")


@cache
def _runs(name: str, operator: str, dtype: torch.dtype, device: torch.device) -> bool:
    sample = torch.empty(0, dtype=dtype, device=device)
    supported: bool = _why_not(name) is None and backend_module(name).supports(operator, sample)
    return supported


def _choose(operator: str, dtype: torch.dtype, device: torch.device, backend: str | None) -> str:
    name = backend or _chosen.get() or os.environ.get("LRSCAN_BACKEND", "") or "auto"
    if name == "auto":
        return next(n for n in BACKENDS if n not in _NOT_BY_ITSELF and _runs(n, operator, dtype, device))
    _check(name)
    if not _runs(name, operator, dtype, device):
        raise ValueError(f"backend {name!r} does not run {operator} on {dtype} tensors on {device}")
    return name


# All that torch.compiler.assume_constant_result does; calling it would import torch's compiler, which takes as long as
# torch itself, and Triton with it.
_choose._dynamo_marked_constant = True  # type: ignore[attr-defined]


def choose(operator: str, sample: Tensor, backend: str | None) -> str:
    """The name of the backend that runs `operator` ("linear_scan", …) on tensors like `sample`.

    The first of: the argument, `use_backend`, the environment variable LRSCAN_BACKEND, "auto". A function compiled by
    `torch.compile` keeps the choice made when it was traced.
    """
    name: str = _choose(operator, sample.dtype, sample.device, backend)
    return name
