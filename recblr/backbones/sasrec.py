"""SASRec: the causal self-attention baseline.

Source: Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018, arXiv 1808.09781, in the form that the
compared papers run (RecBole): post-norm transformer, learnt positions, GELU, tied output, full softmax.

    x = Dropout(LN(E[v] + P[t]));  x = LN(x + Dropout(Attention(x)));  x = LN(x + FFN(x))

Presets: ``reference`` keeps row 0 as a softmax class; ``fixed`` drops it. Positions count from the oldest event read.
Dropout is .2, as in the compared runs on ML-1M; RecBole's own default is .5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import gelu

from recblr.backbones.base import BackboneConfig, Batch, State
from recblr.backbones.stacked import StackedBackbone
from recblr.backbones.tied import normal_init
from recblr.errors import ConfigError, HistoryError
from recblr.layers.attention import CausalAttention
from recblr.layers.dropout import Dropout
from recblr.layers.holding import LayerNorm
from recblr.layers.post_norm import PostNormLayer
from recblr.layers.recorder import Record
from recblr.layers.segments import Slots


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


class AttentionLayer(PostNormLayer):
    """A layer that also takes several steps after what it holds."""

    mixer: CausalAttention

    def extend(
        self, state: State, x: Float[Tensor, "B T d"], visible: Bool[Tensor, "T S"], record: Record | None
    ) -> tuple[Float[Tensor, "B T d"], State]:
        y, new = self.mixer.extend(state, x, visible, record)
        out = self._after_mixer(x, y)
        if record is not None:
            record["out"] = out
        return out, new


class SASRec(StackedBackbone):
    """See the module docstring."""

    Config = SASRecConfig
    config: SASRecConfig
    name = "sasrec"
    title = "SASRec"
    paper = "Kang and McAuley 2018, arXiv 1808.09781"
    mixer_name = "attention"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "fixed": {"pad_class": False},
        "reference": {"pad_class": True},
    }

    def __init__(self, config: SASRecConfig) -> None:
        super().__init__(config, pad_class=config.pad_class)
        self.positions = nn.Embedding(config.max_len, config.d)
        self.norm = LayerNorm(config.d, eps=1e-12)
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList(
            AttentionLayer(
                CausalAttention(config.d, config.heads, config.dropout),
                config.d,
                gelu,
                config.dropout,
                inner_dropout=False,
            )
            for _ in range(config.n_layers)
        )
        normal_init(self)
        self.clear_padding_row()

    def enter(self, embeddings: Float[Tensor, "B T d"], first: int = 0) -> Float[Tensor, "B T d"]:
        last, known = first + embeddings.shape[1], self.config.max_len
        if last > known:
            raise HistoryError(
                f"SASRec knows {known} positions and was given event {last}: pass the most recent events"
            )
        out: Tensor = self.dropout(self.norm(embeddings + self.positions.weight[first:last]))
        return out

    def notes(self) -> tuple[str, ...]:
        return ("Attention carries no state of fixed size: every step reads the whole history again.",)

    def as_classes(self, vectors: Float[Tensor, "N d"]) -> Float[Tensor, "N d"]:
        """Vectors as rows of the output embedding."""
        return vectors

    def held_slots(self, batch_size: int) -> State:
        """What `read_slots` starts from: each tensor is [B, slots held, ...]."""
        states = (layer.mixer.initial_state(batch_size) for layer in self._stack())
        return {f"{n}.{key}": value for n, state in enumerate(states) for key, value in state.items()}

    def read_slots(
        self,
        state: State,
        embeddings: Float[Tensor, "B T d"],
        times: Int[Tensor, "B T"],
        slots: Slots,
        records: list[Record] | None = None,
    ) -> tuple[Float[Tensor, "B T d"], State]:
        """(hidden, state) of consecutive positions after those that `state` holds."""
        x, new = self.enter(embeddings, slots.first), {}
        for n, layer in enumerate(cast("list[AttentionLayer]", list(self.layers))):
            held = {key: state[f"{n}.{key}"] for key in ("keys", "values")}
            x, held = layer.extend(held, x, slots.visible, None if records is None else records[n])
            new.update({f"{n}.{key}": value for key, value in held.items()})
        return x, new

    def slot_notes(self, batch: Batch) -> tuple[str, ...]:
        """What a reader of a trace over slots must know."""
        return ()
