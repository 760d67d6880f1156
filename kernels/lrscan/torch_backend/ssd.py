"""ssd_scan in torch by chunks: matrix products inside a chunk, a loop over chunks. Contract: `lrscan.reference`.

With s the running sum of dt A in a chunk, X = dt x, S the state before the chunk (arXiv 2405.21060, section 6):

    L_ij = exp(s_i - s_j), i >= j;  e_i = exp(s_i);  w_j = exp(s_last - s_j), each 0 across a reset
    y_i = sum_j (C_i . B_j) L_ij X_j + e_i S C_i + D x_i
    S'  = sum_j w_j X_j B_j^T + e_last S

A matrix product spreads one NaN over a whole chunk, to earlier steps and other segments too: such inputs go step by
step, as a `selective_scan` a group.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, einsum

from lrscan.torch_backend.loops import Pack, unflattened, wide
from lrscan.torch_backend.selective import selective_backward, selective_forward


class _Layout(NamedTuple):
    """Between what the caller gave and chunks."""

    pack: Pack | None
    steps: int
    chunk: int
    reverse: bool

    def split(self, x: Tensor) -> Tensor:
        x = x if self.pack is None else self.pack.pad(x)
        x = x.flip(1) if self.reverse else x
        spare = -self.steps % self.chunk
        if spare:
            x = torch.cat([x, x.new_zeros(x.shape[0], spare, *x.shape[2:])], 1)
        return unflattened(x, 1, -1, self.chunk)

    def join(self, x: Tensor) -> Tensor:
        x = x.flatten(1, 2)[:, : self.steps]
        x = x.flip(1) if self.reverse else x
        return x if self.pack is None else self.pack.unpad(x)


class _Chunks(NamedTuple):
    """In the accumulation dtype, [B, chunks, Q, ...] in the order of the recurrence; padded with dt = 0."""

    x: Tensor
    dt: Tensor
    B: Tensor
    """[..., H, N]: repeated for the heads of a group, as C"""
    C: Tensor
    decay: Tensor
    """L [B, chunks, H, Q, Q]"""
    entry: Tensor
    """e [B, chunks, Q, H]"""
    exit: Tensor
    """w [B, chunks, Q, H]"""
    layout: _Layout

    @property
    def written(self) -> Tensor:
        return self.dt.unsqueeze(-1) * self.x  # X


def _chunks(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, chunk: int, cu: Tensor | None, reset: Tensor | None,
    reverse: bool,
) -> _Chunks:  # fmt: skip
    to, copies = wide(x.dtype), x.shape[-2] // B.shape[-2]
    pack = None if cu is None else Pack(cu, len(x))
    steps = x.shape[1] if pack is None else pack.longest
    layout = _Layout(pack, steps, min(chunk, steps), reverse)
    B, C = (layout.split(v.to(to)).repeat_interleave(copies, -2) for v in (B, C))
    s = layout.split(dt.double() * A.double()).cumsum(2)  # [B, c, Q, H] in float64: differences of it are taken
    size = layout.chunk
    same = torch.ones(size, size, dtype=torch.bool, device=x.device).tril()
    between = s.transpose(2, 3).unsqueeze(-1) - s.transpose(2, 3).unsqueeze(-2)  # [B, c, H, i, j]
    entry, exit_ = s.exp(), (s[:, :, -1:] - s).exp()
    if reset is not None:
        segment = layout.split(reset).int().cumsum(2)  # [B, c, Q]
        same = same & (segment.unsqueeze(-1) == segment.unsqueeze(-2)).unsqueeze(2)
        entry = torch.where(segment.unsqueeze(-1) == 0, entry, 0.0)
        exit_ = torch.where((segment == segment[..., -1:]).unsqueeze(-1), exit_, 0.0)
    decay = torch.where(same, between, -torch.inf).to(to).exp()
    return _Chunks(
        layout.split(x.to(to)), layout.split(dt.to(to)), B, C, decay, entry.to(to), exit_.to(to), layout
    )  # fmt: skip


def _states(of: _Chunks, S0: Tensor | None) -> tuple[Tensor, Tensor]:
    """(state before each chunk [B, c, H, P, N], the last one [B, H, P, N])."""
    entered = einsum("bcjhp,bcjhn->bchpn", of.written * of.exit.unsqueeze(-1), of.B)
    state = torch.zeros_like(entered[:, 0]) if S0 is None else S0.to(entered.dtype)
    before = []
    for c in range(entered.shape[1]):
        before.append(state)
        state = torch.addcmul(entered[:, c], of.entry[:, c, -1, :, None, None], state)
    return torch.stack(before, 1), state


def _finite(*given: Tensor | None) -> bool:
    return all(bool(x.sum().isfinite()) for x in given if x is not None)


def ssd_forward(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, S0: Tensor | None, chunk: int,
    cu: Tensor | None, reset: Tensor | None, reverse: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    if not _finite(x, dt, A, B, S0):
        return _forward_by_groups(x, dt, A, B, C, D, S0, cu, reset, reverse)
    of = _chunks(x, dt, A, B, C, chunk, cu, reset, reverse)
    before, last = _states(of, S0)
    y = einsum("bchij,bcjhp->bcihp", einsum("bcihn,bcjhn->bchij", of.C, of.B) * of.decay, of.written)
    y += einsum("bchpn,bcihn->bcihp", before, of.C) * of.entry.unsqueeze(-1)
    if D is not None:
        y += D.to(y.dtype).unsqueeze(-1) * of.x
    return of.layout.join(y).to(x.dtype), last.to(x.dtype)


def ssd_backward(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, S0: Tensor | None, g: Tensor,
    g_last: Tensor | None, chunk: int, cu: Tensor | None, reset: Tensor | None, reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:  # fmt: skip
    if not _finite(x, dt, A, B, C, S0, g, g_last):
        return _backward_by_groups(x, dt, A, B, C, D, S0, g, g_last, cu, reset, reverse)
    of = _chunks(x, dt, A, B, C, chunk, cu, reset, reverse)
    before, _ = _states(of, S0)
    gy, written = of.layout.split(g.to(of.x.dtype)), of.written
    read = gy * of.entry.unsqueeze(-1)  # e_i g_i
    after, dS0 = _state_gradients(of, einsum("bcihp,bcihn->bchpn", read, of.C), g_last)
    products = einsum("bcihn,bcjhn->bchij", of.C, of.B)
    inner = einsum("bcihp,bcjhp->bchij", gy, written) * of.decay  # L_ij g_i . X_j
    out = einsum("bchpn,bcjhn->bcjhp", after, of.B) * of.exit.unsqueeze(-1)  # w_j S'-gradient B_j
    dX = einsum("bchij,bcihp->bcjhp", products * of.decay, gy) + out
    dC = einsum("bchij,bcjhn->bcihn", inner, of.B) + einsum("bchpn,bcihp->bcihn", before, read)
    dB = einsum("bchij,bcihn->bcjhn", inner, of.C)
    dB += einsum("bchpn,bcjhp->bcjhn", after, written * of.exit.unsqueeze(-1))
    d_log = _decay_gradient(of, products * inner, before, after, read, (written * out).sum(-1))
    ddt = (dX * of.x).sum(-1) + (d_log * A.double()).to(dX.dtype)
    dA = (d_log * of.dt).sum((0, 1, 2))
    dx = dX * of.dt.unsqueeze(-1)
    dD = None
    if D is not None:
        dx += D.to(dx.dtype).unsqueeze(-1) * gy
        dD = (gy * of.x).sum((0, 1, 2, 4), dtype=torch.float64)
    groups = B.shape[-2]
    dB, dC = (unflattened(v, 3, groups, -1).sum(4) for v in (dB, dC))
    dx, ddt, dB, dC = map(of.layout.join, (dx, ddt, dB, dC))
    return dx, ddt, dA, dB, dC, dD, None if S0 is None else dS0


def _state_gradients(of: _Chunks, read: Tensor, g_last: Tensor | None) -> tuple[Tensor, Tensor]:
    """(gradient of the state after each chunk [B, c, H, P, N], that of the first state)."""
    carry = torch.zeros_like(read[:, 0]) if g_last is None else g_last.to(read.dtype)
    after = []
    for c in range(read.shape[1] - 1, -1, -1):
        after.append(carry)
        carry = torch.addcmul(read[:, c], of.entry[:, c, -1, :, None, None], carry)
    return torch.stack(after[::-1], 1), carry


def _decay_gradient(of: _Chunks, pairs: Tensor, before: Tensor, after: Tensor, read: Tensor, left: Tensor) -> Tensor:
    """[B, c, Q, H] float64: gradient of dt A. Step t decays what goes from j < t to i >= t, so it is a running sum.

    pairs [.., i, j], left [.., j]: contributions of L and w. Sums of what cancels are taken in float64.
    """
    pairs = pairs.double()
    ds = (pairs.sum(-1) - pairs.sum(-2)).transpose(2, 3)  # [B, c, Q, H]
    left = left.double()
    ds += (einsum("bchpn,bcihn->bcihp", before, of.C) * read).double().sum(-1) - left
    through = (before * after).double().sum((-1, -2)) * of.entry[:, :, -1].double()
    ds[:, :, -1] += left.sum(2) + through
    return ds.flip(2).cumsum(2).flip(2)


def _group(
    x: Tensor, dt: Tensor, A: Tensor, D: Tensor | None, heads: slice, n_states: int
) -> tuple[Tensor | None, ...]:
    """(u, dt, A, D) of a `selective_scan` with a channel for each channel of these heads."""
    x, dt = x[..., heads, :], dt[..., heads]
    width = x.shape[-1]
    A = A[heads].repeat_interleave(width).unsqueeze(-1).expand(-1, n_states)
    D = None if D is None else D[heads].repeat_interleave(width)
    return x.flatten(-2), dt.repeat_interleave(width, -1), A, D


def _groups(x: Tensor, B: Tensor) -> list[tuple[int, slice]]:
    size = x.shape[-2] // B.shape[-2]
    return [(g, slice(g * size, (g + 1) * size)) for g in range(B.shape[-2])]


def _forward_by_groups(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, S0: Tensor | None, *how: object
) -> tuple[Tensor, Tensor]:
    ys, lasts = [], []
    for g, heads in _groups(x, B):
        u, du, rate, skip = _group(x, dt, A, D, heads, B.shape[-1])
        start = None if S0 is None else S0[:, heads].flatten(1, 2)
        y, last = selective_forward(u, du, rate, B[..., g, :], C[..., g, :], skip, start, *how)  # type: ignore[arg-type]
        ys.append(y.view(*y.shape[:-1], -1, x.shape[-1]))
        lasts.append(unflattened(last, 1, -1, x.shape[-1]))
    return torch.cat(ys, -2), torch.cat(lasts, 1)


def _backward_by_groups(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, S0: Tensor | None, g: Tensor,
    g_last: Tensor | None, *how: object,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:  # fmt: skip
    found: list[list[Tensor]] = [[] for _ in range(7)]
    for n, heads in _groups(x, B):
        u, du, rate, skip = _group(x, dt, A, D, heads, B.shape[-1])
        start, end = (None if v is None else v[:, heads].flatten(1, 2) for v in (S0, g_last))
        dx, ddt, dA, dB, dC, dD, dh0 = selective_backward(
            u, du, rate, B[..., n, :], C[..., n, :], skip, start, g[..., heads, :].flatten(-2), end, *how  # type: ignore[arg-type]
        )  # fmt: skip
        time, by_head = dx.dim() - 1, (-1, x.shape[-1])
        parts = [
            unflattened(dx, time, *by_head),
            unflattened(ddt, time, *by_head).sum(-1),
            unflattened(dA, 0, *by_head).sum((1, 2)),
        ]
        parts += [dB.unsqueeze(-2), dC.unsqueeze(-2), dA.new_empty(0) if dD is None else dD.view(by_head).sum(-1)]
        parts.append(dA.new_empty(0) if dh0 is None else unflattened(dh0, 1, *by_head))
        for to, part in zip(found, parts, strict=True):
            to.append(part)
    dims = (-2, -1, 0, -2, -2, 0, 1)
    dx, ddt, dA, dB, dC, dD, dS0 = (torch.cat(parts, dim) for parts, dim in zip(found, dims, strict=True))
    return dx, ddt, dA, dB, dC, None if D is None else dD, None if S0 is None else dS0
