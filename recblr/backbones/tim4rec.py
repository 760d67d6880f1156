"""TiM4Rec: Mamba-2's mixer, whose step size Delta also depends on the gaps between events.

    B batch, T time, d model width, H heads; the mixer: `recblr.layers.ssd`, its delta' here from the time branch:
    `recblr.layers.time_branch`

    x = LN(Dropout(E[v]));  x = LN(Dropout(SSD(x, delta')) + x);  x = LN(x + Dropout(W2 Dropout(Hardswish(W1 x))))

Source: Fan et al., "TiM4Rec", arXiv 2409.16182, and its published code, with the settings of ML-1M.

Presets. ``reference``, time "published": gaps of the whole history, padded to max_len, go through a norm and two maps
over the sequence, and the result multiplies delta before the softplus. Not causal: Delta at a step changes with later
gaps; it trains on the last position alone and does not stream. Padding is dated 0, so in a history shorter than max_len
one gap of minus the last time dwarfs all others. A longer gap need not mean faster forgetting, and at the start time
changes next to nothing. With heads a multiple of 8 the published code takes SiLU for Hardswish. A single layer has no
residual; row 0 is a softmax class. ``fixed``, time "causal": each event's own gap, in logarithms and added to delta, so
that it is causal and the same event by event. ``untimed``, time "off", is the model without its time branch.
Published times are 32-bit floats, 64 to 128 s apart; here gaps are whole seconds, and one that is negative counts as
such in "published" and by its size in "causal".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import hardswish, silu

from recblr.backbones.base import BackboneConfig, Batch, Flags, State, untimed
from recblr.backbones.ssd4rec import SSDConfig
from recblr.backbones.tied import normal_init
from recblr.backbones.timed import TimedLayer, TimedStack
from recblr.errors import ConfigError, HistoryError
from recblr.layers.conv import CausalConv
from recblr.layers.dropout import Dropout
from recblr.layers.holding import LayerNorm
from recblr.layers.recorder import Record
from recblr.layers.ssd import SSD, Adjust
from recblr.layers.time_branch import CausalBranch, PublishedBranch, log_gaps, published_gaps


@dataclass(frozen=True, kw_only=True, slots=True)
class TiM4RecConfig(SSDConfig):
    """TiM4Rec's settings; defaults are the preset "fixed"."""

    time: Literal["causal", "published", "off"] = "causal"
    """Time branch: each event's own gap, all gaps at once as published (not causal), or none."""
    time_dropout: float = 0.2
    """Dropout rate inside the time branch."""
    point_gate: bool = False
    """A residual gate of the time signal for each position (published) or head (causal) in place of one; the published
    code has it on Beauty."""
    conv_init: Literal["uniform", "kaiming"] = "uniform"
    """Initial convolutions: torch's own, or narrow with zero biases as published on ML-1M."""
    single_residual: bool = True
    """Keep the residual where there is a single layer; the published code drops it."""

    def __post_init__(self) -> None:
        SSDConfig.__post_init__(self)
        if self.time not in ("causal", "published", "off"):
            raise ConfigError(f"time is {self.time!r}: choose causal, published or off")
        if not 0 <= self.time_dropout < 1:
            raise ConfigError(f"time_dropout is {self.time_dropout}: it must lie in [0, 1)")
        if self.conv_init not in ("uniform", "kaiming"):
            raise ConfigError(f"conv_init is {self.conv_init!r}: choose uniform or kaiming")


class TimeAwareLayer(TimedLayer):
    """`mixer` is an `SSD`; `branch` is None where time is off."""

    mixer: SSD

    def __init__(self, config: TiM4RecConfig, *, last: bool) -> None:
        published = config.time == "published"
        activation = silu if published and config.heads % 8 == 0 else hardswish
        sizes = {"expand": config.expand, "heads": config.heads, "state": config.state, "conv": config.conv}
        mixer = SSD(config.d, **sizes, activation=activation, bias=True, eps=1e-12)
        residual = config.n_layers > 1 or config.single_residual
        super().__init__(mixer, config.d, hardswish, config.dropout, residual=residual)
        how: dict[str, Any] = {
            "conv": config.conv,
            "activation": activation,
            "dropout": config.time_dropout,
            "point_gate": config.point_gate,
            "last": last,
        }
        self.branch: nn.Module | None = None
        if published:
            self.branch = PublishedBranch(config.heads, config.max_len, **how)
        elif config.time == "causal":
            self.branch = CausalBranch(config.heads, **how)

    def timed(
        self, x: Float[Tensor, "B T d"], signal: Tensor, record: Record | None
    ) -> tuple[Float[Tensor, "B T d"], Tensor]:
        adjust: Adjust | None = None
        if self.branch is not None:
            q, signal = self.branch(signal)
            adjust = self._adjust(q[:, : x.shape[1]])
        out = self._after_mixer(x, self.mixer(x, record, adjust))
        if record is not None:
            record["out"] = out
        return out, signal

    def _adjust(self, q: Tensor) -> Adjust:
        causal = isinstance(self.branch, CausalBranch)
        return lambda delta: delta + q if causal else delta * q

    def timed_step(
        self, state: State, x: Float[Tensor, "B d"], signal: Tensor
    ) -> tuple[Float[Tensor, "B d"], Tensor, State]:
        adjust: Adjust | None = None
        own: State = {}
        if isinstance(self.branch, CausalBranch):
            q, signal, own = self.branch.step(state, signal)
            adjust = self._adjust(q)
        y, new = self.mixer.step(state, x, adjust)
        return self._after_mixer(x, y), signal, {**new, **own}


