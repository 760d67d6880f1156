"""ssd_scan and selective_scan in C, step by step: a step's state stays in the processor's nearest cache."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lrscan.native.calls import Layout, call, rows, solid, wide


@dataclass(frozen=True, kw_only=True)
class _Space:
    """What both operators are to C: channels, of which `width` share a dt and an A, and groups that share B and C."""

    u: Tensor
    """[..., channels]"""
    dt: Tensor
    """[..., heads]"""
    A: Tensor
    """[states, channels], or [heads] where by_head"""
    B: Tensor
    """[..., groups * states], as C"""
    C: Tensor
    D: Tensor | None
    """[heads]"""
    h0: Tensor | None
    """[S, states, channels]"""
    groups: int
    by_head: bool
    layout: Layout

    @property
    def states(self) -> int:
        return self.B.shape[-1] // self.groups

    @property
    def heads(self) -> int:
        return self.dt.shape[-1]

    def head(self, to: torch.dtype) -> tuple[Tensor | int | None, ...]:
        """The arguments that begin every call."""
        over_time = [part for x in (self.u, self.dt) for part in rows(x, to)]
        kept = [part for x in (self.B, self.C) for part in rows(x, to)]
        return (
            int(self.by_head), *over_time, solid(self.A, to), *kept, solid(self.D, to), solid(self.h0, to)
        )  # fmt: skip

    def tail(self) -> tuple[Tensor | int | None, ...]:
        return self.heads, self.groups, self.states, *self.layout.tail(self.u.shape[-1])

    def forward(self) -> tuple[Tensor, Tensor]:
        """(y [..., channels], last [S, states, channels])."""
        to, channels = wide(self.u.dtype), self.u.shape[-1]
        y = self.layout.new(self.u, to)
        last = torch.empty(len(self.layout.start), self.states, channels, dtype=to)
        call("state_space", "forward", to, *self.head(to), y, last, *self.tail())
        return y, last

    def backward(self, g: Tensor, g_last: Tensor | None) -> tuple[Tensor, ...]:
        """(du, ddt by channel, dA [states or 1, channels], dB, dC, dD [channels], dh0)."""
        to, channels, sequences = wide(self.u.dtype), self.u.shape[-1], len(self.layout.start)
        du, ddt = self.layout.new(self.u, to), self.layout.new(self.u, to)
        dA = torch.empty(sequences, 1 if self.by_head else self.states, channels, dtype=torch.float64)
        dB, dC = (torch.zeros(self.B.shape, dtype=to) for _ in range(2))
        dD = torch.empty(sequences, channels, dtype=torch.float64)
        dh0 = torch.empty(sequences, self.states, channels, dtype=to)
        call(
            "state_space", "backward", to, *self.head(to), *rows(g, to), solid(g_last, to), du, ddt, dA, dB, dC, dD,
            dh0, *self.tail(),
        )  # fmt: skip
        return du, ddt, dA.sum(0), dB, dC, dD.sum(0), dh0


def _by_state(x: Tensor | None) -> Tensor | None:
    """[S, channels..., N] -> [S, N, channels]."""
    return None if x is None else x.flatten(1, -2).transpose(1, 2)


def _ssd(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, S0: Tensor | None, layout: Layout
) -> _Space:
    u, groups, h0 = x.flatten(-2), B.shape[-2], _by_state(S0)
    B, C = B.flatten(-2), C.flatten(-2)
    return _Space(u=u, dt=dt, A=A, B=B, C=C, D=D, h0=h0, groups=groups, by_head=True, layout=layout)


def ssd_forward(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, S0: Tensor | None, chunk: int,
    cu: Tensor | None, reset: Tensor | None, reverse: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    space = _ssd(x, dt, A, B, C, D, S0, Layout.of(x, cu, reset, reverse))
    y, last = space.forward()
    return y.view(x.shape).to(x.dtype), last.transpose(1, 2).reshape(-1, *x.shape[-2:], B.shape[-1]).to(x.dtype)


def ssd_backward(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, S0: Tensor | None, g: Tensor,
    g_last: Tensor | None, chunk: int, cu: Tensor | None, reset: Tensor | None, reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:  # fmt: skip
    space = _ssd(x, dt, A, B, C, D, S0, Layout.of(x, cu, reset, reverse))
    du, ddt, dA, dB, dC, dD, dh0 = space.backward(g.flatten(-2), _by_state(g_last))
    ddt = ddt.view(x.shape).sum(-1)
    dA, dD = (v.view(x.shape[-2:]).sum(-1) for v in (dA[0], dD))
    dS0 = None if S0 is None else dh0.transpose(1, 2).reshape(S0.shape)
    return du.view(x.shape), ddt, dA, dB.view(B.shape), dC.view(C.shape), None if D is None else dD, dS0


def _selective(
    u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, h0: Tensor | None, layout: Layout
) -> _Space:
    return _Space(u=u, dt=dt, A=A.T, B=B, C=C, D=D, h0=_by_state(h0), groups=1, by_head=False, layout=layout)


def selective_forward(
    u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, h0: Tensor | None, cu: Tensor | None,
    reset: Tensor | None, reverse: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    y, last = _selective(u, dt, A, B, C, D, h0, Layout.of(u, cu, reset, reverse)).forward()
    return y.to(u.dtype), last.transpose(1, 2).contiguous().to(u.dtype)


def selective_backward(
    u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, h0: Tensor | None, g: Tensor,
    g_last: Tensor | None, cu: Tensor | None, reset: Tensor | None, reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:  # fmt: skip
    space = _selective(u, dt, A, B, C, D, h0, Layout.of(u, cu, reset, reverse))
    du, ddt, dA, dB, dC, dD, dh0 = space.backward(g, _by_state(g_last))
    return du, ddt, dA.T, dB, dC, None if D is None else dD, None if h0 is None else dh0.transpose(1, 2)
