"""minGRU: a GRU whose gate and candidate read the input alone, so that it is a linear recurrence, in RecBLR's block.

    B batch, T time, d model width, H = expand * d channels of the recurrence

    [u, v] = x W_in;  u = SiLU(conv(u));  [r, c] = u W_g + b_g
    z_t = sigmoid(r_t);  h_t = (1 - z_t) h_{t-1} + z_t candidate(c_t)
    y = W_out(SiLU(v) h);  x = LN(Dropout(y) + x);  x = LN(x + FFN(x))

Source: Feng et al., "Were RNNs All We Needed?", arXiv 2410.01201, section 3.1. The block around it is RecBLR's (Liu et
al., arXiv 2406.12580, section 3.2), so that the two differ in the recurrence alone: RecBLR's own decay of each channel
and its input gate are gone, and what an event writes is exactly what it makes the state forget.

Presets: ``fixed``, the candidate c itself, as in the paper's text. ``positive``, the paper's form for scans in
logarithms (its appendix B): g(c) = c + 1/2 from 0 on and sigmoid(c) below, so that states stay above 0. The scan here
runs in no logarithms, so nothing but the model changes. The paper has no results on recommendation.

Both start with long memories: b_r = -log U(1, max_len - 1), so that a channel forgets after 2 to max_len events (the
chrono initialisation of Tallec and Ollivier, arXiv 1804.11188). From b_r = 0 a state halves with each event, and what
must be held for ten of them is never found: `gate_init` "zero" is that start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import torch
from jaxtyping import Float
from lrscan import gated_scan, gated_step
from torch import Tensor, nn
from torch.nn.functional import relu, silu

from recblr.backbones.base import BackboneConfig, State
from recblr.backbones.stacked import StackedBackbone
from recblr.backbones.tied import normal_init
from recblr.errors import ConfigError
from recblr.layers.conv import CausalConv
from recblr.layers.dropout import Dropout
from recblr.layers.holding import LayerNorm, held, sloped
from recblr.layers.memories import start_with_memories
from recblr.layers.post_norm import Mixer, PostNormLayer
from recblr.layers.recorder import Record


@dataclass(frozen=True, kw_only=True, slots=True)
class MinGRUConfig(BackboneConfig):
    """minGRU's settings; defaults are the preset "fixed"."""

    expand: int = 2
    """Channels of the recurrence as a multiple of d."""
    conv: int = 4
    """Width of the causal convolution."""
    candidate: Literal["linear", "positive"] = "linear"
    """What an event writes: any number, or above 0 as in the paper's form for logarithms."""
    gate_init: Literal["chrono", "zero"] = "chrono"
    """Initial memory: 2 to max_len events, channel by channel, or 2 for all."""

    def __post_init__(self) -> None:
        BackboneConfig.__post_init__(self)
        if self.expand < 1 or self.conv < 1:
            raise ConfigError(f"expand is {self.expand} and conv is {self.conv}: both must be at least 1")
        if self.candidate not in ("linear", "positive"):
            raise ConfigError(f"candidate is {self.candidate!r}: choose linear or positive")
        if self.gate_init not in ("chrono", "zero"):
            raise ConfigError(f"gate_init is {self.gate_init!r}: choose chrono or zero")


def positive(c: Float[Tensor, "*batch H"]) -> Float[Tensor, "*batch H"]:
    """c + 1/2 from 0 on, sigmoid(c) below: continuous, and above 0."""
    return relu(c) + torch.sigmoid(c.clamp(max=0))


class MinGRUMixer(Mixer):
    """x [B, T, d] -> y [B, T, d]."""

    def __init__(self, config: MinGRUConfig) -> None:
        super().__init__()
        d, inner = config.d, config.expand * config.d
        self.project_in = nn.Linear(d, 2 * inner, bias=False)
        self.conv = CausalConv(inner, config.conv)
        self.gates = nn.Linear(inner, 2 * inner)
        self.project_out = nn.Linear(inner, d, bias=False)
        self.candidate = config.candidate

    def _written(self, u: Float[Tensor, "*batch H"]) -> tuple[Float[Tensor, "*batch H"], Float[Tensor, "*batch H"]]:
        """(r, candidate) of what the convolution hands over."""
        r, c = self.gates(sloped(silu, u)).chunk(2, dim=-1)
        return held(r), sloped(positive, c) if self.candidate == "positive" else c

    def forward(self, x: Float[Tensor, "B T d"], record: Record | None = None) -> Float[Tensor, "B T d"]:
        u, v = self.project_in(x).chunk(2, dim=-1)  # [B, T, H] each
        r, candidate = self._written(self.conv(u))
        h = gated_scan(candidate, r, kind="mingru")
        y: Tensor = self.project_out(held(silu(v)) * h)
        if record is not None:
            write = torch.sigmoid(r)
            record.update(
                decay=torch.sigmoid(-r),  # 1 - sigmoid(r), with its digits where r is large
                write=write,
                read=silu(v),
                state=h,
                entered=write * candidate,
                conv=self.conv.weight,
            )
        return y

    def initial_state(self, batch: int) -> State:
        h = self.project_out.weight.new_zeros(batch, self.project_out.in_features)
        return {"h": h, "conv": self.conv.initial_state(batch)}

    def step(self, state: State, x: Float[Tensor, "B d"]) -> tuple[Float[Tensor, "B d"], State]:
        u, v = self.project_in(x).chunk(2, dim=-1)
        u, window = self.conv.step(state["conv"], u)
        r, candidate = self._written(u)
        h = gated_step(state["h"], candidate, r, kind="mingru")
        return self.project_out(silu(v) * h), {"h": h, "conv": window}


class MinGRU(StackedBackbone):
    """See the module docstring."""

    Config = MinGRUConfig
    config: MinGRUConfig
    name = "mingru"
    title = "minGRU"
    paper = "Feng et al. 2024, arXiv 2410.01201"
    recurrent = True
    mixer_name = "minGRU"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "fixed": {"candidate": "linear"},
        "positive": {"candidate": "positive"},
    }

    def __init__(self, config: MinGRUConfig) -> None:
        super().__init__(config, pad_class=False)
        self.norm = LayerNorm(config.d, eps=1e-12)
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList(
            PostNormLayer(MinGRUMixer(config), config.d, silu, config.dropout) for _ in range(config.n_layers)
        )
        normal_init(self)
        if config.gate_init == "chrono":
            for layer in self.layers:
                bias = cast("MinGRUMixer", layer.mixer).gates.bias
                start_with_memories(bias.chunk(2)[0], config.max_len, sign=-1)  # of r
        self.clear_padding_row()

    def enter(self, embeddings: Float[Tensor, "B T d"], first: int = 0) -> Float[Tensor, "B T d"]:
        out: Tensor = self.norm(self.dropout(embeddings))
        return out

    def notes(self) -> tuple[str, ...]:
        notes = ["One gate does both: decay = 1 - write, so an event forgets as much as it writes."]
        if self.config.conv > 1:
            before = self.config.conv - 1
            notes.append(f"Before the recurrence a convolution mixes each event with the {before} before it.")
        return tuple(notes)
