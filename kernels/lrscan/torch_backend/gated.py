"""gated_scan in torch: the gates elementwise (`lrscan.gates`), then the loop. Contract: `lrscan.reference`."""

from __future__ import annotations

import torch
from torch import Tensor

from lrscan.gates import gates, gates_backward, position_free
from lrscan.torch_backend.loops import adjoint, scan, wide, widened


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
    to = wide(x.dtype)
    of = gates(kind, r.to(to), widened(i, to), widened(lam, to), c, eps)
    h, last = scan(of.decay, of.write * x.to(to), widened(h0, to), cu, reset, reverse)
    narrow = h.to(x.dtype)
    if z is None:
        return narrow, narrow, last.to(x.dtype)
    wide_z = z.to(to)
    y = wide_z * position_free(torch.sigmoid, wide_z) * h
    return y.to(x.dtype), narrow, last.to(x.dtype)


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
    to = wide(x.dtype)
    wide_r, wide_i, wide_lam, wide_h, dh = r.to(to), widened(i, to), widened(lam, to), h.to(to), g.to(to)
    of = gates(kind, wide_r, wide_i, wide_lam, c, eps)
    dz = None
    if z is not None:
        wide_z = z.to(to)
        gate = torch.sigmoid(wide_z)
        dz = dh * wide_h * (gate + wide_z * gate * torch.sigmoid(-wide_z))
        dh = dh * (wide_z * gate)
    found = adjoint(of.decay, wide_h, widened(h0, to), dh, widened(g_last, to), cu, reset, reverse)
    da = found.v * found.before
    return *gates_backward(kind, of, x.to(to), wide_r, wide_i, wide_lam, found.v, da, c), found.dh0, dz
