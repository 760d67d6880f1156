"""The portable backend: plain torch on any device, a time loop of ``addcmul(out=)`` with a hand-written backward.

The loop touches each element once in each direction (autograd through ``a[:, t]`` would be O(T^2), closed forms with
cumulative products overflow). Only the inputs and h are saved; gates are computed again in the backward pass.

Adjoint of h_t = a_t h_{t-1} + b_t:

    v_t = g_t + a_{t+1} v_{t+1};  db_t = v_t;  da_t = v_t conj(h_{t-1});  dh0 = a_1 v_1
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from lrscan.gates import bdlru, bdlru_backward

_COMPLEX_LANES = 16


def unavailable() -> str | None:
    return None


def supports(operator: str, sample: Tensor) -> bool:
    return True


def _wide(dtype: torch.dtype) -> torch.dtype:
    """Accumulation dtype: float32 for the half types."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def _forward_loop(a: Tensor, b: Tensor, h0: Tensor | None, reset: Tensor | None, reverse: bool) -> Tensor:
    """h [B, T, D]; a: [B, T, D], or [D] where it is constant in time."""
    h = torch.empty(b.shape, dtype=b.dtype, device=b.device)
    steps, h_steps, b_steps = b.shape[1], h.unbind(1), b.unbind(1)
    a_steps = a.unbind(1) if a.dim() == 3 else (a,) * steps
    resets = None if reset is None else reset.unsqueeze(-1).unbind(1)
    state = torch.zeros_like(b_steps[0]) if h0 is None else h0
    for t in range(steps - 1, -1, -1) if reverse else range(steps):
        if resets is not None:
            state = torch.where(resets[t], 0.0, state)  # by select: 0 * NaN would leak
        state = torch.addcmul(b_steps[t], a_steps[t], state, out=h_steps[t])
    return h


def _adjoint_loop(a: Tensor, g: Tensor, g_last: Tensor | None, reset: Tensor | None, reverse: bool) -> Tensor:
    """v [B, T, D]: the forward loop in the other direction, with each a one step late."""
    v = torch.empty(g.shape, dtype=g.dtype, device=g.device)
    steps, v_steps, g_steps = g.shape[1], v.unbind(1), g.unbind(1)
    a_steps = a.unbind(1) if a.dim() == 3 else (a,) * steps
    resets = None if reset is None else reset.unsqueeze(-1).unbind(1)
    last = 0 if reverse else steps - 1
    back = 1 if reverse else -1
    v_steps[last].copy_(g_steps[last] if g_last is None else g_steps[last] + g_last)
    for t in range(last + back, steps if reverse else -1, back):
        carry = v_steps[t - back]
        if resets is not None:
            carry = torch.where(resets[t - back], 0.0, carry)
        torch.addcmul(g_steps[t], a_steps[t - back], carry, out=v_steps[t])
    return v


def _previous(h: Tensor, h0: Tensor | None, reset: Tensor | None, reverse: bool) -> Tensor:
    """h_{t-1} for every t, zero where a reset cut it off: [B, T, D]."""
    first = torch.zeros_like(h[:, :1]) if h0 is None else h0.unsqueeze(1)
    before = torch.cat([h[:, 1:], first] if reverse else [first, h[:, :-1]], dim=1)
    return before if reset is None else torch.where(reset.unsqueeze(-1), 0.0, before)


def _initial_gradient(a: Tensor, v: Tensor, reset: Tensor | None, reverse: bool) -> Tensor:
    """dh0 [B, D]."""
    t = v.shape[1] - 1 if reverse else 0
    gradient = (a[:, t] if a.dim() == 3 else a) * v[:, t]
    return gradient if reset is None else torch.where(reset[:, t, None], 0.0, gradient)


class _LinearScan(torch.autograd.Function):
    """a: [B, T, D], or [D] constant in time; real or complex."""

    @staticmethod
    def forward(
        ctx: Any, a: Tensor, b: Tensor, h0: Tensor | None, reset: Tensor | None, reverse: bool
    ) -> tuple[Tensor, Tensor]:
        wide = _wide(b.dtype)
        wide_h0 = None if h0 is None else h0.to(wide)
        h = _forward_loop(a.to(wide), b.to(wide), wide_h0, reset, reverse)
        ctx.save_for_backward(a, h, h0, reset)
        ctx.reverse, ctx.dtype = reverse, b.dtype
        last = h[:, 0 if reverse else -1].clone()
        return h.to(b.dtype), last.to(b.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor, g_last: Tensor) -> tuple[Tensor | None, ...]:
        a, h, h0, reset = ctx.saved_tensors
        wide_a = a.to(h.dtype).conj()
        v = _adjoint_loop(wide_a, g.to(h.dtype), g_last.to(h.dtype), reset, ctx.reverse)
        da = None
        if ctx.needs_input_grad[0]:
            wide_h0 = None if h0 is None else h0.to(h.dtype)
            full = v * _previous(h, wide_h0, reset, ctx.reverse).conj()
            da = (full if a.dim() == 3 else full.sum((0, 1))).to(a.dtype)
        dh0 = None if h0 is None else _initial_gradient(wide_a, v, reset, ctx.reverse).to(h0.dtype)
        return da, v.to(ctx.dtype), dh0, None, None


