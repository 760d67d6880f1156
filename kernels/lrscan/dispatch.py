"""Which backend runs an operator: names, what each supports, why one is unavailable, how "auto" chooses.

A backend is a module with ``unavailable() -> str | None`` and one function an operator. To add one: write the module
and add its line to `BACKENDS`, in the order in which "auto" should try them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import Any

from torch import Tensor

from lrscan import native, reference, torch_backend

BACKENDS: dict[str, ModuleType] = {"native": native, "torch": torch_backend, "reference": reference}

_chosen: ContextVar[str] = ContextVar("lrscan_backend", default="")


def backends() -> dict[str, str | None]:
    """Backend name -> why it cannot be used here, or None."""
    return {name: module.unavailable() for name, module in BACKENDS.items()}


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Run every operator inside the block on one backend; "auto" chooses."""
    _named(name)
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


def _named(name: str) -> ModuleType | None:
    if name == "auto":
        return None
    if name not in BACKENDS:
        raise ValueError(f"backend {name!r} is unknown: choose one of auto, {', '.join(BACKENDS)}")
    why = BACKENDS[name].unavailable()
    if why is not None:
        raise RuntimeError(f"backend {name!r} cannot be used here: {why}")
    return BACKENDS[name]


def find(operator: str, sample: Tensor, backend: str | None) -> Any:
    """The function that runs `operator` on tensors like `sample`.

    The first of: the argument, `use_backend`, the environment variable LRSCAN_BACKEND, "auto".
    """
    name = backend or _chosen.get() or os.environ.get("LRSCAN_BACKEND", "") or "auto"
    module = _named(name)
    if module is None:
        module = next(m for m in BACKENDS.values() if m.supports(operator, sample) and m.unavailable() is None)
    elif not module.supports(operator, sample):
        raise ValueError(f"backend {name!r} does not run {operator} on {sample.dtype} tensors on {sample.device}")
    return getattr(module, operator)
