"""Time-decay BD-LRU: RecBLR whose state also fades with the time that passed, faster after a longer gap.

    B batch, T time, d model width, H = expand * d channels of the recurrence

    [u, z] = x W_in;  u = SiLU(conv(u));  [r, i] = u W_g + b_g
    D_t = 1 + softplus(w) log1p(gap_t / tau0),  gap_t = seconds since the event before, 0 at the first
    a_t = exp(-softplus(Lambda) sigmoid(r_t) D_t);  h_t = a_t h_{t-1} + sqrt(1 - a_t^2) sigmoid(i_t) u_t
    y = W_out(SiLU(z) h);  x = LN(Dropout(y) + x);  x = LN(x + FFN(x))

Source: none; a model of this project. The cell is RecBLR's (Liu et al., arXiv 2406.12580, eq. 6 to 9), its decay is
multiplied by time as the step size is in TiM4Rec (Fan et al., arXiv 2409.16182), but causal and monotone: in every
channel a longer gap means faster forgetting, and a new event that writes more. GRU-D (Che et al., arXiv 1606.01865,
eq. 10) decays a state by its gap too, linear in the gap where this is logarithmic.

D_t, the traced `delta`, is how many untimed steps of its own decay an event counts for. It is 1 where no time passed:
events of one second, and every event of a log without times, are plain RecBLR. Gaps are differences of whole seconds; a
negative one counts by its size. Any gap has a finite D_t: 1 + 5.9 softplus(w) after a year at tau0 of a day. tau0 is a
setting and not a running median of the user's gaps, so that half-lives in days compare between users.

At the start softplus(w) is spaced evenly in logarithms from 0.1 to 10 over the channels: some hardly read the time,
some lose half of their state in a week. Lambda starts as RecBLR's: exp(-softplus(Lambda)) uniform in [.9, .999].
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from lrscan import linear_scan, linear_step
from torch import Tensor, nn
from torch.nn.functional import pad, silu, softplus

from recblr.backbones.base import BackboneConfig, State, untimed
from recblr.backbones.recblr import BDLRU, RecBLRConfig
from recblr.backbones.tied import normal_init
from recblr.backbones.timed import TimedLayer, TimedStack
from recblr.errors import ConfigError
from recblr.layers.dropout import Dropout
from recblr.layers.elapsed import bounded
from recblr.layers.holding import LayerNorm, held, sloped
from recblr.layers.recorder import Record

DAY = 86_400.0
_LEAST = 1e-30
"""Smallest forgetting of a step: sqrt has no gradient at 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TBDLRUConfig(BackboneConfig):
    """Settings of time-decay BD-LRU."""

    expand: int = 2
    """Channels of the recurrence as a multiple of d."""
    conv: int = 4
    """Width of the causal convolution."""
    tau0_seconds: float = DAY
    """Gap from which on time counts by its logarithm, below by its length: a day unless set."""

    def __post_init__(self) -> None:
        BackboneConfig.__post_init__(self)
        if self.expand < 1 or self.conv < 1:
            raise ConfigError(f"expand is {self.expand} and conv is {self.conv}: both must be at least 1")
        if not 0 < self.tau0_seconds < math.inf:
            raise ConfigError(f"tau0_seconds is {self.tau0_seconds}: it must be a length of time above 0")


def gap_seconds(times: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Int[Tensor, "B T"]:
    """|seconds| since the event before; 0 at the first event and at padding."""
    return pad(bounded(times).diff(dim=1), (1, 0)).abs().masked_fill(~mask, 0)


def half_life_days(
    decay: Float[Tensor, "B T H"], gaps: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]
) -> Float[Tensor, "B H"]:
    """ln 2 over the mean forgetting a day, from the first event to the last; NaN where no time passed."""
    lost = torch.where(mask.unsqueeze(2), -decay.double().log(), 0.0)[:, 1:].sum(dim=1)  # [B, H]
    days = gaps.double().sum(dim=1, keepdim=True) / DAY
    return torch.where(days > 0, math.log(2) * days / lost, torch.nan).to(decay.dtype)


