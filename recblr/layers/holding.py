"""Holding a model still: inside `holding`, what a model multiplies by is a constant, so that it is affine in its input.

    gate g, attention weight a     g(x) y        ->  held(g) y
    norm                           x / s(x)      ->  x / held(s)
    activation f                   f(x)          ->  f(0) + x held((f(x) - f(0)) / x), the slope of the chord

The values are unchanged; only what they are a function of is. The gradient of an output is then the exact share of
each input. `replaying` runs another input with the gates, norms and slopes of such a pass: an input of zeros gives what
the constants (biases, positions) add.

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

from recblr.errors import RecblrError

Constants = list[Tensor]
"""What a pass multiplied by, in the order in which it did."""


class _Pass:
    """One run of a model inside `holding` or `replaying`."""

    def __init__(self, constants: Constants, *, again: bool) -> None:
        self.constants, self.again, self.place = constants, again, 0

    def held(self, gate: Callable[[], Tensor]) -> Tensor:
        """The next constant: computed, or that of the pass before."""
        if not self.again:
            self.constants.append(gate().detach())
        elif self.place == len(self.constants):
            raise RecblrError("a model that is run with the gates of a pass before asks for more of them than it had")
        self.place += 1
        return self.constants[self.place - 1]


_pass: ContextVar[_Pass | None] = ContextVar("recblr_held_pass", default=None)
_SLOPE_AT_ZERO = 0.5
"""Where an activation is given exactly 0 the chord has no slope; any will do, and this is that of SiLU and GELU."""


@contextmanager
def holding() -> Iterator[Constants]:
    """Hold what the model computes in this block; gives the constants, which fill as it runs."""
    constants: Constants = []
    token = _pass.set(_Pass(constants, again=False))
    try:
        yield constants
    finally:
        _pass.reset(token)


@contextmanager
def replaying(constants: Constants) -> Iterator[None]:
    """Run the model on other embeddings, of the same shape, with the constants of one whole pass before.

    Inside, a pass that asks for more constants than there are raises RecblrError.
    """
    token = _pass.set(_Pass(constants, again=True))
    try:
        yield
    finally:
        _pass.reset(token)


def is_holding() -> bool:
    """Whether this thread is inside `holding` or `replaying`."""
    return _pass.get() is not None


def held(gate: Tensor) -> Tensor:
    """gate: itself, or inside `holding` a constant."""
    return _held(lambda: gate)


def _held(gate: Callable[[], Tensor]) -> Tensor:
    """The same of a gate that need not be computed where it is known."""
    now = _pass.get()
    return gate() if now is None else now.held(gate)


@torch.no_grad()
def chord(activation: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Slope of the chord of `activation` from 0 to x, elementwise."""
    return torch.where(x == 0, _SLOPE_AT_ZERO, (activation(x) - activation(x.new_zeros(1))) / x)


def sloped(activation: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """activation(x), elementwise; inside `holding` along the chord from 0 to x."""
    if not is_holding():
        return activation(x)
    return activation(x.new_zeros(1)) + x * _held(lambda: chord(activation, x))


def normed(x: Float[Tensor, "B *batch d"], eps: float) -> Float[Tensor, "B *batch d"]:
    """Layer norm without weights; inside `holding` its scale is held and its centring, which is linear, is not."""
    if not is_holding():
        return layer_norm(x, x.shape[-1:], eps=eps)
    centred = x - x.mean(-1, keepdim=True)
    return centred * _held(lambda: torch.rsqrt(centred.square().mean(-1, keepdim=True) + eps))


def unit_length(x: Float[Tensor, "B *batch d"], eps: float) -> Float[Tensor, "B *batch d"]:
    """x / |x|; inside `holding` the length is held."""
    if not is_holding():
        return normalize(x, dim=-1, eps=eps)
    return x / _held(lambda: torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp(min=eps))


class LayerNorm(nn.LayerNorm):
    """torch's, whose scale can be held."""

    def forward(self, input: Tensor) -> Tensor:
        if not is_holding():
            return super().forward(input)
        return normed(input, self.eps) * self.weight + self.bias