class _GatedScan(torch.autograd.Function):
    """BD-LRU with its gates; saves x, r, i and h."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        r: Tensor,
        i: Tensor,
        lam: Tensor,
        h0: Tensor | None,
        c: float,
        eps: float,
        reset: Tensor | None,
        reverse: bool,
    ) -> tuple[Tensor, Tensor]:
        wide = _wide(x.dtype)
        gates = bdlru(r.to(wide), i.to(wide), lam.to(wide), c, eps)
        wide_h0 = None if h0 is None else h0.to(wide)
        h = _forward_loop(gates.decay, gates.write * x.to(wide), wide_h0, reset, reverse)
        ctx.save_for_backward(x, r, i, lam, h, h0, reset)
        ctx.c, ctx.eps, ctx.reverse = c, eps, reverse
        last = h[:, 0 if reverse else -1].clone()
        return h.to(x.dtype), last.to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor, g_last: Tensor) -> tuple[Tensor | None, ...]:
        x, r, i, lam, h, h0, reset = ctx.saved_tensors
        wide, wide_lam = h.dtype, lam.to(h.dtype)
        gates = bdlru(r.to(wide), i.to(wide), wide_lam, ctx.c, ctx.eps)
        v = _adjoint_loop(gates.decay, g.to(wide), g_last.to(wide), reset, ctx.reverse)
        wide_h0 = None if h0 is None else h0.to(wide)
        da = v * _previous(h, wide_h0, reset, ctx.reverse)
        dx, dr, di, dlam = bdlru_backward(gates, x.to(wide), r.to(wide), i.to(wide), wide_lam, v, da, ctx.c)
        dh0 = None if h0 is None else _initial_gradient(gates.decay, v, reset, ctx.reverse).to(h0.dtype)
        return dx.to(x.dtype), dr.to(r.dtype), di.to(i.dtype), dlam.to(lam.dtype), dh0, None, None, None, None


class _Pack:
    """[N, D] packed <-> [S, T, D] padded, T the longest sequence; pads carry zeros and are dropped on the way back."""

    def __init__(self, cu_seqlens: Tensor, n_rows: int, reverse: bool) -> None:
        lengths = cu_seqlens.diff().to(torch.int64)
        self.n_rows, self.total, self.reverse = n_rows, int(cu_seqlens[-1]), reverse
        self.n_sequences, self.longest = len(lengths), max(int(lengths.max()), 1)
        rows = torch.arange(self.total, device=cu_seqlens.device)
        self.sequence = torch.repeat_interleave(torch.arange(self.n_sequences, device=cu_seqlens.device), lengths)
        column = rows - cu_seqlens[:-1].to(torch.int64)[self.sequence]
        # In reverse, sequences end at the last column so that h0 enters at their own last event.
        self.column = column + (self.longest - lengths)[self.sequence] if reverse else column
        self.last = lengths

    def pad(self, packed: Tensor) -> Tensor:
        padded = packed.new_zeros(self.n_sequences, self.longest, *packed.shape[1:])
        return padded.index_put((self.sequence, self.column), packed[: self.total])

    def unpad(self, padded: Tensor) -> Tensor:
        packed = padded[self.sequence, self.column]
        slack = self.n_rows - self.total
        return packed if slack == 0 else torch.cat([packed, packed.new_zeros(slack, packed.shape[1])])

    def final(self, h: Tensor, h0: Tensor | None) -> Tensor:
        """[S, D] state after each sequence; h0 (or zero) for an empty one."""
        rows = torch.arange(self.n_sequences, device=h.device)
        column = self.longest - self.last if self.reverse else self.last - 1
        states = h[rows, column.clamp(0, self.longest - 1)]
        empty = torch.zeros_like(states) if h0 is None else h0.to(states.dtype)
        return torch.where((self.last > 0)[:, None], states, empty)


def linear_scan(
    a: Tensor, b: Tensor, h0: Tensor | None, cu_seqlens: Tensor | None, reset: Tensor | None, reverse: bool
) -> tuple[Tensor, Tensor]:
    if cu_seqlens is None:
        return _LinearScan.apply(a, b, h0, reset, reverse)  # type: ignore[no-untyped-call, no-any-return]
    pack = _Pack(cu_seqlens, len(b), reverse)
    cut = None if reset is None else pack.pad(reset)
    wide_a = pack.pad(a) if a.dim() == 2 else a
    h, _ = _LinearScan.apply(wide_a, pack.pad(b), h0, cut, reverse)  # type: ignore[no-untyped-call]
    return pack.unpad(h), pack.final(h, h0)


def gated_scan(
    x: Tensor,
    r: Tensor,
    i: Tensor,
    lam: Tensor,
    h0: Tensor | None,
    kind: str,
    c: float,
    eps: float,
    cu_seqlens: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor]:
    if cu_seqlens is None:
        return _GatedScan.apply(x, r, i, lam, h0, c, eps, reset, reverse)  # type: ignore[no-untyped-call, no-any-return]
    pack = _Pack(cu_seqlens, len(x), reverse)
    cut = None if reset is None else pack.pad(reset)
    h, _ = _GatedScan.apply(pack.pad(x), pack.pad(r), pack.pad(i), lam, h0, c, eps, cut, reverse)  # type: ignore[no-untyped-call]
    return pack.unpad(h), pack.final(h, h0)


def complex_scan(
    u: Tensor,
    log_nu: Tensor,
    theta: Tensor,
    h0: Tensor | None,
    cu_seqlens: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor]:
    eigenvalue = torch.polar(torch.exp(-torch.exp(log_nu)), theta).to(u.dtype)  # [D]
    channels = u.shape[-1]
    spare = -channels % _COMPLEX_LANES  # whole vectors only: see gates.position_free
    if spare:
        eigenvalue, u, h0 = pad(eigenvalue, (0, spare)), pad(u, (0, spare)), None if h0 is None else pad(h0, (0, spare))
    h, last = linear_scan(eigenvalue, u, h0, cu_seqlens, reset, reverse)
    return h[..., :channels], last[..., :channels]
