"""Parts of a language model that can be held still, put in the place of its own.

What multiplies in a decoder besides its attention is its norms and its feed-forward layers: there the activation of a
gate multiplies (Llama), or an activation stands alone (GPT-2). See `recblr.layers.holding`.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recblr.layers.holding import LayerNorm, held, sloped

_ACTIVATIONS = ("act_fn", "act", "activation_fn")
"""Where the models of `transformers` keep the activation of a feed-forward layer."""


class RMSNorm(nn.Module):
    """weight * x / sqrt(mean(x^2) + eps), with a scale that can be held."""

    def __init__(self, weight: nn.Parameter, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = weight, eps

    def forward(self, x: Float[Tensor, "*batch w"]) -> Float[Tensor, "*batch w"]:
        wide = x if x.dtype == torch.float64 else x.float()
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        out: Tensor = self.weight * (wide * held(scale)).to(x.dtype)
        return out


class Gate(nn.Module):
    """The activation of a gated feed-forward layer: its output multiplies, and is held whole."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, x: Float[Tensor, "*batch inner"]) -> Float[Tensor, "*batch inner"]:
        gate: Tensor = held(self.activation(x))
        return gate


class Activation(Gate):
    """An activation that stands alone: held along its chord."""

    def forward(self, x: Float[Tensor, "*batch inner"]) -> Float[Tensor, "*batch inner"]:
        return sloped(self.activation, x)


def make_holdable(model: Any) -> None:
    """Swap norms and activations in place; the names of weights stay. Parts of other kinds are left as they are, and an
    attribution with held gates over them does not add up, which it reports."""
    for part in list(model.modules()):
        for name, child in list(part.named_children()):
            if type(child).__name__.endswith("RMSNorm") and hasattr(child, "variance_epsilon"):
                setattr(part, name, RMSNorm(child.weight, child.variance_epsilon))
            elif type(child) is nn.LayerNorm and child.weight is not None and child.bias is not None:
                setattr(part, name, _layer_norm(child))
            elif name in _ACTIVATIONS and not isinstance(child, Gate):
                setattr(part, name, Gate(child) if hasattr(part, "gate_proj") else Activation(child))


def _layer_norm(norm: nn.LayerNorm) -> LayerNorm:
    own = LayerNorm(norm.normalized_shape, eps=norm.eps, dtype=norm.weight.dtype, device=norm.weight.device)
    own.weight, own.bias = norm.weight, norm.bias
    return own
