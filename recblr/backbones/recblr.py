"""RecBLR: behaviour-dependent linear recurrent units in a gated two-branch block.

Source: Liu et al., "Behavior-Dependent Linear Recurrent Units for Efficient Sequential Recommendation",
arXiv 2406.12580, sections 3.2 to 3.4. Letters as in the paper: u, z the two branches; r, i the recurrence and input
gate; Lambda the learnt decay; H = expand * d channels of the recurrence.

    [u, z] = x W_in;  u = SiLU(conv(u));  [r, i] = u W_g + b_g
    a_t = exp(-softplus(Lambda) sigmoid(r_t));  h_t = a_t h_{t-1} + sqrt(1 - a_t^2) sigmoid(i_t) u_t
    y = W_out(SiLU(z) h);  x = LN(Dropout(y) + x);  x = LN(x + FFN(x))

Presets: ``reference`` follows the published code where it differs from the paper. It left-pads *before* convolution
and gates up to a power of two, so a state other than zero meets the first event (`warm_up`); Lambda is spaced
linearly, which makes the median decay .9896 instead of .9495; 1e-8 stands under the root; row 0 is a softmax class.
``fixed`` starts from zero, draws the decay uniformly as the paper says, and drops the padding class.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from lrscan import gated_scan, gated_step
from lrscan.gates import bdlru
from torch import Tensor, nn
from torch.nn.functional import silu

from recblr.backbones.base import BackboneConfig, State
from recblr.backbones.stacked import StackedBackbone
from recblr.backbones.tied import normal_init
from recblr.errors import ConfigError
from recblr.layers.conv import CausalConv
from recblr.layers.dropout import Dropout
from recblr.layers.holding import LayerNorm, held, sloped
from recblr.layers.post_norm import Mixer, PostNormLayer
from recblr.layers.recorder import Record


@dataclass(frozen=True, kw_only=True, slots=True)
class RecBLRConfig(BackboneConfig):
    """RecBLR's settings; defaults are the preset "fixed"."""

    expand: int = 2
    """Channels of the recurrence as a multiple of d."""
    conv: int = 4
    """Width of the causal convolution."""
    decay_init: Literal["uniform", "linspace"] = "uniform"
    """Initial decay: uniform in [.9, .999] (the paper) or Lambda linearly spaced between the ends (the code)."""
    warm_up: bool = False
    """Start from the state that the published code's left padding leaves behind."""
    eps: float = 0.0
    """Added under the root of the write strength; 1e-8 in the published code."""
    pad_class: bool = False
    """Keep padding as a class of the softmax, as the published code does."""

    def __post_init__(self) -> None:
        BackboneConfig.__post_init__(self)
        if self.expand < 1 or self.conv < 1:
            raise ConfigError(f"expand is {self.expand} and conv is {self.conv}: both must be at least 1")
        if self.decay_init not in ("uniform", "linspace"):
            raise ConfigError(f"decay_init is {self.decay_init!r}: choose uniform or linspace")


def initial_lambda(channels: int, how: str) -> Float[Tensor, " H"]:
    """Lambda such that exp(-softplus(Lambda)) lies in [.9, .999]."""
    if how == "uniform":
        decay = torch.empty(channels).uniform_(0.9, 0.999)
        return torch.log(torch.expm1(-torch.log(decay)))
    ends = [math.log(math.expm1(-math.log(decay))) for decay in (0.9, 0.999)]
    return torch.linspace(ends[0], ends[1], channels)


