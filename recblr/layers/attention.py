"""Causal multi-head softmax attention.

B batch, T time, S time of the keys, d model width, H heads, P width of a head
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from recblr.layers.recorder import Record


class CausalAttention(nn.Module):
    """x [B, T, d] -> [B, T, d]. Padding follows the real events, so the causal mask alone hides it from them."""

    def __init__(self, d: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d)
        self.project_out = nn.Linear(d, d)
        self.dropout = dropout

    def _split(self, x: Float[Tensor, "B T d"]) -> Float[Tensor, "B H T P"]:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, x: Float[Tensor, "B T d"], record: Record | None = None) -> Float[Tensor, "B T d"]:
        q, k, v = self._split(self.query(x)), self._split(self.key(x)), self._split(self.value(x))
        mixed = scaled_dot_product_attention(q, k, v, dropout_p=self.dropout if self.training else 0.0, is_causal=True)
        if record is not None:
            record["mix"] = self.weights(q, k)
            record["value_norm"] = self.value_norm(v)
        out: Tensor = self.project_out(mixed.transpose(1, 2).flatten(-2))
        return out

    def weights(self, q: Float[Tensor, "B H T P"], k: Float[Tensor, "B H T P"]) -> Float[Tensor, "B H T T"]:
        """Attention weights, target step first; rows sum to 1."""
        future = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).triu(1)
        logits = (q @ k.transpose(-1, -2)) / math.sqrt(q.shape[-1])
        return logits.masked_fill(future, -torch.inf).softmax(-1)

    def value_norm(self, v: Float[Tensor, "B H T P"]) -> Float[Tensor, "B H T"]:
        """Norm of W_out v, head by head: what a source step offers to the residual stream."""
        weight = self.project_out.weight.unflatten(1, (self.heads, -1))  # [d, H, P]
        return torch.einsum("bhtp,dhp->bhtd", v, weight).norm(dim=-1)

    def step(
        self, x: Float[Tensor, "B d"], keys: Float[Tensor, "B S d"], values: Float[Tensor, "B S d"]
    ) -> tuple[Float[Tensor, "B d"], Tensor, Tensor]:
        """One event over the cached keys and values: (out, keys, values), the caches one step longer."""
        one = x.unsqueeze(1)
        keys, values = torch.cat([keys, self.key(one)], dim=1), torch.cat([values, self.value(one)], dim=1)
        q, k, v = self._split(self.query(one)), self._split(keys), self._split(values)
        mixed = scaled_dot_product_attention(q, k, v)
        return self.project_out(mixed.transpose(1, 2).flatten(-2))[:, 0], keys, values
