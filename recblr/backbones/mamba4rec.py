"""Mamba4Rec: a selective state space in place of attention.

    B batch, T time, d model width, D = expand * d channels, N numbers a channel, R = ceil(d / 16)

    [u, z] = x W_in;  u = SiLU(conv(u));  [p, B, C] = u W_x;  Delta = softplus(p W_dt + b_dt);  A = -exp(A_log)
    h_t = exp(Delta_t A) h_{t-1} + Delta_t u_t B_t;  y_t = h_t C_t + D u_t;  out = W_out(y SiLU(z))
    x = LN(Dropout(E[v]));  x = LN(Dropout(out) + x);  x = LN(x + FFN(x))

Source: Liu et al., "Mamba4Rec", arXiv 2403.03900, its published code, and Gu and Dao, "Mamba", arXiv 2312.00752.

Presets. ``reference`` follows the published code. Its initialiser writes over W_dt and b_dt, so that Delta starts at
softplus(0) = .69 and number n of a channel at a half-life of 1/n steps; a model of one layer (the published default)
has no residual around the mixer; row 0 is a softmax class. ``fixed`` keeps Mamba's own start, Delta log-uniform in
[.001, .1], half-lives of 7 to 693 steps at n = 1, and the residual of a single layer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from lrscan import selective_scan, selective_step
from torch import Tensor, nn
from torch.nn.functional import gelu, silu, softplus

from recblr.backbones.base import BackboneConfig, State
from recblr.backbones.stacked import StackedBackbone
from recblr.backbones.tied import normal_init
from recblr.errors import ConfigError
from recblr.layers.conv import CausalConv
from recblr.layers.dropout import Dropout
from recblr.layers.holding import LayerNorm, held, sloped
from recblr.layers.post_norm import Mixer, PostNormLayer
from recblr.layers.recorder import Record
from recblr.layers.state_space import initial_step_bias, state_record


@dataclass(frozen=True, kw_only=True, slots=True)
class Mamba4RecConfig(BackboneConfig):
    """Mamba4Rec's settings; defaults are the preset "fixed"."""

    expand: int = 2
    """Channels of the state space as a multiple of d."""
    state: int = 32
    """Numbers that each channel holds."""
    conv: int = 4
    """Width of the causal convolution."""
    dt_init: Literal["native", "overwritten"] = "native"
    """Initial step size: Mamba's own (long memory), or as the published code's initialiser leaves it (half-lives of a
    step and less)."""
    single_residual: bool = True
    """Keep the residual where there is a single layer; the published code drops it."""
    pad_class: bool = False
    """Keep padding as a class of the softmax, as the published code does."""

    def __post_init__(self) -> None:
        BackboneConfig.__post_init__(self)
        for name in ("expand", "state", "conv"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: it must be at least 1")
        if self.dt_init not in ("native", "overwritten"):
            raise ConfigError(f"dt_init is {self.dt_init!r}: choose native or overwritten")


class SelectiveSSM(Mixer):
    """The mixer: x [B, T, d] -> y [B, T, d]."""

    def __init__(self, config: Mamba4RecConfig) -> None:
        super().__init__()
        d, inner, self.n_states = config.d, config.expand * config.d, config.state
        self.rank = math.ceil(d / 16)
        self.project_in = nn.Linear(d, 2 * inner, bias=False)
        self.conv = CausalConv(inner, config.conv)
        self.select = nn.Linear(inner, self.rank + 2 * self.n_states, bias=False)
        self.step_size = nn.Linear(self.rank, inner)
        self.A_log = nn.Parameter(torch.log(torch.arange(1.0, self.n_states + 1)).repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.project_out = nn.Linear(inner, d, bias=False)

    @torch.no_grad()
    def start_natively(self) -> None:
        """Mamba's own step sizes, after an initialiser wrote over them."""
        bound = self.rank**-0.5
        self.step_size.weight.uniform_(-bound, bound)
        self.step_size.bias.copy_(initial_step_bias(len(self.D)))

    def _selected(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Delta [..., D], B and C [..., N] of what the convolution gave out."""
        low, b, c = self.select(u).split([self.rank, self.n_states, self.n_states], dim=-1)
        return softplus(self.step_size(low)), b, c

    def forward(self, x: Float[Tensor, "B T d"], record: Record | None = None) -> Float[Tensor, "B T d"]:
        u, z = self.project_in(x).chunk(2, dim=-1)  # [B, T, D] each
        u = sloped(silu, self.conv(u))
        delta, b, c = self._selected(held(u))
        a = -torch.exp(self.A_log)  # [D, N]
        received = selective_scan(u, delta, a, b, c, self.D).transpose(1, 2).unsqueeze(-1)  # [B, D, T, 1]
        if record is not None:
            offered = u.transpose(1, 2).unsqueeze(-1)
            record.update(offered=offered, received=received, skipped=self.D[:, None, None] * offered)
            record.update(
                state_record(  # D heads of one channel, which share B and C
                    decay=torch.exp(delta.unsqueeze(-1) * a).unsqueeze(-2),
                    delta=delta,
                    values=u.unsqueeze(-1),
                    keys=b.unsqueeze(-2),
                    gate=silu(z).unsqueeze(-1),
                    queries=c.unsqueeze(-2),
                ),
                conv=self.conv.weight,
            )
        y = received.squeeze(-1).transpose(1, 2)
        out: Tensor = self.project_out(y * held(silu(z)))
        return out

    def initial_state(self, batch: int) -> State:
        """h [B, D * N] and the convolution's last inputs."""
        return {"h": self.D.new_zeros(batch, self.A_log.numel()), "conv": self.conv.initial_state(batch)}

    def step(self, state: State, x: Float[Tensor, "B d"]) -> tuple[Float[Tensor, "B d"], State]:
        u, z = self.project_in(x).chunk(2, dim=-1)
        u, window = self.conv.step(state["conv"], u)
        u = silu(u)
        delta, b, c = self._selected(u)
        h = state["h"].view(-1, *self.A_log.shape)
        y, h = selective_step(h, u, delta, -torch.exp(self.A_log), b, c, self.D)
        return self.project_out(y * silu(z)), {"h": h.flatten(1), "conv": window}


class Mamba4Rec(StackedBackbone):
    """See the module docstring."""

    Config = Mamba4RecConfig
    config: Mamba4RecConfig
    name = "mamba4rec"
    title = "Mamba4Rec"
    paper = "Liu et al. 2024, arXiv 2403.03900"
    recurrent = True
    mixer_name = "selective SSM"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "fixed": {"dt_init": "native", "single_residual": True, "pad_class": False},
        "reference": {"dt_init": "overwritten", "single_residual": False, "pad_class": True},
    }

    def __init__(self, config: Mamba4RecConfig) -> None:
        super().__init__(config, pad_class=config.pad_class)
        self.norm = LayerNorm(config.d, eps=1e-12)
        self.dropout = Dropout(config.dropout)
        residual = config.n_layers > 1 or config.single_residual
        mixers = [SelectiveSSM(config) for _ in range(config.n_layers)]
        self.layers = nn.ModuleList(
            PostNormLayer(mixer, config.d, gelu, config.dropout, residual=residual) for mixer in mixers
        )
        normal_init(self)
        if config.dt_init == "native":
            for mixer in mixers:
                mixer.start_natively()
        self.clear_padding_row()

    def enter(self, embeddings: Float[Tensor, "B T d"], first: int = 0) -> Float[Tensor, "B T d"]:
        out: Tensor = self.norm(self.dropout(embeddings))
        return out

    def notes(self) -> tuple[str, ...]:
        numbers = self.config.state
        notes = [
            f"Channels {numbers} c to {numbers} c + {numbers - 1} are the {numbers} numbers of channel c of the mixer;"
            " write and step size are the same number, Delta; the read gate is C times SiLU(z)."
        ]
        if self.config.conv > 1:
            notes.append(
                f"Before the recurrence a convolution mixes each event with the {self.config.conv - 1} before it."
            )
        return tuple(notes)
