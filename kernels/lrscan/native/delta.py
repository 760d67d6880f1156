"""delta_scan in C, step by step: a head's state stays in the processor's nearest cache."""

from __future__ import annotations

import torch
from torch import Tensor

from lrscan.native.calls import Layout, call, rows, solid, wide


def _head(
    q: Tensor, k: Tensor, v: Tensor, decay: Tensor, beta: Tensor, S0: Tensor | None, to: torch.dtype
) -> tuple[Tensor | int | None, ...]:  # fmt: skip
    """The arguments that begin every call."""
    over_time = (q.flatten(-2), k.flatten(-2), v.flatten(-2), decay, beta)
    return *(part for x in over_time for part in rows(x, to)), _by_key(S0, to)


def _by_key(x: Tensor | None, to: torch.dtype) -> Tensor | None:
    """[S, H, P, N] -> [S, H, N, P]."""
    return None if x is None else solid(x.transpose(-1, -2), to)


def delta_forward(
    q: Tensor, k: Tensor, v: Tensor, decay: Tensor, beta: Tensor, S0: Tensor | None, cu: Tensor | None,
    reset: Tensor | None, reverse: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    layout, to, (heads, width), keys = Layout.of(v, cu, reset, reverse), wide(v.dtype), v.shape[-2:], k.shape[-1]
    o = layout.new(v, to)
    last = torch.empty(len(layout.start), heads, keys, width, dtype=to)
    head = _head(q, k, v, decay, beta, S0, to)
    call("delta", "forward", to, *head, o, last, heads, keys, *layout.tail(width))
    return o.to(v.dtype), last.transpose(-1, -2).to(v.dtype)


def delta_backward(
    q: Tensor, k: Tensor, v: Tensor, decay: Tensor, beta: Tensor, S0: Tensor | None, g: Tensor, g_last: Tensor | None,
    cu: Tensor | None, reset: Tensor | None, reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None]:  # fmt: skip
    layout, to, (heads, width), keys = Layout.of(v, cu, reset, reverse), wide(v.dtype), v.shape[-2:], k.shape[-1]
    dq, dk, ddecay, dbeta = (torch.zeros(x.shape, dtype=to) for x in (q, k, decay, beta))
    dv, dS0 = layout.new(v, to), torch.empty(len(layout.start), heads, keys, width, dtype=to)
    head = _head(q, k, v, decay, beta, S0, to)
    call(
        "delta", "backward", to, *head, *rows(g.flatten(-2), to), _by_key(g_last, to), dq, dk, dv, ddecay, dbeta, dS0,
        heads, keys, *layout.tail(width),
    )  # fmt: skip
    return dq, dk, dv, ddecay, dbeta, None if S0 is None else dS0.transpose(-1, -2)
