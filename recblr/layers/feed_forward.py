"""Position-wise feed-forward sublayer with a post-norm residual: LN(x + Dropout(W2 Dropout(f(W1 x))))."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from recblr.layers.dropout import Dropout
from recblr.layers.holding import LayerNorm, sloped


class FeedForward(nn.Module):
    """d -> 4d -> d; `activation` is f."""

    def __init__(
        self,
        d: int,
        activation: Callable[[Tensor], Tensor],
        dropout: float,
        *,
        inner_dropout: bool = True,
        eps: float = 1e-12,
    ) -> None:
        super().__init__()
        self.widen = nn.Linear(d, 4 * d)
        self.narrow = nn.Linear(4 * d, d)
        self.norm = LayerNorm(d, eps=eps)
        self.activation = activation
        self.dropout = Dropout(dropout)
        self.inner_dropout = Dropout(dropout if inner_dropout else 0.0)

    def forward(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        inner = self.inner_dropout(sloped(self.activation, self.widen(x)))
        out: Tensor = self.norm(x + self.dropout(self.narrow(inner)))
        return out
