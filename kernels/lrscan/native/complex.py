"""complex_scan in C. Complex numbers go as (real, imaginary) pairs."""

from __future__ import annotations

import torch
from torch import Tensor

from lrscan.native.calls import Layout, call, rows, solid


def _eigenvalue(log_nu: Tensor, theta: Tensor) -> Tensor:
    """[D] complex128"""
    return torch.polar(torch.exp(-torch.exp(log_nu.double())), theta.double().contiguous())


def _pairs(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, int]:
    """(complex rows of channels, reals between rows)."""
    x, pitch = rows(x, dtype)
    return x, 2 * pitch


def complex_forward(
    u: Tensor,
    log_nu: Tensor,
    theta: Tensor,
    h0: Tensor | None,
    cu: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor]:
    to, layout = u.dtype, Layout.of(u, cu, reset, reverse)
    h, last = layout.new(u, to), u.new_empty(len(layout.start), u.shape[-1])
    eigenvalue = _eigenvalue(log_nu, theta)
    call("complex", "forward", to, eigenvalue, *_pairs(u, to), solid(h0, to), h, last, *layout.tail(u.shape[-1]))
    return h, last


def complex_backward(
    log_nu: Tensor,
    theta: Tensor,
    h: Tensor,
    h0: Tensor | None,
    g: Tensor,
    g_last: Tensor | None,
    cu: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """With w = lambda conj(sum of v conj(h_{t-1})): dlog_nu = -nu Re(w), dtheta = -Im(w)."""
    to, layout = h.dtype, Layout.of(h, cu, reset, reverse)
    start, eigenvalue, du = solid(h0, to), _eigenvalue(log_nu, theta), layout.new(h, to)
    sums = torch.empty(len(layout.start), h.shape[-1], dtype=torch.complex128)  # a row a sequence: a fixed order
    dh0 = None if start is None else start.new_empty(start.shape)
    call(
        "complex", "backward", to, eigenvalue, solid(h, to), *_pairs(g, to), solid(g_last, to), start, du, sums, dh0,
        *layout.tail(h.shape[-1]),
    )  # fmt: skip
    turned = eigenvalue * sums.sum(0).conj()  # [D]
    return du, -torch.exp(log_nu.double()) * turned.real, -turned.imag, dh0
