"""The time loops that every recurrence here is made of, for [B, T, ...] and for packed [N, ...].

Adjoint of h_t = a_t h_{t-1} + b_t:

    v_t = g_t + conj(a_{t+1}) v_{t+1};  db_t = v_t;  da_t = v_t conj(h_{t-1});  dh0 = conj(a_1) v_1
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


def wide(dtype: torch.dtype) -> torch.dtype:
    """Accumulation dtype: float32 for the half types."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def widened(x: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    return None if x is None else x.to(dtype)


def unflattened(x: Tensor, dim: int, *sizes: int) -> Tensor:
    """Split axis `dim`, not negative, into axes of those sizes."""
    return x.reshape(*x.shape[:dim], *sizes, *x.shape[dim + 1 :])


def _cut(reset: Tensor, like: Tensor) -> tuple[Tensor, ...]:
    """reset [B, T] by steps, each to broadcast over a state."""
    return reset.view(*reset.shape, *[1] * (like.dim() - 2)).unbind(1)


def _by_steps(a: Tensor, like: Tensor) -> tuple[Tensor, ...]:
    return a.unbind(1) if a.dim() == like.dim() else (a,) * like.shape[1]


def forward_loop(
    a: Tensor, b: Tensor, h0: Tensor | None, reset: Tensor | None, reverse: bool, rest: Tensor | None = None
) -> Tensor:
    """h like b [B, T, ...]; a: like b, or without B and T where it is constant in time.

    `rest` is what rounding took from a: where a is constant, its error would add up over the whole memory.
    """
    h = torch.empty(b.shape, dtype=b.dtype, device=b.device)
    steps, h_steps, b_steps = b.shape[1], h.unbind(1), b.unbind(1)
    a_steps, rest_steps = _by_steps(a, b), None if rest is None else _by_steps(rest, b)
    resets = None if reset is None else _cut(reset, b)
    state = torch.zeros_like(b_steps[0]) if h0 is None else h0
    for t in range(steps - 1, -1, -1) if reverse else range(steps):
        if resets is not None:
            state = torch.where(resets[t], 0.0, state)  # by select: 0 * NaN would leak
        entered = b_steps[t] if rest_steps is None else torch.addcmul(b_steps[t], rest_steps[t], state)
        state = torch.addcmul(entered, a_steps[t], state, out=h_steps[t])
    return h


def adjoint_loop(
    a: Tensor, g: Tensor, g_last: Tensor | None, reset: Tensor | None, reverse: bool, rest: Tensor | None = None
) -> Tensor:
    """v like g: the forward loop in the other direction, with each a one step late. a is already conjugated."""
    v = torch.empty(g.shape, dtype=g.dtype, device=g.device)
    steps, v_steps, g_steps = g.shape[1], v.unbind(1), g.unbind(1)
    a_steps, rest_steps = _by_steps(a, g), None if rest is None else _by_steps(rest, g)
    resets = None if reset is None else _cut(reset, g)
    last = 0 if reverse else steps - 1
    back = 1 if reverse else -1
    v_steps[last].copy_(g_steps[last] if g_last is None else g_steps[last] + g_last)
    for t in range(last + back, steps if reverse else -1, back):
        carry = v_steps[t - back]
        if resets is not None:
            carry = torch.where(resets[t - back], 0.0, carry)
        entered = g_steps[t] if rest_steps is None else torch.addcmul(g_steps[t], rest_steps[t - back], carry)
        torch.addcmul(entered, a_steps[t - back], carry, out=v_steps[t])
    return v


def previous(h: Tensor, h0: Tensor | None, reset: Tensor | None, reverse: bool) -> Tensor:
    """h_{t-1} for every t, zero where a reset cut it off."""
    first = torch.zeros_like(h[:, :1]) if h0 is None else h0.unsqueeze(1)
    before = torch.cat([h[:, 1:], first] if reverse else [first, h[:, :-1]], dim=1)
    return before if reset is None else torch.where(torch.stack(_cut(reset, h), 1), 0.0, before)


