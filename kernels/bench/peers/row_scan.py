"""A parallel scan of whole rows in one block each, as published RecBLR does it: (B, C, T), T a power of two.

On a GPU one Triton program reads a row and scans it as a tree; elsewhere the same tree is passes of torch operations.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bench.peers.torch_scans import doubling

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

if triton is not None:

    @triton.jit
    def _combine(a_left, b_left, a_right, b_right):  # type: ignore[no-untyped-def]
        return a_left * a_right, a_right * b_left + b_right

    @triton.jit
    def _rows(a, b, h, T: tl.constexpr, REVERSE: tl.constexpr):  # type: ignore[no-untyped-def]
        at = tl.program_id(0).to(tl.int64) * T + tl.arange(0, T)
        _, out = tl.associative_scan((tl.load(a + at), tl.load(b + at)), 0, _combine, reverse=REVERSE)
        tl.store(h + at, out)


def scan_rows(a: Tensor, b: Tensor, reverse: bool = False) -> Tensor:
    """h [R, T] of contiguous rows a, b."""
    if not a.is_cuda or triton is None:
        if reverse:
            return doubling(a.flip(-1), b.flip(-1), dim=b.dim() - 1).flip(-1)
        return doubling(a, b, dim=b.dim() - 1)
    h = torch.empty_like(b)
    steps = b.shape[-1]
    _rows[(b.numel() // steps,)](a, b, h, T=steps, REVERSE=reverse, num_warps=max(1, min(16, steps // 256)))
    return h


class RowScan(torch.autograd.Function):
    """a, b: (B, C, T) contiguous."""

    @staticmethod
    def forward(ctx, a: Tensor, b: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        h = scan_rows(a, b)
        ctx.save_for_backward(a, h)
        return h

    @staticmethod
    @once_differentiable
    def backward(ctx, g: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[no-untyped-def]
        a, h = ctx.saved_tensors
        later = torch.cat([a[..., 1:], torch.zeros_like(a[..., :1])], -1).contiguous()
        db = scan_rows(later, g.contiguous(), reverse=True)
        before = torch.cat([torch.zeros_like(h[..., :1]), h[..., :-1]], -1)
        return db * before, db
