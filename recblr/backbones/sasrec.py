"""SASRec: the causal self-attention baseline.

Source: Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018, arXiv 1808.09781, in the form that the
compared papers run (RecBole): post-norm transformer, learnt positions, GELU, tied output, full softmax.

    x = Dropout(LN(E[v] + P[t]));  x = LN(x + Dropout(Attention(x)));  x = LN(x + FFN(x))

Presets: ``reference`` keeps row 0 as a softmax class; ``fixed`` drops it. Positions count from the oldest event read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import gelu

from recblr.backbones.base import BackboneConfig, Batch, State
from recblr.backbones.tied import TiedBackbone, normal_init
from recblr.errors import ConfigError, HistoryError
from recblr.layers.attention import CausalAttention
from recblr.layers.dropout import Dropout
from recblr.layers.feed_forward import FeedForward
from recblr.layers.recorder import Record, layer_trace
from recblr.trace import Trace


@dataclass(frozen=True, kw_only=True, slots=True)
class SASRecConfig(BackboneConfig):
    """SASRec's settings; defaults are the preset "fixed"."""

    heads: int = 2
    """Attention heads; must divide d."""
    pad_class: bool = False
    """Keep padding as a class of the softmax, as RecBole does."""

    def __post_init__(self) -> None:
        BackboneConfig.__post_init__(self)
        if self.heads < 1 or self.d % self.heads:
            raise ConfigError(f"heads is {self.heads} and d is {self.d}: heads must divide d")


class SASRecLayer(nn.Module):
    def __init__(self, config: SASRecConfig) -> None:
        super().__init__()
        self.mixer = CausalAttention(config.d, config.heads, config.dropout)
        self.norm = nn.LayerNorm(config.d, eps=1e-12)
        self.dropout = Dropout(config.dropout)
        self.feed_forward = FeedForward(config.d, gelu, config.dropout, inner_dropout=False)

    def after_mixer(self, x: Tensor, y: Tensor) -> Tensor:
        out: Tensor = self.feed_forward(self.norm(x + self.dropout(y)))
        return out

    def forward(self, x: Float[Tensor, "B T d"], record: Record | None = None) -> Float[Tensor, "B T d"]:
        x = self.after_mixer(x, self.mixer(x, record))
        if record is not None:
            record["out"] = x
        return x


class SASRec(TiedBackbone):
    """See the module docstring."""

    Config = SASRecConfig
    config: SASRecConfig
    name = "sasrec"
    title = "SASRec"
    paper = "Kang and McAuley 2018, arXiv 1808.09781"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "fixed": {"pad_class": False},
        "reference": {"pad_class": True},
    }

    def __init__(self, config: SASRecConfig) -> None:
        super().__init__(config, pad_class=config.pad_class)
        self.positions = nn.Embedding(config.max_len, config.d)
        self.norm = nn.LayerNorm(config.d, eps=1e-12)
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList(SASRecLayer(config) for _ in range(config.n_layers))
        normal_init(self)
        self.clear_padding_row()

    def encode(
        self, embeddings: Float[Tensor, "B T d"], mask: Bool[Tensor, "B T"], times: Int[Tensor, "B T"]
    ) -> Float[Tensor, "B T d"]:
        return self._encode(embeddings, None)

    def _encode(self, embeddings: Tensor, records: list[Record] | None) -> Tensor:
        steps = embeddings.shape[1]
        if steps > self.config.max_len:
            raise HistoryError(
                f"SASRec has {self.config.max_len} positions and was given {steps} events: pass the most recent ones"
            )
        x = self.dropout(self.norm(embeddings + self.positions.weight[:steps]))
        for index, layer in enumerate(self.layers):
            x = layer(x, None if records is None else records[index])
        return x

    @torch.no_grad()
    def trace(self, batch: Batch) -> Trace:
        records: list[Record] = [{} for _ in self.layers]
        hidden = self._encode(self.embed(batch.items), records)
        return Trace(
            backbone=self.name,
            preset=self.preset,
            items=batch.items.cpu().numpy(),
            times=batch.times.cpu().numpy(),
            layers=tuple(layer_trace(f"layer {n} · attention", record) for n, record in enumerate(records, 1)),
            hidden=hidden.cpu().numpy(),
            notes=("Attention carries no state: every step reads the whole history again.",),
        )

    def initial_state(self, batch_size: int) -> State:
        """Keys and values of every layer, [B, steps so far, d]: a state that grows."""
        empty = self.positions.weight.new_zeros(batch_size, 0, self.config.d)
        return {f"{n}.{key}": empty for n in range(len(self.layers)) for key in ("keys", "values")}

    def step(
        self, state: State, items: Int[Tensor, " B"], times: Int[Tensor, " B"]
    ) -> tuple[Float[Tensor, "B d"], State]:
        position = state["0.keys"].shape[1]
        if position >= self.config.max_len:
            raise HistoryError(
                f"SASRec has {self.config.max_len} positions and cannot step further: start again from the most recent events"
            )
        x = self.norm(self.item_embedding(items) + self.positions.weight[position])
        new: State = {}
        for n, layer in enumerate(self.layers):
            y, keys, values = layer.mixer.step(x, state[f"{n}.keys"], state[f"{n}.values"])
            x = layer.after_mixer(x, y)
            new[f"{n}.keys"], new[f"{n}.values"] = keys, values
        return x, new
