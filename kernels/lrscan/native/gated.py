"""gated_scan in C: gates and scan in one pass, each gate computed again in the backward pass."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from lrscan.gates import KINDS
from lrscan.native.calls import Layout, call, rows, solid, wide


def _rate(lam: Tensor | None, like: Tensor, kind: str, c: float) -> Tensor:
    """[D] float64: what the channels' lam amounts to."""
    if lam is None:
        return torch.ones(like.shape[-1], dtype=torch.float64)
    lam = lam.double()
    return 1 - lam if kind == "hgrn" else c * softplus(lam if kind == "bdlru" else -lam)


def _rate_gradient(drate: Tensor, lam: Tensor, kind: str, c: float) -> Tensor:
    lam = lam.double()
    if kind == "hgrn":
        return -drate
    return drate * c * torch.sigmoid(lam) if kind == "bdlru" else -drate * c * torch.sigmoid(-lam)


def _optional_rows(x: Tensor | None, dtype: torch.dtype) -> tuple[Tensor | None, int]:
    return (None, 0) if x is None else rows(x, dtype)


def gated_forward(
    x: Tensor,
    r: Tensor,
    i: Tensor | None,
    lam: Tensor | None,
    h0: Tensor | None,
    z: Tensor | None,
    kind: str,
    c: float,
    eps: float,
    cu: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    to, layout = wide(x.dtype), Layout.of(x, cu, reset, reverse)
    h, last = layout.new(x, to), x.new_empty(len(layout.start), x.shape[-1], dtype=to)
    y = None if z is None else layout.new(x, to)
    call(
        "gated", "forward", to, KINDS.index(kind), *rows(x, to), *rows(r, to), *_optional_rows(i, to),
        *_optional_rows(z, to), _rate(lam, x, kind, c).to(to), float(eps), solid(h0, to), h, y, last,
        *layout.tail(x.shape[-1]),
    )  # fmt: skip
    h = h.to(x.dtype)
    return h if y is None else y.to(x.dtype), h, last.to(x.dtype)


def gated_backward(
    x: Tensor,
    r: Tensor,
    i: Tensor | None,
    lam: Tensor | None,
    h0: Tensor | None,
    z: Tensor | None,
    h: Tensor,
    g: Tensor,
    g_last: Tensor | None,
    kind: str,
    c: float,
    eps: float,
    cu: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
    to, layout = wide(x.dtype), Layout.of(x, cu, reset, reverse)
    start = solid(h0, to)
    dx, dr = layout.new(h, to), layout.new(h, to)
    di, dz = (None if v is None else layout.new(h, to) for v in (i, z))
    dh0 = None if start is None else start.new_empty(start.shape)
    drate = torch.empty(len(layout.start), x.shape[-1], dtype=torch.float64)  # a row a sequence: a fixed order
    call(
        "gated", "backward", to, KINDS.index(kind), *rows(x, to), *rows(r, to), *_optional_rows(i, to),
        *_optional_rows(z, to), _rate(lam, x, kind, c).to(to), float(eps), solid(h, to), *rows(g, to),
        solid(g_last, to), start, dx, dr, di, dz, drate, dh0, *layout.tail(x.shape[-1]),
    )  # fmt: skip
    dlam = None if lam is None else _rate_gradient(drate.sum(0), lam, kind, c)
    return dx, dr, di, dlam, dh0, dz