def initial_gradient(a: Tensor, v: Tensor, reset: Tensor | None, reverse: bool) -> Tensor:
    """dh0, from v and the conjugated a."""
    t = v.shape[1] - 1 if reverse else 0
    gradient = (a[:, t] if a.dim() == v.dim() else a) * v[:, t]
    return gradient if reset is None else torch.where(_cut(reset, v)[t], 0.0, gradient)


class Pack:
    """[N, ...] packed <-> [S, T, ...] padded, T the longest sequence.

    Padding lets the state through (a = 1, b = 0), so final states, their gradients and empty sequences need no care.
    """

    def __init__(self, cu_seqlens: Tensor, n_rows: int) -> None:
        lengths = cu_seqlens.diff().to(torch.int64)
        device = cu_seqlens.device
        self.n_rows, self.total = n_rows, int(cu_seqlens[-1])
        self.n_sequences, self.longest = len(lengths), max(int(lengths.max()), 1)
        self.sequence = torch.repeat_interleave(torch.arange(self.n_sequences, device=device), lengths)
        rows = torch.arange(self.total, device=device)
        self.column = rows - cu_seqlens[:-1].to(torch.int64)[self.sequence]

    def pad(self, packed: Tensor, fill: float = 0.0) -> Tensor:
        padded = packed.new_full((self.n_sequences, self.longest, *packed.shape[1:]), fill)
        return padded.index_put_((self.sequence, self.column), packed[: self.total])

    def unpad(self, padded: Tensor) -> Tensor:
        """Rows of no sequence are zero."""
        packed = padded[self.sequence, self.column]
        slack = self.n_rows - self.total
        return packed if slack == 0 else torch.cat([packed, packed.new_zeros(slack, *packed.shape[1:])])


class Adjoint(NamedTuple):
    v: Tensor
    """the gradient of b"""
    before: Tensor
    """h_{t-1}"""
    dh0: Tensor | None


def scan(
    a: Tensor,
    b: Tensor,
    h0: Tensor | None,
    cu: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
    rest: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """(h like b, last). All of one accumulation dtype; a and rest as in `forward_loop`."""
    if cu is None:
        h = forward_loop(a, b, h0, reset, reverse, rest)
        return h, h[:, 0 if reverse else -1].clone()
    pack = Pack(cu, len(b))
    cut = None if reset is None else pack.pad(reset)
    padded_rest = None if rest is None else pack.pad(rest.expand_as(b))
    h = forward_loop(pack.pad(a.expand_as(b), 1.0), pack.pad(b), h0, cut, reverse, padded_rest)
    return pack.unpad(h), h[:, 0 if reverse else -1].clone()


def adjoint(
    a: Tensor,
    h: Tensor,
    h0: Tensor | None,
    g: Tensor,
    g_last: Tensor | None,
    cu: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
    rest: Tensor | None = None,
) -> Adjoint:
    """What the gradients of any recurrence are made of; a and rest already conjugated; h and g like b of `scan`."""
    if cu is None:
        v = adjoint_loop(a, g, g_last, reset, reverse, rest)
        dh0 = None if h0 is None else initial_gradient(a, v, reset, reverse)
        return Adjoint(v, previous(h, h0, reset, reverse), dh0)
    pack = Pack(cu, len(h))
    cut = None if reset is None else pack.pad(reset)
    padded_a, padded_h = pack.pad(a.expand_as(h), 1.0), pack.pad(h)
    padded_rest = None if rest is None else pack.pad(rest.expand_as(h))
    v = adjoint_loop(padded_a, pack.pad(g), g_last, cut, reverse, padded_rest)
    dh0 = None if h0 is None else initial_gradient(padded_a, v, cut, reverse)
    if reverse and h0 is not None:  # padding stands between h0 and the last event, and h0 went through it
        padded_h = torch.where(_padding(pack, padded_h), h0.unsqueeze(1), padded_h)
    return Adjoint(pack.unpad(v), pack.unpad(previous(padded_h, h0, cut, reverse)), dh0)


def _padding(pack: Pack, like: Tensor) -> Tensor:
    """True where there is no event: [S, T, 1, ...]."""
    empty = torch.ones(like.shape[:2], dtype=torch.bool, device=like.device)
    empty[pack.sequence, pack.column] = False
    return empty.view(*empty.shape, *[1] * (like.dim() - 2))
