"""linear_scan in torch. Contract: `lrscan.reference`."""

from __future__ import annotations

from torch import Tensor

from lrscan.torch_backend.loops import adjoint, scan, wide, widened


def linear_forward(
    a: Tensor, b: Tensor, h0: Tensor | None, cu: Tensor | None, reset: Tensor | None, reverse: bool
) -> tuple[Tensor, Tensor]:
    to = wide(b.dtype)
    h, last = scan(a.to(to), b.to(to), widened(h0, to), cu, reset, reverse)
    return h.to(b.dtype), last.to(b.dtype)


def linear_backward(
    a: Tensor,
    h: Tensor,
    h0: Tensor | None,
    g: Tensor,
    g_last: Tensor | None,
    cu: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    to = wide(h.dtype)
    found = adjoint(a.to(to), h.to(to), widened(h0, to), g.to(to), widened(g_last, to), cu, reset, reverse)
    return found.v * found.before, found.v, found.dh0
