"""Pointwise attention with position and time biases: HSTU's layer.

    B batch, T time of the reader, S time of the source, d model width, H heads, P width of a head, R time buckets

    [u, v, q, k] = SiLU(LN(x) W)                              LN without weights
    a_ts = SiLU(q_t . k_s + w_pos[t - s] + w_time[bucket]) / n_t    for s <= t, else 0; no softmax
    x_t = x_t + W_o Dropout(u_t * LN(sum_s a_ts v_s)) + b

    bucket = min(floor(ln(max(seconds, 1)) / .301), 128)

Source: Zhai et al. 2024, arXiv 2402.17152, equations 1-3, and the research code of generative-recommenders. Of the
published 2 L - 1 position biases the causal mask reaches L; those are kept. Without `biased`, w_pos and w_time are left
out, as in the codes of HLLM and PerSRec, which build but never use them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import silu

from recblr.layers.dropout import Dropout
from recblr.layers.holding import held, normed, sloped
from recblr.layers.post_norm import State
from recblr.layers.recorder import Record

BUCKETS = 128
"""Largest time bucket; there are `BUCKETS` + 1."""
_WIDTH = 0.301
_EPS = 1e-6
EDGES = tuple(math.ceil(math.exp(_WIDTH * bucket)) if bucket else 0 for bucket in range(BUCKETS + 1))
"""Seconds from which on a gap falls into each bucket, whole numbers, so that no rounding of a logarithm decides."""


def time_bucket(seconds: Int[Tensor, "*batch"]) -> Int[Tensor, "*batch"]:
    """floor(ln(max(seconds, 1)) / .301), at most `BUCKETS`, exactly."""
    return torch.bucketize(seconds, torch.tensor(EDGES[1:], device=seconds.device), right=True)


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """What the layers of a stack share: which reader sees which source, how far away in events and in time."""

    visible: Bool[Tensor, "B T S"]
    distance: Int[Tensor, "T S"]
    """Events from source to reader; of pairs that do not see each other, anything in range."""
    bucket: Int[Tensor, "B T S"]
    divisor: Float[Tensor, "B T"]
    """n_t."""


class PointwiseAttention(nn.Module):
    """x [B, T, d] -> x [B, T, d], residual included."""

    def __init__(self, d: int, heads: int, max_len: int, dropout: float, *, biased: bool = True) -> None:
        super().__init__()
        self.heads, self.biased = heads, biased
        self.project_in = nn.Linear(d, 4 * d, bias=False)
        self.project_out = nn.Linear(d, d)
        if biased:
            self.position_bias = nn.Parameter(0.02 * torch.randn(max_len))
            self.time_bias = nn.Parameter(0.02 * torch.randn(BUCKETS + 1))
        self.dropout = Dropout(dropout)
        nn.init.normal_(self.project_in.weight, std=0.02)
        nn.init.xavier_uniform_(self.project_out.weight)

    def _split(self, x: Float[Tensor, "B S d"]) -> Float[Tensor, "B H S P"]:
        return x.view(*x.shape[:-1], self.heads, -1).transpose(1, 2)

    def _project(self, x: Float[Tensor, "B T d"]) -> tuple[Tensor, ...]:
        """u, v, q, k, each [B, T, d]."""
        u, v, q, k = sloped(silu, self.project_in(normed(x, _EPS))).chunk(4, dim=-1)
        return held(u), v, q, k

    def _mixed(
        self,
        q: Float[Tensor, "B T d"],
        k: Float[Tensor, "B S d"],
        v: Float[Tensor, "B S d"],
        pairs: Pairs,
        record: Record | None,
    ) -> Float[Tensor, "B T d"]:
        """LN(sum_s a_ts v_s), the heads side by side."""
        seen = pairs.visible.unsqueeze(1)
        score = content = self._split(q) @ self._split(k).transpose(-1, -2)  # [B, H, T, S]
        parts = {"score_content": content}
        if self.biased:
            position = self.position_bias[pairs.distance]  # [T, S]
            time = self.time_bias.index_select(0, pairs.bucket.flatten()).view(pairs.bucket.shape).unsqueeze(1)
            score = content + position + time
            parts |= {"score_position": position, "score_time": time}
        weights = held(silu(score) * (seen / pairs.divisor[:, None, :, None]))
        offered = self._split(v)
        received = weights @ offered
        if record is not None:
            record.update({name: (part * seen).expand_as(content) for name, part in parts.items()})
            record.update(mix=weights, value_norm=self._value_norm(v), offered=offered, received=received)
        return normed(received.transpose(1, 2).flatten(-2), _EPS)

    def _value_norm(self, v: Float[Tensor, "B S d"]) -> Float[Tensor, "B H S"]:
        """Norm of W_o v, head by head, before the norm and the gate u."""
        weight = self.project_out.weight.view(len(self.project_out.weight), self.heads, -1)  # [d, H, P]
        norm: Tensor = torch.linalg.vector_norm(torch.einsum("bhsp,dhp->bhsd", self._split(v), weight), dim=-1)
        return norm

    def _out(
        self,
        x: Float[Tensor, "B T d"],
        parts: tuple[Tensor, ...],
        pairs: Pairs,
        record: Record | None,
    ) -> Float[Tensor, "B T d"]:
        u, v, q, k = parts
        out: Tensor = x + self.project_out(self.dropout(u * self._mixed(q, k, v, pairs, record)))
        if record is not None:
            record.update(read=u, out=out, **self._curves(len(x)))
        return out

    def _curves(self, rows: int) -> Record:
        if not self.biased:
            return {}
        return {
            "position_curve": self.position_bias.expand(rows, self.heads, -1),
            "time_curve": self.time_bias.expand(rows, self.heads, -1),
            "time_edges": torch.tensor(EDGES, dtype=torch.float64).expand(rows, -1),
        }

    def forward(self, x: Float[Tensor, "B T d"], pairs: Pairs, record: Record | None = None) -> Float[Tensor, "B T d"]:
        return self._out(x, self._project(x), pairs, record)

    def extend(
        self, state: State, x: Float[Tensor, "B T d"], pairs: Pairs, record: Record | None = None
    ) -> tuple[Float[Tensor, "B T d"], State]:
        """Steps after those whose keys and values `state` holds; `pairs` of them and all sources, themselves last."""
        u, v, q, k = self._project(x)
        keys, values = torch.cat([state["keys"], k], dim=1), torch.cat([state["values"], v], dim=1)
        return self._out(x, (u, values, q, keys), pairs, record), {"keys": keys, "values": values}

    def initial_state(self, batch: int) -> State:
        """Keys and values, [B, steps so far, d]: a state that grows."""
        empty = self.project_out.weight.new_zeros(batch, 0, self.project_out.in_features)
        return {"keys": empty, "values": empty}

    def step(self, state: State, x: Float[Tensor, "B d"], pairs: Pairs) -> tuple[Float[Tensor, "B d"], State]:
        """`pairs` of one reader (T = 1) and all sources, its own event last."""
        out, new = self.extend(state, x.unsqueeze(1), pairs)
        return out[:, 0], new