class BDLRU(Mixer):
    """The mixer: x [B, T, d] -> y [B, T, d]."""

    def __init__(self, config: RecBLRConfig) -> None:
        super().__init__()
        d, inner = config.d, config.expand * config.d
        self.project_in = nn.Linear(d, 2 * inner, bias=False)
        self.conv = CausalConv(inner, config.conv)
        self.gates = nn.Linear(inner, 2 * inner)
        self.lam = nn.Parameter(initial_lambda(inner, config.decay_init))
        self.project_out = nn.Linear(inner, d, bias=False)
        self.eps = config.eps
        padded = 1 << max(config.max_len - 1, 0).bit_length()
        self.pads = padded - config.max_len if config.warm_up else 0

    def warm_state(self, batch: int) -> Float[Tensor, "B H"] | None:
        """The state after the published code's left padding: `pads` steps of a constant input SiLU(conv bias).

        The convolution sees only zeros there, and zeros to the left of the first event in either case.
        """
        if self.pads == 0:
            return None
        u = silu(self.conv.bias).expand(1, self.pads, -1)  # [1, pads, H]
        r, i = self.gates(u).chunk(2, dim=-1)
        state: Tensor = gated_scan(u, r, i, self.lam, eps=self.eps, return_state=True)[1]
        return state.expand(batch, -1)

    def forward(self, x: Float[Tensor, "B T d"], record: Record | None = None) -> Float[Tensor, "B T d"]:
        u, z = self.project_in(x).chunk(2, dim=-1)  # [B, T, H] each
        u = sloped(silu, self.conv(u))
        r, i = held(self.gates(u)).chunk(2, dim=-1)
        h = gated_scan(u, r, i, self.lam, self.warm_state(len(x)), eps=self.eps)
        y: Tensor = self.project_out(held(silu(z)) * h)
        if record is not None:
            gates = bdlru(r, i, self.lam, 1.0, self.eps)
            record.update(
                decay=gates.decay,
                write=gates.write,
                input_gate=gates.input_gate,
                read=silu(z),
                state=h,
                entered=gates.write * u,
                conv=self.conv.weight,
            )
        return y

    def initial_state(self, batch: int) -> State:
        warm = self.warm_state(batch)
        h = self.lam.new_zeros(batch, len(self.lam)) if warm is None else warm
        return {"h": h, "conv": self.conv.initial_state(batch)}

    def step(self, state: State, x: Float[Tensor, "B d"]) -> tuple[Float[Tensor, "B d"], State]:
        u, z = self.project_in(x).chunk(2, dim=-1)
        u, window = self.conv.step(state["conv"], u)
        u = silu(u)
        r, i = self.gates(u).chunk(2, dim=-1)
        h = gated_step(state["h"], u, r, i, self.lam, eps=self.eps)
        return self.project_out(silu(z) * h), {"h": h, "conv": window}


class RecBLR(StackedBackbone):
    """See the module docstring."""

    Config = RecBLRConfig
    config: RecBLRConfig
    name = "recblr"
    title = "RecBLR"
    paper = "Liu et al. 2024, arXiv 2406.12580"
    recurrent = True
    mixer_name = "BD-LRU"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "fixed": {"decay_init": "uniform", "warm_up": False, "eps": 0.0, "pad_class": False},
        "reference": {"decay_init": "linspace", "warm_up": True, "eps": 1e-8, "pad_class": True},
    }

    def __init__(self, config: RecBLRConfig) -> None:
        super().__init__(config, pad_class=config.pad_class)
        self.norm = LayerNorm(config.d, eps=1e-12)
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList(
            PostNormLayer(BDLRU(config), config.d, silu, config.dropout) for _ in range(config.n_layers)
        )
        normal_init(self)
        self.clear_padding_row()

    def enter(self, embeddings: Float[Tensor, "B T d"], first: int = 0) -> Float[Tensor, "B T d"]:
        out: Tensor = self.norm(self.dropout(embeddings))
        return out

    def notes(self) -> tuple[str, ...]:
        notes = []
        if self.config.conv > 1:
            before = self.config.conv - 1
            notes.append(f"Before the recurrence a convolution mixes each event with the {before} before it.")
        if self.config.warm_up:
            notes.append("Starts from the state that the published code's padding leaves behind.")
        return tuple(notes)
