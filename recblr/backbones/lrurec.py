"""LRURec: linear recurrent units with constant complex eigenvalues.

Source: Yue et al., "Linear Recurrent Units for Sequential Recommendation", WSDM 2024, arXiv 2310.02367; the unit is
Orvieto et al., arXiv 2303.06349. H = 2d complex channels.

    lambda = exp(-exp(nu) + i exp(theta));   b_t = exp(gamma) (B x_t + b_B);   h_t = lambda h_{t-1} + b_t
    y_t = Re(C h_t + b_C);   x = LN(Dropout(y) + x);   x = LN(x + Dropout(W2 Dropout(GELU(W1 x))))

Differs from the paper as its public code does: GELU after the first feed-forward layer only. Complex weights are
stored as real pairs, which 16-bit types and safetensors hold everywhere. Histories are right-padded, so the published
mask on states that come from padding has nothing to do; there the last slot of left padding is also trained, to name
the first event, and here nothing is.

Presets: ``reference`` keeps row 0 as a softmax class; ``fixed`` drops it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from lrscan import complex_scan, complex_step
from torch import Tensor, nn
from torch.nn.functional import gelu, linear

from recblr.backbones.base import BackboneConfig, State
from recblr.backbones.stacked import StackedBackbone
from recblr.errors import ConfigError
from recblr.layers.dropout import Dropout
from recblr.layers.holding import LayerNorm
from recblr.layers.post_norm import Mixer, PostNormLayer
from recblr.layers.recorder import Record


@dataclass(frozen=True, kw_only=True, slots=True)
class LRURecConfig(BackboneConfig):
    """LRURec's settings; defaults are the preset "fixed"."""

    r_min: float = 0.8
    """Smallest initial |lambda|."""
    r_max: float = 0.99
    """Largest initial |lambda|."""
    pad_class: bool = False
    """Keep padding as a class of the softmax, as the published code does."""

    def __post_init__(self) -> None:
        BackboneConfig.__post_init__(self)
        if not 0 < self.r_min < self.r_max < 1:
            raise ConfigError(f"r_min is {self.r_min}, r_max is {self.r_max}: wanted 0 < r_min < r_max < 1")


class LRU(Mixer):
    """The mixer: x [B, T, d] -> y [B, T, d]; weights end in an axis of 2 (real, imaginary)."""

    def __init__(self, d: int, r_min: float, r_max: float) -> None:
        super().__init__()
        inner = 2 * d
        modulus_squared = torch.rand(inner) * (r_max**2 - r_min**2) + r_min**2
        self.log_nu = nn.Parameter(torch.log(-0.5 * torch.log(modulus_squared)))
        self.log_theta = nn.Parameter(torch.log(2 * math.pi * torch.rand(inner).clamp(min=1e-6)))
        self.log_gamma = nn.Parameter(0.5 * torch.log1p(-modulus_squared))
        self.B = nn.Parameter(torch.empty(inner, d, 2))
        self.B_bias = nn.Parameter(torch.empty(inner, 2))
        self.C = nn.Parameter(torch.empty(d, inner, 2))
        self.C_bias = nn.Parameter(torch.empty(d, 2))

    def project_in(self, x: Float[Tensor, "*batch d"]) -> Tensor:
        """b_t, complex [*batch, H]: one real matrix product with rows (re, im) interleaved."""
        gamma = torch.exp(self.log_gamma)
        weight = (gamma[:, None, None] * self.B).transpose(1, 2).reshape(-1, x.shape[-1])  # [2H, d]
        bias = (gamma[:, None] * self.B_bias).reshape(-1)
        return torch.view_as_complex(linear(x, weight, bias).view(*x.shape[:-1], -1, 2))

    def project_out(self, h: Tensor) -> Tensor:
        """Re(C h + b_C), real [*batch, d]."""
        sign = self.C.new_tensor([1.0, -1.0])
        weight = (self.C * sign).flatten(1)  # [d, 2H]
        return linear(torch.view_as_real(h).flatten(-2), weight, self.C_bias[:, 0])

    def forward(self, x: Float[Tensor, "B T d"], record: Record | None = None) -> Float[Tensor, "B T d"]:
        b = self.project_in(x)
        h = complex_scan(b, self.log_nu, torch.exp(self.log_theta))
        if record is not None:
            modulus = torch.exp(-torch.exp(self.log_nu))
            record.update(
                decay=modulus.expand_as(h.real),
                write=torch.exp(self.log_gamma).expand_as(h.real),
                state=h,
                entered=b,
                phase=torch.remainder(torch.exp(self.log_theta), 2 * math.pi),
            )
        return self.project_out(h)

    def initial_state(self, batch: int) -> State:
        """Complex numbers as [B, H, 2]."""
        return {"h": self.B.new_zeros(batch, len(self.log_nu), 2)}

    def step(self, state: State, x: Float[Tensor, "B d"]) -> tuple[Float[Tensor, "B d"], State]:
        b = torch.view_as_real(self.project_in(x))
        h = complex_step(state["h"], b, self.log_nu, torch.exp(self.log_theta))
        return self.project_out(torch.view_as_complex(h)), {"h": h}


class LRURec(StackedBackbone):
    """See the module docstring."""

    Config = LRURecConfig
    config: LRURecConfig
    name = "lrurec"
    title = "LRURec"
    paper = "Yue et al. 2024, arXiv 2310.02367"
    recurrent = True
    mixer_name = "LRU"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "fixed": {"pad_class": False},
        "reference": {"pad_class": True},
    }

    def __init__(self, config: LRURecConfig) -> None:
        super().__init__(config, pad_class=config.pad_class, item_bias=True)
        self.norm = LayerNorm(config.d)
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList(
            PostNormLayer(LRU(config.d, config.r_min, config.r_max), config.d, gelu, config.dropout, eps=1e-5)
            for _ in range(config.n_layers)
        )
        for parameter_name, parameter in self.named_parameters():
            if "norm" not in parameter_name and "mixer.log_" not in parameter_name:
                nn.init.trunc_normal_(parameter, std=0.02, a=-0.04, b=0.04)
        self.clear_padding_row()

    def enter(self, embeddings: Float[Tensor, "B T d"], first: int = 0) -> Float[Tensor, "B T d"]:
        out: Tensor = self.norm(self.dropout(embeddings))
        return out

    def notes(self) -> tuple[str, ...]:
        return ("The decay is the same at every step: an LRU forgets by position, not by content.",)
