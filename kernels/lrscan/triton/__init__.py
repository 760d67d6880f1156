"""The Triton backend "triton": CUDA tensors. Triton itself is imported when an operator is first asked for."""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

OPERATORS = {
    "linear_scan": "linear",
    "gated_scan": "gated",
    "complex_scan": "complex",
    "ssd_scan": "ssd",
    "selective_scan": "selective",
    "delta_scan": "delta",
}
"""Operator -> the module of this package that runs it."""

_REALS = (torch.float32, torch.bfloat16, torch.float16)
_DTYPES: dict[str, tuple[torch.dtype, ...]] = {
    "linear_scan": (*_REALS, torch.float64),
    "gated_scan": (*_REALS, torch.float64),
    "complex_scan": (torch.complex64, torch.complex128),
    "ssd_scan": _REALS,
    "selective_scan": (*_REALS, torch.float64),
    "delta_scan": (*_REALS, torch.float64),
}


@cache
def _installed() -> bool:
    return find_spec("triton") is not None


def missing() -> str | None:
    """Why Triton cannot be imported here, or None."""
    if _installed():
        return None
    if sys.platform != "linux":
        return f"Triton has no packages for {sys.platform}"
    return "the package triton is not installed: pip install triton"


def interpreted() -> bool:
    """Whether kernels of this process run, or would run, in Triton's interpreter."""
    if missing() is not None:
        return False
    flag: bool = import_module("lrscan.triton.interpreter").requested()
    return flag


def unavailable() -> str | None:
    why = missing()
    if why is None and not torch.cuda.is_available():
        why = "torch finds no CUDA device"
    if why is None and interpreted():
        why = "TRITON_INTERPRET is set: this process runs kernels in the interpreter, as backend triton-interpret"
    return why


def runs(operator: str, dtype: torch.dtype) -> bool:
    """Whether there is a kernel for it."""
    return dtype in _DTYPES.get(operator, ())


def supports(operator: str, sample: Tensor) -> bool:
    return sample.device.type == "cuda" and runs(operator, sample.dtype)


def kernel_function(name: str) -> Any:
    """``linear_forward`` and its like, from the module of its operator."""
    stem, _, direction = name.rpartition("_")
    if direction in ("forward", "backward") and f"{stem}_scan" in OPERATORS:
        return getattr(import_module(f"lrscan.triton.{OPERATORS[f'{stem}_scan']}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __getattr__(name: str) -> Any:
    return kernel_function(name)
