"""SSD4Rec: the mixer of Mamba-2, read from both ends as published, or from the oldest event on.

    B batch, T time, d model width; the mixer: `recblr.layers.ssd`

    both ends:   x = Dropout(LN(f + beta b + x));  x = Dropout(LN(W2 Dropout(GELU(W1 x)) + x))
                 f = SSD(x),  b = SSD(x read from the newest event to the oldest), with the same weights
    one way:     x = LN(Dropout(SSD(x)) + x);  x = LN(x + Dropout(W2 Dropout(Hardswish(W1 x))))

Source: Qu et al., "SSD4Rec", arXiv 2409.01192, and its published code; the one-way form is the baseline of TiM4Rec's
code (arXiv 2409.16182), there called SSD4Rec_r.

Presets. ``reference`` reads from both ends. b is not turned round again: step t of the sum holds the state after the t
newest events, which at the last step has read the whole history and ends at its oldest event. No step before the last
is free of later events, so it trains on the last position alone and does not stream. While training, ids are replaced
by 0 at random (`input_mask`); row 0 is at once that mask, padding and a softmax class. ``fixed`` is the one-way form
without the padding class: causal, and the same event by event.
The published code reads a history of any length, packs a batch into one row and has d = 256 with 32 heads of 16; here
max_len holds for all backbones alike, and the 8 heads of 16 are those of d = 64.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import gelu, hardswish, silu

from recblr.backbones.base import BackboneConfig, Flags, State
from recblr.backbones.stacked import StackedBackbone
from recblr.backbones.tied import normal_init
from recblr.errors import ConfigError
from recblr.layers.dropout import Dropout
from recblr.layers.holding import LayerNorm, sloped
from recblr.layers.post_norm import PostNormLayer
from recblr.layers.recorder import Record, layer_trace
from recblr.layers.ssd import SSD
from recblr.trace import LayerTrace


@dataclass(frozen=True, kw_only=True, slots=True)
class SSDConfig(BackboneConfig):
    """Settings of every backbone with this mixer."""

    expand: int = 2
    """Channels of the state space as a multiple of d."""
    heads: int = 4
    """Heads, each with a decay of its own; must divide expand * d."""
    state: int = 32
    """Numbers that each channel holds."""
    conv: int = 4
    """Width of the causal convolution."""
    pad_class: bool = False
    """Keep padding as a class of the softmax, as the published code does."""

    def __post_init__(self) -> None:
        BackboneConfig.__post_init__(self)
        for name in ("expand", "state", "conv"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: it must be at least 1")
        if self.heads < 1 or self.expand * self.d % self.heads:
            raise ConfigError(f"heads is {self.heads} and expand * d is {self.expand * self.d}: heads must divide it")

    @property
    def channels(self) -> str:
        """What a channel of a trace is, for its notes."""
        width = self.expand * self.d // self.heads
        return (
            f"Every number of the state is a channel: {self.heads} heads of {width} channels of {self.state} numbers."
            " Write and step size are the same number, Delta, one a head; the read gate is C SiLU(z), then normed."
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SSD4RecConfig(SSDConfig):
    """SSD4Rec's settings; defaults are the preset "fixed"."""

    direction: Literal["forward", "both"] = "forward"
    """Read from the oldest event on, or from both ends as published, which is not causal."""
    beta: float = 0.1
    """Weight of the reading from the newest event on."""
    embedding_norm: bool = True
    """Norm and dropout of the embeddings; the published code has none on Amazon's logs."""
    input_mask: float = 0.0
    """Share of the ids that training replaces by 0, where both ends are read."""

    def __post_init__(self) -> None:
        SSDConfig.__post_init__(self)
        if self.direction not in ("forward", "both"):
            raise ConfigError(f"direction is {self.direction!r}: choose forward or both")
        if not 0 <= self.input_mask < 1:
            raise ConfigError(f"input_mask is {self.input_mask}: it must lie in [0, 1)")
        if self.input_mask and (self.direction == "forward" or not self.pad_class):
            raise ConfigError(
                f"input_mask is {self.input_mask}: the mask is row 0, so it needs direction both and pad_class"
            )


class BothEnds(nn.Module):
    """x [B, T, d] -> x [B, T, d], the published layer."""

    def __init__(self, mixer: SSD, d: int, beta: float, dropout: float) -> None:
        super().__init__()
        self.mixer, self.beta = mixer, beta
        self.norm = LayerNorm(d, eps=1e-12)
        self.widen, self.narrow = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)
        self.feed_norm = LayerNorm(d, eps=1e-12)
        self.dropout = Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "B T d"], turn: Int[Tensor, "B T"], record: Record | None = None
    ) -> Float[Tensor, "B T d"]:
        """`turn` [B, T]: the step of the event that is read at each step from the newest on."""
        backward: Record | None = None if record is None else {}
        b = self.mixer(x.gather(1, turn.unsqueeze(-1).expand_as(x)), backward)
        y = self.dropout(self.norm(self.mixer(x, record) + self.beta * b + x))
        inner = self.dropout(sloped(gelu, self.widen(y)))
        out: Tensor = self.dropout(self.feed_norm(self.narrow(inner) + y))
        if record is not None and backward is not None:
            mix = backward["mix"]
            record["backward_mix"] = self.beta * mix.gather(-1, turn[:, None, None].expand_as(mix))
            norm = backward["value_norm"]
            record["backward_value_norm"] = norm.gather(-1, turn.unsqueeze(1).expand_as(norm))
            record["out"] = out
        return out


