"""delta_scan in torch, step by step over all sequences and heads at once. Contract: `lrscan.reference`.

The states of all steps would be N times the values, so only those between pieces of time are kept; the backward pass
makes each piece's states again. With e_t = v_t - a_t S_{t-1} k_t, w_t = b_t e_t, and G_t the gradient of S_t:

    G_t = g_t q_t^T + M_{t+1} a_{t+1};  M_t = G_t - de_t k_t^T;  de_t = dv_t = b_t G_t k_t;  db_t = e_t . G_t k_t
    dq_t = S_t^T g_t;  dk_t = G_t^T w_t - a_t S_{t-1}^T de_t;  da_t = <M_t, S_{t-1}>
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from lrscan.torch_backend.loops import Pack, wide

_PIECE = 16
"""Steps of a piece."""


class _Inputs(NamedTuple):
    """In the accumulation dtype, [B, T, H, ...] in the order of the recurrence; padding lets the state through."""

    q: Tensor
    k: Tensor
    v: Tensor
    decay: Tensor
    beta: Tensor
    reset: Tensor | None
    """[B, T, 1, 1, 1]"""
    state: Tensor
    """[B, H, P, N] before the first step"""
    pack: Pack | None
    reverse: bool

    def ordered(self, x: Tensor, fill: float = 0.0) -> Tensor:
        x = x if self.pack is None else self.pack.pad(x, fill)
        return x.flip(1) if self.reverse else x

    def returned(self, steps: list[Tensor]) -> Tensor:
        """Steps, each [B, ...], as the caller's rows."""
        x = torch.stack(steps[::-1] if self.reverse else steps, 1)
        return x if self.pack is None else self.pack.unpad(x)


def _inputs(
    q: Tensor, k: Tensor, v: Tensor, decay: Tensor, beta: Tensor, S0: Tensor | None, cu: Tensor | None,
    reset: Tensor | None, reverse: bool,
) -> _Inputs:  # fmt: skip
    to = wide(v.dtype)
    pack = None if cu is None else Pack(cu, len(v))
    sequences = len(v) if pack is None else pack.n_sequences
    state = v.new_zeros(sequences, *v.shape[-2:], k.shape[-1], dtype=to) if S0 is None else S0.to(to)
    given = _Inputs(q.to(to), k.to(to), v.to(to), decay.to(to), beta.to(to), reset, state, pack, reverse)
    return given._replace(
        q=given.ordered(given.q), k=given.ordered(given.k), v=given.ordered(given.v),
        decay=given.ordered(given.decay, 1.0), beta=given.ordered(given.beta),
        reset=None if reset is None else given.ordered(reset)[:, :, None, None, None],
    )  # fmt: skip


def _apply(matrix: Tensor, vector: Tensor) -> Tensor:
    """[.., P, N], [.., N] -> [.., P]; sums of one row alone, so that bits do not depend on the batch."""
    return (matrix * vector.unsqueeze(-2)).sum(-1)


def _transposed(matrix: Tensor, vector: Tensor) -> Tensor:
    """[.., P, N], [.., P] -> [.., N]."""
    return (matrix * vector.unsqueeze(-1)).sum(-2)


def _add_outer(matrix: Tensor, column: Tensor, row: Tensor) -> Tensor:
    return torch.addcmul(matrix, column.unsqueeze(-1), row.unsqueeze(-2))


class _Step(NamedTuple):
    before: Tensor
    """S_{t-1}, zero after a reset"""
    missing: Tensor
    """e_t [B, H, P]: the value less what its key recalled"""
    after: Tensor


def _steps(given: _Inputs, state: Tensor, at: range) -> Iterator[_Step]:
    for t in at:
        if given.reset is not None:
            state = torch.where(given.reset[:, t], 0.0, state)  # by select: 0 * NaN would leak
        kept = given.decay[:, t, :, None, None] * state
        missing = given.v[:, t] - _apply(kept, given.k[:, t])
        after = _add_outer(kept, given.beta[:, t].unsqueeze(-1) * missing, given.k[:, t])
        yield _Step(state, missing, after)
        state = after


def delta_forward(
    q: Tensor, k: Tensor, v: Tensor, decay: Tensor, beta: Tensor, S0: Tensor | None, cu: Tensor | None,
    reset: Tensor | None, reverse: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    given = _inputs(q, k, v, decay, beta, S0, cu, reset, reverse)
    state, out = given.state, []
    for t, step in enumerate(_steps(given, state, range(given.v.shape[1]))):
        state = step.after
        out.append(_apply(state, given.q[:, t]))
    return given.returned(out).to(v.dtype), state.to(v.dtype)


def _noted(given: _Inputs) -> list[Tensor]:
    """The state before each piece."""
    noted, steps = [given.state], given.v.shape[1]
    for start in range(0, steps - _PIECE, _PIECE):
        state = noted[-1]
        for step in _steps(given, state, range(start, start + _PIECE)):
            state = step.after
        noted.append(state)
    return noted


def _step_backward(given: _Inputs, t: int, step: _Step, g: Tensor, carry: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    """((dq, dk, dv, ddecay, dbeta) of the step, the gradient of the state before it)."""
    a, b, key = given.decay[:, t].unsqueeze(-1), given.beta[:, t].unsqueeze(-1), given.k[:, t]
    through = _add_outer(carry, g, given.q[:, t])  # G
    written = _apply(through, key)
    lacking = b * written  # de
    handed = _add_outer(through, -lacking, key)  # M
    dk = _transposed(through, b * step.missing) - a * _transposed(step.before, lacking)
    found = (
        _transposed(step.after, g), dk, lacking, (handed * step.before).sum((-1, -2)), (written * step.missing).sum(-1)
    )  # fmt: skip
    back = a.unsqueeze(-1) * handed
    return found, back if given.reset is None else torch.where(given.reset[:, t], 0.0, back)


def delta_backward(
    q: Tensor, k: Tensor, v: Tensor, decay: Tensor, beta: Tensor, S0: Tensor | None, g: Tensor, g_last: Tensor | None,
    cu: Tensor | None, reset: Tensor | None, reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None]:  # fmt: skip
    given = _inputs(q, k, v, decay, beta, S0, cu, reset, reverse)
    gradient, steps = given.ordered(g.to(given.v.dtype)), given.v.shape[1]
    carry = torch.zeros_like(given.state) if g_last is None else g_last.to(given.state.dtype)
    found: list[tuple[Tensor, ...]] = []
    for piece, state in reversed(list(enumerate(_noted(given)))):
        at = range(piece * _PIECE, min((piece + 1) * _PIECE, steps))
        for t, step in reversed(list(zip(at, _steps(given, state, at), strict=True))):
            one, carry = _step_backward(given, t, step, gradient[:, t], carry)
            found.append(one)
    dq, dk, dv, ddecay, dbeta = (given.returned(list(parts)[::-1]) for parts in zip(*found, strict=True))
    return dq, dk, dv, ddecay, dbeta, None if S0 is None else carry