class TiM4Rec(TimedStack):
    """See the module docstring."""

    Config = TiM4RecConfig
    config: TiM4RecConfig
    name = "tim4rec"
    title = "TiM4Rec"
    paper = "Fan et al. 2024, arXiv 2409.16182"
    recurrent = True
    mixer_name = "time-aware SSD"
    looks_ahead = "its time branch runs over the gaps of the whole history"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "fixed": {"time": "causal", "conv_init": "uniform", "single_residual": True, "pad_class": False},
        "reference": {"time": "published", "conv_init": "kaiming", "single_residual": False, "pad_class": True},
        "untimed": {"time": "off", "conv_init": "uniform", "single_residual": True, "pad_class": False},
    }

    def __init__(self, config: TiM4RecConfig) -> None:
        super().__init__(config, pad_class=config.pad_class)
        self.norm = LayerNorm(config.d, eps=1e-12)
        self.dropout = Dropout(config.dropout)
        if config.time == "published":
            self.time_norm = nn.LayerNorm(config.max_len, eps=1e-12)
        elif config.time == "causal":
            self.gain = nn.Parameter(torch.logspace(0, 2, config.heads, base=2))
            self.bias, self.first = (nn.Parameter(torch.zeros(config.heads)) for _ in range(2))
        last = config.n_layers - 1
        self.layers = nn.ModuleList(TimeAwareLayer(config, last=n == last) for n in range(config.n_layers))
        normal_init(self)
        self._start()
        self.clear_padding_row()

    @classmethod
    def flags(cls, config: BackboneConfig) -> Flags:
        assert isinstance(config, TiM4RecConfig)
        return replace(super().flags(config), causal=config.time != "published", uses_time=config.time != "off")

    @torch.no_grad()
    def _start(self) -> None:
        for part in self.modules():
            if isinstance(part, CausalBranch):
                part.start_as_identity()
            elif isinstance(part, CausalConv) and self.config.conv_init == "kaiming":
                nn.init.normal_(part.weight, std=(2 / part.weight.numel()) ** 0.5)
                nn.init.zeros_(part.bias)

    def enter(self, embeddings: Float[Tensor, "B T d"], first: int = 0) -> Float[Tensor, "B T d"]:
        out: Tensor = self.norm(self.dropout(embeddings))
        return out

    def _per_head(self, logs: Float[Tensor, "*B"]) -> Float[Tensor, "*B H"]:
        return self.gain * logs.to(self.gain.dtype).unsqueeze(-1) + self.bias

    def signal(self, times: Int[Tensor, "B T"], mask: Tensor) -> Tensor:
        """What the first layer knows of the time: [B, T, H], or [B, H, L] as published; empty where time is off."""
        if self.config.time == "off":
            return self.norm.weight.new_zeros(0)
        if self.config.time == "causal":
            known = self._per_head(log_gaps(times[:, 1:], times[:, :-1]))
            return torch.cat([self.first.expand(len(times), 1, -1), known], dim=1)
        if times.shape[1] > self.config.max_len:
            raise HistoryError(
                f"TiM4Rec {self.preset} knows {self.config.max_len} places and was given event {times.shape[1]}: pass"
                " the most recent events"
            )
        gaps = published_gaps(times, mask, self.config.max_len).to(self.norm.weight.dtype)
        scaled: Tensor = self.time_norm(self.dropout(gaps))
        return scaled.unsqueeze(1).expand(-1, self.config.heads, -1)

    def step_signal(self, times: Int[Tensor, " B"], before: Int[Tensor, " B"], position: Int[Tensor, " B"]) -> Tensor:
        if self.config.time != "causal":
            return self.norm.weight.new_zeros(0)
        return torch.where(position.unsqueeze(1) == 0, self.first, self._per_head(log_gaps(times, before)))

    def notes(self) -> tuple[str, ...]:
        notes = [self.config.channels]
        if self.config.time == "causal":
            notes.append("Decay, write and step size include the gap before each event, in logarithms, as learnt.")
        if not self.causal:
            notes.append(
                "Not causal: the time branch runs over the gaps of the whole history, so decay and step size of every"
                " step have seen later ones; it cannot answer event by event. The preset fixed can. Its time factor"
                " multiplies and may be negative: a longer gap need not mean faster forgetting."
            )
        return tuple(notes)

    def batch_notes(self, batch: Batch) -> tuple[str, ...]:
        short = bool((batch.lengths < self.config.max_len).any())
        if self.causal or not short or untimed(batch.times, batch.mask):
            return ()
        return (
            f"The history is shorter than max_len {self.config.max_len}: as published, padding is dated 1970, and that"
            " one gap dwarfs all others in the norm.",
        )

    def initial_state(self, batch_size: int) -> State:
        """RecblrError where the preset is not causal."""
        self.check_streams()
        state = super().initial_state(batch_size)
        for n, layer in enumerate(self.layers):
            if isinstance(layer.branch, CausalBranch):
                state |= self.layer_state(layer.branch.initial_state(batch_size), n)
        return state

    def step(
        self, state: State, items: Int[Tensor, " B"], times: Int[Tensor, " B"]
    ) -> tuple[Float[Tensor, "B d"], State]:
        self.check_streams()
        return super().step(state, items, times)