def turned(mask: Tensor) -> Int[Tensor, "B T"]:
    """For each step the event that comes there when each row is read from its newest event; padding stays."""
    step = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
    return torch.where(mask, mask.sum(dim=1, keepdim=True) - 1 - step, step)


class SSD4Rec(StackedBackbone):
    """See the module docstring."""

    Config = SSD4RecConfig
    config: SSD4RecConfig
    name = "ssd4rec"
    title = "SSD4Rec"
    paper = "Qu et al. 2024, arXiv 2409.01192"
    recurrent = True
    mixer_name = "SSD"
    looks_ahead = "it also reads the history from its newest event on"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "fixed": {"direction": "forward", "heads": 4, "state": 32, "input_mask": 0.0, "pad_class": False},
        "reference": {"direction": "both", "heads": 8, "state": 64, "input_mask": 0.1, "pad_class": True},
    }

    def __init__(self, config: SSD4RecConfig) -> None:
        super().__init__(config, pad_class=config.pad_class)
        if config.embedding_norm:
            self.norm = LayerNorm(config.d, eps=1e-12)
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList(self._layer(config) for _ in range(config.n_layers))
        normal_init(self)
        self.clear_padding_row()
        if not self.causal:
            self.item_embedding.padding_idx = None  # row 0 is the mask, which a lookup trains

    @classmethod
    def flags(cls, config: BackboneConfig) -> Flags:
        assert isinstance(config, SSD4RecConfig)
        return replace(super().flags(config), causal=config.direction == "forward")

    def _layer(self, config: SSD4RecConfig) -> nn.Module:
        sizes = {"expand": config.expand, "heads": config.heads, "state": config.state, "conv": config.conv}
        if self.causal:
            mixer = SSD(config.d, **sizes, activation=hardswish, bias=True, eps=1e-12)
            return PostNormLayer(mixer, config.d, hardswish, config.dropout)
        mixer = SSD(config.d, **sizes, activation=silu, bias=False, eps=1e-5)
        return BothEnds(mixer, config.d, config.beta, config.dropout)

    def embed(self, items: Int[Tensor, "B T"]) -> Float[Tensor, "B T d"]:
        if self.training and self.config.input_mask:
            items = items * (torch.rand(items.shape, device=items.device) >= self.config.input_mask)
        return super().embed(items)

    def enter(self, embeddings: Float[Tensor, "B T d"], first: int = 0) -> Float[Tensor, "B T d"]:
        if not self.config.embedding_norm:
            return embeddings
        out: Tensor = self.norm(self.dropout(embeddings))
        return out

    def _run(self, embeddings: Tensor, mask: Tensor, times: Tensor, records: list[Record] | None) -> Tensor:
        if self.causal:
            return super()._run(embeddings, mask, times, records)
        x, turn = self.enter(embeddings), turned(mask)
        for n, layer in enumerate(self.layers):
            x = layer(x, turn, None if records is None else records[n])
        return x

    def _layer_traces(self, records: list[Record]) -> tuple[LayerTrace, ...]:
        """Read backward, the mix alone: by event, since its own steps run the other way."""
        if self.causal:
            return super()._layer_traces(records)
        layers = []
        for n, record in enumerate(records, 1):
            backward = {name: record.pop(f"backward_{name}") for name in ("mix", "value_norm")}
            layers += [layer_trace(f"layer {n} · SSD", record), layer_trace(f"layer {n} · SSD backward", backward)]
        return tuple(layers)

    def notes(self) -> tuple[str, ...]:
        notes = [self.config.channels]
        if not self.causal:
            notes.append(
                "Not causal: each layer also reads the history from its newest event on, so every step has seen later"
                " ones, and only the last step is what the model was trained on. A backward layer shows how much of"
                f" each event that reading holds (times {self.config.beta:g}); after t steps it has read the t newest."
                " It cannot answer event by event. The preset fixed can."
            )
        return tuple(notes)

    def initial_state(self, batch_size: int) -> State:
        self.check_streams()
        return super().initial_state(batch_size)

    def step(
        self, state: State, items: Int[Tensor, " B"], times: Int[Tensor, " B"]
    ) -> tuple[Float[Tensor, "B d"], State]:
        self.check_streams()
        return super().step(state, items, times)
