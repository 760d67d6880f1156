"""selective_scan in torch, a piece of time after the other. Contract: `lrscan.reference`.

The states of all steps would be N times the input, so only those between pieces are kept; the backward pass makes
each piece's states again. With q_t = v_t h_{t-1} exp(dt_t A), v as in `lrscan.torch_backend.loops`:

    ddt = sum_n q A + u sum_n v B;  dA = sum_t q dt;  du = dt sum_n v B + D g;  dB = sum_d v dt u;  dC = sum_d g h
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from lrscan.gates import position_free
from lrscan.torch_backend.loops import Pack, adjoint_loop, forward_loop, initial_gradient, previous, wide

_PIECE = 16
"""Steps of a piece."""


class _Inputs(NamedTuple):
    """In the accumulation dtype; sequences padded with dt = 0, which lets the state through."""

    u: Tensor
    dt: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    reset: Tensor | None
    state: Tensor
    """[B, D, N] before the first step"""
    pack: Pack | None

    def padded(self, x: Tensor) -> Tensor:
        return x if self.pack is None else self.pack.pad(x)

    def packed(self, x: Tensor) -> Tensor:
        return x if self.pack is None else self.pack.unpad(x)


class _Piece(NamedTuple):
    at: slice
    decay: Tensor
    """[B, K, D, N] exp(dt A)"""
    h: Tensor
    reset: Tensor | None


def _inputs(
    u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, h0: Tensor | None, cu: Tensor | None, reset: Tensor | None
) -> _Inputs:
    to = wide(u.dtype)
    pack = None if cu is None else Pack(cu, len(u))
    over_time = [x.to(to) if pack is None else pack.pad(x.to(to)) for x in (u, dt, B, C)]
    u, dt, B, C = over_time
    cut = reset if reset is None or pack is None else pack.pad(reset)
    state = u.new_zeros(u.shape[0], *A.shape) if h0 is None else h0.to(to)
    return _Inputs(u, dt, A.to(to), B, C, cut, state, pack)


def _pieces(steps: int, reverse: bool) -> Iterator[slice]:
    """In the order of the recurrence."""
    starts = range(0, steps, _PIECE)
    for start in reversed(starts) if reverse else starts:
        yield slice(start, min(start + _PIECE, steps))


def _piece(given: _Inputs, at: slice, state: Tensor, reverse: bool) -> _Piece:
    dt = given.dt[:, at]
    decay = position_free(torch.exp, dt.unsqueeze(-1) * given.A)
    entered = (dt * given.u[:, at]).unsqueeze(-1) * given.B[:, at].unsqueeze(2)
    cut = None if given.reset is None else given.reset[:, at]
    return _Piece(at, decay, forward_loop(decay, entered, state, cut, reverse), cut)


def selective_forward(
    u: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    h0: Tensor | None,
    cu: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor]:
    given = _inputs(u, dt, A, B, C, h0, cu, reset)
    y, state = torch.empty_like(given.u), given.state
    for at in _pieces(y.shape[1], reverse):
        h = _piece(given, at, state, reverse).h
        torch.sum(h * given.C[:, at].unsqueeze(2), -1, out=y[:, at])
        state = h[:, 0 if reverse else -1]
    if D is not None:
        y += D.to(y.dtype) * given.u
    return given.packed(y).to(u.dtype), state.clone().to(u.dtype)


def selective_backward(
    u: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    h0: Tensor | None,
    g: Tensor,
    g_last: Tensor | None,
    cu: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    given = _inputs(u, dt, A, B, C, h0, cu, reset)
    to, gy = given.u.dtype, given.padded(g.to(given.u.dtype))
    pieces, before = list(_pieces(gy.shape[1], reverse)), [given.state]
    for at in pieces[:-1]:
        before.append(_piece(given, at, before[-1], reverse).h[:, 0 if reverse else -1].clone())
    du, ddt, dB, dC = (torch.empty_like(v) for v in (given.u, given.dt, given.B, given.C))
    dA = torch.zeros(A.shape, dtype=torch.float64, device=A.device)
    carry = torch.zeros_like(given.state) if g_last is None else g_last.to(to)
    for at, state in zip(reversed(pieces), reversed(before), strict=True):
        piece = _piece(given, at, state, reverse)
        step, entered = given.dt[:, at], given.u[:, at]
        v = adjoint_loop(
            piece.decay, gy[:, at].unsqueeze(-1) * given.C[:, at].unsqueeze(2), carry, piece.reset, reverse
        )
        q = v * previous(piece.h, state, piece.reset, reverse) * piece.decay
        written = (v * given.B[:, at].unsqueeze(2)).sum(-1)
        du[:, at], ddt[:, at] = step * written, (q * given.A).sum(-1) + entered * written
        dA += (q * step.unsqueeze(-1)).sum((0, 1), dtype=torch.float64)
        dB[:, at] = (v * (step * entered).unsqueeze(-1)).sum(2)
        dC[:, at] = (piece.h * gy[:, at].unsqueeze(-1)).sum(2)
        carry = initial_gradient(piece.decay, v, piece.reset, reverse)
    dD = None
    if D is not None:
        du += D.to(to) * gy
        dD = (gy * given.u).sum((0, 1), dtype=torch.float64)
    du, ddt, dB, dC = map(given.packed, (du, ddt, dB, dC))
    return du, ddt, dA, dB, dC, dD, None if h0 is None else carry
