"""The time branch of TiM4Rec: from gaps between events to what changes the step size Delta of each head.

    B batch, T time, L max_len, H heads, t_h the time signal of head h

    s = W_b SiLU(W_a Dropout(t) + b_a) + b_b;  q = act(conv2(act(conv1(t s))))
    rho = sigmoid(W_r Dropout(t) + b_r);  signal of the next layer = norm(rho t + (1 - rho) q)

Published: t starts as LN over the sequence of Dropout(gap), padded with zeros to L; W_a and W_b are L x L, the norm is
a LN over the sequence, and delta' = delta q. Here also a causal form, where all of them act on the heads of one event:

    t_h = gain_h log1p(gap) / log1p(a day) + bias_h, at the first event a learnt number;  W_a: H -> 4 H, W_b: 4 H -> H
    norm: gain_h, bias_h;  delta' = delta + q

It starts with gains of 1 to 4, s = 1 and convolutions that pass the event itself, so that a longer gap means a larger
Delta: the older state fades more. Training may change that.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import pad, silu

from recblr.layers.conv import CausalConv
from recblr.layers.dropout import Dropout
from recblr.layers.elapsed import bounded
from recblr.layers.post_norm import State

DAY = 86_400
_LONGEST = 2**40
"""Seconds, 35,000 years: what a longer gap counts as in the published branch, so that its variance fits 32 bits."""


def published_gaps(times: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"], length: int) -> Int[Tensor, "B L"]:
    """Seconds since the event before, 0 at the first; padding is dated 0, so its first gap is minus the last time."""
    dated = pad(bounded(times).masked_fill(~mask, 0), (0, length - times.shape[1]))
    return pad(dated.diff(dim=1), (1, 0)).clamp(-_LONGEST, _LONGEST)


def log_gaps(times: Int[Tensor, "*B"], before: Int[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """log1p(|times - before|) in days' worth: 0 at the same second, 1 at a day; float64."""
    seconds = (bounded(times) - bounded(before)).abs().double()
    return torch.log1p(seconds) / torch.log1p(torch.tensor(float(DAY), dtype=torch.float64))


class _Branch(nn.Module):
    """What both forms share; `width` is that of the axis which W_a, W_b and W_r act on."""

    def __init__(
        self,
        heads: int,
        width: int,
        inner: int,
        *,
        conv: int,
        activation: Callable[[Tensor], Tensor],
        dropout: float,
        point_gate: bool,
        last: bool,
    ) -> None:
        super().__init__()
        self.scale_in, self.scale_out = nn.Linear(width, inner), nn.Linear(inner, width)
        self.first_conv, self.second_conv = CausalConv(heads, conv), CausalConv(heads, conv)
        self.activation, self.dropout = activation, Dropout(dropout)
        self.gate = None if last else nn.Linear(width, width if point_gate else 1)

    def _scale(self, signal: Tensor) -> Tensor:
        scale: Tensor = self.scale_out(silu(self.scale_in(self.dropout(signal))))
        return scale

    def _mixed(self, signal: Tensor, q: Tensor) -> Tensor:
        """rho t + (1 - rho) q."""
        assert self.gate is not None
        rho = torch.sigmoid(self.gate(self.dropout(signal)))
        return rho * signal + (1 - rho) * q


class PublishedBranch(_Branch):
    """Signals are [B, H, L]; the last layer passes none on (the published code computes one and drops it)."""

    def __init__(self, heads: int, length: int, *, last: bool, **how: object) -> None:
        super().__init__(heads, length, length, last=last, **how)  # type: ignore[arg-type]
        self.norm = None if last else nn.LayerNorm(length, eps=1e-12)

    def forward(self, signal: Float[Tensor, "B H L"]) -> tuple[Float[Tensor, "B L H"], Float[Tensor, "B H L"]]:
        """(q, signal of the next layer)."""
        q = self.activation(self.first_conv((signal * self._scale(signal)).transpose(1, 2)))
        q = self.activation(self.second_conv(q))
        return q, signal if self.norm is None else self.norm(self._mixed(signal, q.transpose(1, 2)))


class CausalBranch(_Branch):
    """Signals are [B, T, H]."""

    def __init__(self, heads: int, *, last: bool, **how: object) -> None:
        super().__init__(heads, heads, 4 * heads, last=last, **how)  # type: ignore[arg-type]
        if not last:
            self.gain, self.bias = nn.Parameter(torch.ones(heads)), nn.Parameter(torch.zeros(heads))

    @torch.no_grad()
    def start_as_identity(self) -> None:
        """s = 1 and convolutions of the event alone, after an initialiser wrote over them."""
        self.scale_out.bias.fill_(1)
        for conv in (self.first_conv, self.second_conv):
            conv.weight.zero_()
            conv.weight[:, -1] = 1
            conv.bias.zero_()

    def _next(self, signal: Tensor, q: Tensor) -> Tensor:
        return signal if self.gate is None else self.gain * self._mixed(signal, q) + self.bias

    def forward(self, signal: Float[Tensor, "B T H"]) -> tuple[Float[Tensor, "B T H"], Float[Tensor, "B T H"]]:
        """(q, signal of the next layer)."""
        q = self.activation(self.first_conv(signal * self._scale(signal)))
        q = self.activation(self.second_conv(q))
        return q, self._next(signal, q)

    def initial_state(self, batch: int) -> State:
        """The last inputs of both convolutions."""
        return {"first": self.first_conv.initial_state(batch), "second": self.second_conv.initial_state(batch)}

    def step(self, state: State, signal: Float[Tensor, "B H"]) -> tuple[Tensor, Tensor, State]:
        """(q [B, H], signal of the next layer [B, H], new state)."""
        q, first = self.first_conv.step(state["first"], signal * self._scale(signal))
        q, second = self.second_conv.step(state["second"], self.activation(q))
        q = self.activation(q)
        return q, self._next(signal, q), {"first": first, "second": second}
