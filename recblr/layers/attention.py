"""Causal multi-head softmax attention.

B batch, T time, S time of the keys, d model width, H heads, P width of a head
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from recblr.layers.holding import held, is_holding
from recblr.layers.post_norm import Mixer, State
from recblr.layers.recorder import Record


class CausalAttention(Mixer):
    """x [B, T, d] -> [B, T, d]. Padding follows the real events, so the causal mask alone hides it from them."""

    def __init__(self, d: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d)
        self.project_out = nn.Linear(d, d)
        self.dropout = dropout

    def _split(self, x: Float[Tensor, "B T d"]) -> Float[Tensor, "B H T P"]:
        return x.view(*x.shape[:-1], self.heads, -1).transpose(1, 2)

    def _merge(self, mixed: Float[Tensor, "B H T P"]) -> Float[Tensor, "B T d"]:
        out: Tensor = self.project_out(mixed.transpose(1, 2).flatten(-2))
        return out

    def forward(self, x: Float[Tensor, "B T d"], record: Record | None = None) -> Float[Tensor, "B T d"]:
        q, k, v = self._split(self.query(x)), self._split(self.key(x)), self._split(self.value(x))
        if is_holding():
            mixed = held(self.weights(q, k)) @ v
        else:
            dropout = self.dropout if self.training else 0.0
            mixed = scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)
        if record is not None:
            record["mix"] = self.weights(q, k)
            record.update(value_norm=self.value_norm(v), offered=v, received=mixed)
        return self._merge(mixed)

    def extend(
        self, state: State, x: Float[Tensor, "B T d"], visible: Bool[Tensor, "T S"], record: Record | None = None
    ) -> tuple[Float[Tensor, "B T d"], State]:
        """Steps after those whose keys and values `state` holds; `visible` says who sees whom, the new steps last."""
        keys = torch.cat([state["keys"], self.key(x)], dim=1)
        values = torch.cat([state["values"], self.value(x)], dim=1)
        q, k, v = self._split(self.query(x)), self._split(keys), self._split(values)
        if is_holding():
            mixed = held(self.weights(q, k, visible)) @ v
        else:
            dropout = self.dropout if self.training else 0.0
            mixed = scaled_dot_product_attention(q, k, v, attn_mask=visible, dropout_p=dropout)
        if record is not None:
            record["mix"] = self.weights(q, k, visible)
            record.update(value_norm=self.value_norm(v), offered=v, received=mixed)
        return self._merge(mixed), {"keys": keys, "values": values}

    def weights(
        self, q: Float[Tensor, "B H T P"], k: Float[Tensor, "B H S P"], visible: Bool[Tensor, "T S"] | None = None
    ) -> Float[Tensor, "B H T S"]:
        """Attention weights, target step first; rows sum to 1. Without `visible`, a step sees those up to itself."""
        if visible is None:
            visible = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).tril()
        logits = (q @ k.transpose(-1, -2)) / math.sqrt(q.shape[-1])
        return torch.softmax(logits.masked_fill(~visible, -torch.inf), dim=-1)

    def value_norm(self, v: Float[Tensor, "B H T P"]) -> Float[Tensor, "B H T"]:
        """Norm of W_out v, head by head: what a source step offers to the residual stream."""
        weight = self.project_out.weight.view(-1, self.heads, v.shape[-1])  # [d, H, P]
        norm: Tensor = torch.linalg.vector_norm(torch.einsum("bhtp,dhp->bhtd", v, weight), dim=-1)
        return norm

    def initial_state(self, batch: int) -> State:
        """Keys and values, [B, steps so far, d]: a state that grows."""
        empty = self.query.weight.new_zeros(batch, 0, self.query.in_features)
        return {"keys": empty, "values": empty}

    def step(self, state: State, x: Float[Tensor, "B d"]) -> tuple[Float[Tensor, "B d"], State]:
        one = x.unsqueeze(1)
        keys = torch.cat([state["keys"], self.key(one)], dim=1)
        values = torch.cat([state["values"], self.value(one)], dim=1)
        mixed = scaled_dot_product_attention(self._split(self.query(one)), self._split(keys), self._split(values))
        return self._merge(mixed)[:, 0], {"keys": keys, "values": values}
