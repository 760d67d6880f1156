"""Softmax attention whose keys and values know places and time intervals: TiSASRec's layer.

    B batch, T time of the reader, S time of the source, d model width, H heads, P width of a head,
    L places, R time intervals

    score_ts = q_t . (k_s + PK[place_s] + TK[interval_ts]) / sqrt(P)
    out_t    = sum_s a_ts (v_s + PV[place_s] + TV[interval_ts]),  a = softmax over the sources that t sees

No table is spread over pairs: q TK^T is [B, H, T, R] and its entries are looked up, and for the values the weights of
each interval are summed first. The spread tables would take B T^2 d numbers, 1 GB for 128 users of 200 events.

Source: Li, Wang and McAuley, "Time Interval Aware Self-Attention for Sequential Recommendation", WSDM 2020,
doi 10.1145/3336191.3371786, equations 5-8. Differs from the public code in dropout: on the tables, not on their copies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from recblr.layers.dropout import Dropout
from recblr.layers.holding import LayerNorm, held, sloped
from recblr.layers.post_norm import State
from recblr.layers.recorder import Record


@dataclass(frozen=True, kw_only=True)
class Relations:
    """What the layers of a stack share."""

    visible: Bool[Tensor, "B T S"]
    interval: Int[Tensor, "B T S"]
    """Row of the time tables for each pair."""
    place_keys: Float[Tensor, "S d"]
    place_values: Float[Tensor, "S d"]
    time_keys: Float[Tensor, "R d"]
    time_values: Float[Tensor, "R d"]


class IntervalAttention(nn.Module):
    """Readers [B, T, d], sources [B, S, d] -> [B, T, d]; there is no output projection."""

    def __init__(self, d: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d)
        self.dropout = Dropout(dropout)

    def _split(self, x: Float[Tensor, "*B S d"]) -> Float[Tensor, "*B H S P"]:
        return x.view(*x.shape[:-1], self.heads, -1).transpose(-3, -2)

    def forward(
        self,
        readers: Float[Tensor, "B T d"],
        sources: Float[Tensor, "B S d"],
        relations: Relations,
        record: Record | None = None,
    ) -> Float[Tensor, "B T d"]:
        return self._attend(self.query(readers), self.key(sources), self.value(sources), relations, record)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, relations: Relations, record: Record | None = None) -> Tensor:
        """q [B, T, d], k and v [B, S, d] -> [B, T, d]."""
        q, k, v = self._split(q) / math.sqrt(q.shape[-1] // self.heads), self._split(k), self._split(v)
        seen = relations.visible.unsqueeze(1)  # [B, 1, T, S]
        interval = relations.interval.unsqueeze(1).expand(-1, self.heads, -1, -1)  # [B, H, T, S]
        profile = q @ self._split(relations.time_keys).transpose(-1, -2)  # [B, H, T, R]
        content = q @ k.transpose(-1, -2)
        place = q @ self._split(relations.place_keys).transpose(-1, -2)
        time = profile.gather(-1, interval)
        score = (content + place + time).masked_fill(~seen, torch.finfo(q.dtype).min)
        weights = held(torch.softmax(score, dim=-1))
        kept, offered = self.dropout(weights), v + self._split(relations.place_values)
        received = kept @ offered
        if record is not None:
            parts = {"score_content": content, "score_position": place, "score_time": time}
            record.update({name: part * seen for name, part in parts.items()})
            record.update(mix=weights, value_norm=torch.linalg.vector_norm(offered, dim=-1), profile=profile)
            record.update(offered=offered, received=received)
        by_interval = torch.zeros_like(profile, dtype=kept.dtype).scatter_add(-1, interval, kept)  # [B, H, T, R]
        mixed: Tensor = received + by_interval @ self._split(relations.time_values)
        return mixed.transpose(1, 2).flatten(-2)

    def initial_state(self, batch: int) -> State:
        """Keys and values, [B, steps so far, d]: a state that grows."""
        empty = self.query.weight.new_zeros(batch, 0, self.query.in_features)
        return {"keys": empty, "values": empty}

    def step(self, state: State, reader: Tensor, source: Tensor, relations: Relations) -> tuple[Tensor, State]:
        """Reader and source [B, d] of one event; `relations` of that one reader (T = 1) and all sources."""
        keys = torch.cat([state["keys"], self.key(source).unsqueeze(1)], dim=1)
        values = torch.cat([state["values"], self.value(source).unsqueeze(1)], dim=1)
        out = self._attend(self.query(reader).unsqueeze(1), keys, values, relations)
        return out[:, 0], {"keys": keys, "values": values}


class IntervalBlock(nn.Module):
    """q = LN(x);  x = LN(q + attention(q, x));  x = x + Dropout(W2 ReLU(Dropout(W1 x)))."""

    def __init__(self, d: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.query_norm = LayerNorm(d, eps=1e-8)
        self.attention = IntervalAttention(d, heads, dropout)
        self.norm = LayerNorm(d, eps=1e-8)
        self.widen, self.narrow = nn.Linear(d, d), nn.Linear(d, d)
        self.dropout = Dropout(dropout)

    def _after_attention(self, query: Tensor, mixed: Tensor) -> Tensor:
        x = self.norm(query + mixed)
        out: Tensor = x + self.dropout(self.narrow(sloped(torch.relu, self.dropout(self.widen(x)))))
        return out

    def forward(
        self, x: Float[Tensor, "B T d"], relations: Relations, record: Record | None = None
    ) -> Float[Tensor, "B T d"]:
        query = self.query_norm(x)
        out = self._after_attention(query, self.attention(query, x, relations, record))
        if record is not None:
            record["out"] = out
        return out

    def step(self, state: State, x: Float[Tensor, "B d"], relations: Relations) -> tuple[Float[Tensor, "B d"], State]:
        query = self.query_norm(x)
        mixed, new = self.attention.step(state, query, x, relations)
        return self._after_attention(query, mixed), new
