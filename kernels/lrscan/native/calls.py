"""How tensors reach C: rows with a pitch, which rows belong to which sequence, pointers."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lrscan.native.build import library

REALS = {torch.float32: "float", torch.float64: "double", torch.bfloat16: "float", torch.float16: "float",
         torch.complex64: "float", torch.complex128: "double"}  # fmt: skip
"""Input dtype -> the type it is computed in."""


_forked = False
"""In a forked process, such as a worker of a data loader, the threads are gone and OpenMP would wait for them."""


def _after_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def wide(dtype: torch.dtype) -> torch.dtype:
    """Accumulation dtype."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def solid(x: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Contiguous, in that dtype."""
    return None if x is None else x.to(dtype).contiguous()


def rows(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, int]:
    """(x as rows of channels, elements between rows): a view where the layout allows it, else one copy."""
    x = x.to(dtype)
    if x.stride(-1) == 1 or x.shape[-1] == 1:
        if x.dim() == 2 and x.stride(0) >= x.shape[1]:
            return x, x.stride(0)
        if x.dim() == 3 and x.stride(1) >= x.shape[2] and x.stride(0) == x.shape[1] * x.stride(1):
            return x, x.stride(1)
    return x.contiguous(), x.shape[-1]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Which rows belong to which sequence."""

    start: Tensor
    """int64 [S] first row of each sequence"""
    length: Tensor
    """int64 [S]"""
    reset: Tensor | None
    """uint8 by row"""
    reverse: bool
    rows: int
    covered: bool
    """Every row belongs to a sequence."""

    @classmethod
    def of(cls, like: Tensor, cu_seqlens: Tensor | None, reset: Tensor | None, reverse: bool) -> Layout:
        """like: [B, T, ...] or, with cu_seqlens, [N, ...]."""
        covered, rows = True, len(like)
        if cu_seqlens is None:
            rows = like.shape[0] * like.shape[1]
            length = torch.full((like.shape[0],), like.shape[1], dtype=torch.int64)
            start = torch.arange(like.shape[0], dtype=torch.int64) * like.shape[1]
        else:
            bounds = cu_seqlens.to(torch.int64).contiguous()
            start, length = bounds[:-1].contiguous(), bounds.diff()
            covered = int(bounds[-1]) == len(like)
        flat = None if reset is None else reset.reshape(-1).contiguous().view(torch.uint8)
        return cls(start=start, length=length, reset=flat, reverse=reverse, rows=rows, covered=covered)

    def tail(self, channels: int) -> tuple[Any, ...]:
        """The arguments that end every call: reset, reverse, start, length, sequences, rows, channels, threads."""
        sequences = len(self.start)
        threads = 1 if _forked else min(torch.get_num_threads(), sequences)
        return self.reset, int(self.reverse), self.start, self.length, sequences, self.rows, channels, threads

    def new(self, like: Tensor, dtype: torch.dtype) -> Tensor:
        """Room for one value a row and channel; zeros where rows belong to no sequence."""
        return (torch.empty if self.covered else torch.zeros)(like.shape, dtype=dtype)


def call(operator: str, direction: str, dtype: torch.dtype, *arguments: Tensor | int | float | None) -> None:
    """Run "forward" or "backward" of an operator's C; a tensor goes as its address, None as a null pointer."""
    real = REALS[dtype]
    getattr(library(operator, real), f"{operator}_{direction}_{real}")(*map(_as_c, arguments))


def _as_c(value: Tensor | int | float | None) -> Any:
    if isinstance(value, Tensor):
        return ctypes.c_void_p(value.data_ptr())
    if value is None:
        return ctypes.c_void_p(None)
    return ctypes.c_double(value) if isinstance(value, float) else ctypes.c_int64(value)
