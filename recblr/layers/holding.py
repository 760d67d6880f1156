"""Holding a model still: inside `holding`, what a model multiplies by is a constant, so that it is affine in its input.

    gate g, attention weight a     g(x) y        ->  held(g) y
    norm                           x / s(x)      ->  x / held(s)
    activation f                   f(x)          ->  f(0) + x held((f(x) - f(0)) / x), the slope of the chord

The values are unchanged; only what they are a function of is. The gradient of an output is then the exact share of
each input, and the output of an input of zeros is what the constants (biases, positions) add.

Rows. The first `rows` rows of a batch are themselves; each further block of as many rows is run with the gates, norms
and slopes of the first: with embeddings of zeros there, it gives what the constants add, in the same pass.

The switch is a context variable: it holds in one thread and one call, and touches neither weights nor modules. Layers
and backbones call `held`, `sloped`, `LayerNorm`, `normed` and `unit_length` where they would multiply, activate and
norm; without the switch these are the plain operations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import layer_norm, normalize

_rows: ContextVar[int] = ContextVar("recblr_held_rows", default=0)
_SLOPE_AT_ZERO = 0.5
"""Where an activation is given exactly 0 the chord has no slope; any will do, and this is that of SiLU and GELU."""


@contextmanager
def holding(rows: int) -> Iterator[None]:
    """Hold what the first `rows` rows of each batch compute; batches have a multiple of `rows` rows."""
    token = _rows.set(rows)
    try:
        yield
    finally:
        _rows.reset(token)


def is_holding() -> bool:
    """Whether this thread is inside `holding`."""
    return _rows.get() > 0


def held(gate: Tensor) -> Tensor:
    """gate [B, ...]: itself, or inside `holding` the constant that it is in the first rows."""
    rows = _rows.get()
    if rows == 0:
        return gate
    first = gate[:rows].detach()
    return first if len(gate) == rows else first.repeat(len(gate) // rows, *[1] * (gate.dim() - 1))


@torch.no_grad()
def chord(activation: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Slope of the chord of `activation` from 0 to x, elementwise."""
    return torch.where(x == 0, _SLOPE_AT_ZERO, (activation(x) - activation(x.new_zeros(1))) / x)


def sloped(activation: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """activation(x), x [B, ...], elementwise; inside `holding` along the chord from 0 to x."""
    if not is_holding():
        return activation(x)
    return activation(x.new_zeros(1)) + x * held(chord(activation, x))


def normed(x: Float[Tensor, "B *batch d"], eps: float) -> Float[Tensor, "B *batch d"]:
    """Layer norm without weights; inside `holding` its scale is held and its centring, which is linear, is not."""
    if not is_holding():
        return layer_norm(x, x.shape[-1:], eps=eps)
    centred = x - x.mean(-1, keepdim=True)
    return centred * held(torch.rsqrt(centred.square().mean(-1, keepdim=True) + eps))


def unit_length(x: Float[Tensor, "B *batch d"], eps: float) -> Float[Tensor, "B *batch d"]:
    """x / |x|; inside `holding` the length is held."""
    if not is_holding():
        return normalize(x, dim=-1, eps=eps)
    return x / held(torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp(min=eps))


class LayerNorm(nn.LayerNorm):
    """torch's, whose scale can be held."""

    def forward(self, input: Tensor) -> Tensor:
        if not is_holding():
            return super().forward(input)
        return normed(input, self.eps) * self.weight + self.bias
