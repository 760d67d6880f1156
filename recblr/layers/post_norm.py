"""The layer that the compared backbones share: a mixer over time, then a feed-forward sublayer, each post-norm.

x = LN(x + Dropout(mixer(x)));  x = LN(x + FFN(x)); without `residual` the first is LN(Dropout(mixer(x)))

B batch, T time, d model width
"""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from recblr.layers.dropout import Dropout
from recblr.layers.feed_forward import FeedForward
from recblr.layers.holding import LayerNorm
from recblr.layers.recorder import Record

State = dict[str, Tensor]


class Mixer(nn.Module):
    """What moves information over time: causal, with a state for one step at a time."""

    def forward(self, x: Float[Tensor, "B T d"], record: Record | None = None) -> Float[Tensor, "B T d"]:
        """Fills `record`, where given, with fields of `LayerTrace`."""
        raise NotImplementedError

    def initial_state(self, batch: int) -> State:
        raise NotImplementedError

    def step(self, state: State, x: Float[Tensor, "B d"]) -> tuple[Float[Tensor, "B d"], State]:
        raise NotImplementedError


class PostNormLayer(nn.Module):
    def __init__(
        self,
        mixer: Mixer,
        d: int,
        activation: Callable[[Tensor], Tensor],
        dropout: float,
        *,
        inner_dropout: bool = True,
        eps: float = 1e-12,
        residual: bool = True,
    ) -> None:
        super().__init__()
        self.mixer = mixer
        self.residual = residual
        self.norm = LayerNorm(d, eps=eps)
        self.dropout = Dropout(dropout)
        self.feed_forward = FeedForward(d, activation, dropout, inner_dropout=inner_dropout, eps=eps)

    def _after_mixer(self, x: Tensor, y: Tensor) -> Tensor:
        y = self.dropout(y)
        out: Tensor = self.feed_forward(self.norm(x + y if self.residual else y))
        return out

    def forward(self, x: Float[Tensor, "B T d"], record: Record | None = None) -> Float[Tensor, "B T d"]:
        out = self._after_mixer(x, self.mixer(x, record))
        if record is not None:
            record["out"] = out
        return out

    def step(self, state: State, x: Float[Tensor, "B d"]) -> tuple[Float[Tensor, "B d"], State]:
        y, new = self.mixer.step(state, x)
        return self._after_mixer(x, y), new
