"""What a caller can get wrong, found before a backend runs: every error names the argument and what it must be.

Only shapes, dtypes and devices are looked at here, so that `torch.compile` can trace through; the values of
`cu_seqlens` are checked by `check_bounds`, inside the operators.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor


def check_layout(name: str, like: Tensor, cu_seqlens: Tensor | None, axes: str) -> int:
    """The number of sequences. `like` rules the shape: [B, T, *axes], or [N, *axes] where it is packed."""
    trailing = len(axes.split())
    if like.dim() != (2 if cu_seqlens is None else 1) + trailing:
        named = axes.replace(" ", ", ")
        layout = f"[B, T, {named}]" if cu_seqlens is None else f"[N, {named}] (packed, because cu_seqlens is given)"
        raise ValueError(f"{name} must be {layout}, got {tuple(like.shape)}")
    time = like.shape[1 if cu_seqlens is None else 0]
    if time == 0:
        raise ValueError(f"{name} has no time steps: shape {tuple(like.shape)}")
    if cu_seqlens is None:
        return like.shape[0]
    if cu_seqlens.dim() != 1 or cu_seqlens.dtype not in (torch.int32, torch.int64) or len(cu_seqlens) < 2:
        raise ValueError(
            f"cu_seqlens must be int32 or int64 [S+1], starting with 0, got {cu_seqlens.dtype} "
            f"{tuple(cu_seqlens.shape)}"
        )
    check_device("cu_seqlens", cu_seqlens, like)
    return len(cu_seqlens) - 1


def check_device(name: str, other: Tensor, like: Tensor) -> None:
    if other.device != like.device:
        raise ValueError(f"{name} is on {other.device}, the other inputs on {like.device}")


def check_reset(reset: Tensor | None, like: Tensor, packed: bool) -> None:
    if reset is None:
        return
    shape = tuple(like.shape[: 1 if packed else 2])
    if tuple(reset.shape) != shape or reset.dtype != torch.bool:
        raise ValueError(f"reset must be bool {shape}, got {reset.dtype} {tuple(reset.shape)}")
    check_device("reset", reset, like)


def check_tensor(name: str, other: Tensor, shape: tuple[int, ...], like: Tensor, why: str = "") -> None:
    """`other` is floating point, of that shape, on the device of `like`."""
    if tuple(other.shape) != shape:
        raise ValueError(f"{name} must have shape {shape}{why}, got {tuple(other.shape)}")
    if not other.is_floating_point():
        raise ValueError(f"{name} must be floating point, got {other.dtype}")
    check_device(name, other, like)


def check_bounds(cu_seqlens: Tensor | None, rows: int) -> None:
    """Values of cu_seqlens: from 0, never falling, at most `rows`."""
    if cu_seqlens is None:
        return
    bounds: list[int] = cu_seqlens.tolist()
    if bounds[0] != 0 or bounds[-1] > rows or any(b < a for a, b in pairwise(bounds)):
        shown = ", ".join(map(str, bounds[:8])) + (", …" if len(bounds) > 8 else "")
        raise ValueError(f"cu_seqlens must rise from 0 to at most N = {rows}, got [{shown}]")
