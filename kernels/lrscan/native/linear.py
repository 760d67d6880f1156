"""linear_scan in C."""

from __future__ import annotations

from torch import Tensor

from lrscan.native.calls import Layout, call, rows, solid, wide


def linear_forward(
    a: Tensor, b: Tensor, h0: Tensor | None, cu: Tensor | None, reset: Tensor | None, reverse: bool
) -> tuple[Tensor, Tensor]:
    to, layout = wide(b.dtype), Layout.of(b, cu, reset, reverse)
    h, last = layout.new(b, to), b.new_empty(len(layout.start), b.shape[-1], dtype=to)
    call("linear", "forward", to, *rows(a, to), *rows(b, to), solid(h0, to), h, last, *layout.tail(b.shape[-1]))
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
    to, layout = wide(h.dtype), Layout.of(h, cu, reset, reverse)
    start = solid(h0, to)
    da, db = layout.new(h, to), layout.new(h, to)
    dh0 = None if start is None else start.new_empty(start.shape)
    call(
        "linear", "backward", to, *rows(a, to), solid(h, to), *rows(g, to), solid(g_last, to), start, da, db, dh0,
        *layout.tail(h.shape[-1]),
    )  # fmt: skip
    return da, db, dh0