class TimeBDLRU(BDLRU):
    """`logs` are log1p(gap / tau0), [B, T], or [B] in a step."""

    def __init__(self, config: TBDLRUConfig) -> None:
        super().__init__(RecBLRConfig(n_items=config.n_items, d=config.d, expand=config.expand, conv=config.conv))
        self.w = nn.Parameter(torch.logspace(-1, 1, len(self.lam)).expm1().log())

    def _gates(self, u: Tensor, logs: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(decay, write, input gate, D), each [..., H] in the precision of the weights."""
        r, i = self.gates(u).to(self.lam.dtype).chunk(2, dim=-1)
        count = 1 + softplus(self.w) * logs.unsqueeze(-1)
        lost = (softplus(self.lam) * torch.sigmoid(r) * count).clamp(min=_LEAST)
        input_gate = torch.sigmoid(i)
        # 1 - a^2 as -expm1(-2 lost): the difference of two floats near 1 would lose the digits of a slow channel.
        return torch.exp(-lost), torch.sqrt(-torch.expm1(-2 * lost)) * input_gate, input_gate, count

    def forward(
        self, x: Float[Tensor, "B T d"], record: Record | None = None, logs: Float[Tensor, "B T"] | None = None
    ) -> Float[Tensor, "B T d"]:
        logs = self.lam.new_zeros(x.shape[:2]) if logs is None else logs
        u, z = self.project_in(x).chunk(2, dim=-1)  # [B, T, H] each
        u = sloped(silu, self.conv(u))
        decay, write, input_gate, count = self._gates(held(u), logs)
        entered = write * u
        h = linear_scan(decay, entered)
        y: Tensor = self.project_out(held(silu(z)) * h)
        if record is not None:
            record.update(
                decay=decay,
                write=write,
                input_gate=input_gate,
                delta=count,
                read=silu(z),
                state=h,
                entered=entered,
                conv=self.conv.weight,
            )
        return y

    def step(
        self, state: State, x: Float[Tensor, "B d"], logs: Float[Tensor, " B"] | None = None
    ) -> tuple[Float[Tensor, "B d"], State]:
        logs = self.lam.new_zeros(len(x)) if logs is None else logs
        u, z = self.project_in(x).chunk(2, dim=-1)
        u, window = self.conv.step(state["conv"], u)
        u = silu(u)
        decay, write, _, _ = self._gates(u, logs)
        h = linear_step(state["h"], decay, write * u)
        return self.project_out(silu(z) * h), {"h": h, "conv": window}


class GapLayer(TimedLayer):
    """RecBLR's layer; its signal is the logarithm of the gap before each event, the same for all layers."""

    mixer: TimeBDLRU

    def timed(
        self, x: Float[Tensor, "B T d"], signal: Float[Tensor, "B T"], record: Record | None
    ) -> tuple[Float[Tensor, "B T d"], Float[Tensor, "B T"]]:
        out = self._after_mixer(x, self.mixer(x, record, signal))
        if record is not None:
            record["out"] = out
        return out, signal

    def timed_step(
        self, state: State, x: Float[Tensor, "B d"], signal: Float[Tensor, " B"]
    ) -> tuple[Float[Tensor, "B d"], Float[Tensor, " B"], State]:
        y, new = self.mixer.step(state, x, signal)
        return self._after_mixer(x, y), signal, new


class TBDLRU(TimedStack):
    """See the module docstring."""

    Config = TBDLRUConfig
    config: TBDLRUConfig
    name = "tbdlru"
    title = "Time-decay BD-LRU"
    paper = "none; RecBLR (Liu et al. 2024, arXiv 2406.12580) with a decay by the gap"
    recurrent = True
    mixer_name = "time-decay BD-LRU"
    timeless = "every gap counts as 0 seconds, so the state fades by the event alone, as RecBLR's does"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"fixed": {"tau0_seconds": DAY}}

    def __init__(self, config: TBDLRUConfig) -> None:
        super().__init__(config, pad_class=False)
        self.norm = LayerNorm(config.d, eps=1e-12)
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList(
            GapLayer(TimeBDLRU(config), config.d, silu, config.dropout) for _ in range(config.n_layers)
        )
        normal_init(self)
        self.clear_padding_row()

    def enter(self, embeddings: Float[Tensor, "B T d"], first: int = 0) -> Float[Tensor, "B T d"]:
        out: Tensor = self.norm(self.dropout(embeddings))
        return out

    def _logs(self, gaps: Int[Tensor, "*B"]) -> Float[Tensor, "*B"]:
        return torch.log1p(gaps.double() / self.config.tau0_seconds).to(self.norm.weight.dtype)

    def signal(self, times: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        return self._logs(gap_seconds(times, mask))

    def step_signal(
        self, times: Int[Tensor, " B"], before: Int[Tensor, " B"], position: Int[Tensor, " B"]
    ) -> Float[Tensor, " B"]:
        return self._logs((bounded(times) - bounded(before)).abs().masked_fill(position == 0, 0))

    def _run(self, embeddings: Tensor, mask: Tensor, times: Tensor, records: list[Record] | None) -> Tensor:
        x = super()._run(embeddings, mask, times, records)
        if records is not None and not untimed(times, mask):
            for record in records:
                record["half_life_days"] = half_life_days(record["decay"], gap_seconds(times, mask), mask)
        return x

    def notes(self) -> tuple[str, ...]:
        notes = ["The step size is how many steps of its own decay an event counts for, given the gap before it."]
        if self.config.conv > 1:
            before = self.config.conv - 1
            notes.append(f"Before the recurrence a convolution mixes each event with the {before} before it.")
        return tuple(notes)
