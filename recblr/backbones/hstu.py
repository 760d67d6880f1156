"""HSTU: pointwise attention whose score is biased by distance in events and by elapsed time.

    B batch, T time, d model width, V catalogue rows (item 0 = padding)

    x = Dropout(sqrt(d) E[v] + P[t]);  x = layer(x), see `recblr.layers.pointwise_attention`
    hidden = x / |x|;  scores = hidden . e / (|e| tau), tau = .05

Source: Zhai et al., "Actions Speak Louder than Words", ICML 2024, arXiv 2402.17152, and the research code of
generative-recommenders. There a sampled softmax trains it; here any objective of the project does.

The published time bias is that of tau_{t+1} - tau_s: it reads the moment at which the next item was taken. `query_time`
"target" does so. The moment is `times[t + 1]`; a slot of padding after the last event may carry the moment of a request
(`Batch.asked_at`), as in the published code, and without it, as in `step`, a request comes at the time of its last
event. Evaluations ask at the time of the target, as published; training windows have no such slot, so their last event
alone trains without it. "last" reads times[t] instead: strictly
causal, comparable with other models, and the same at training and at inference.

Presets: ``reference`` as published, query_time "target" and n = max_len. ``fixed``: "last", and n = events seen so far,
so that a short history is not scaled down until the norm's epsilon outweighs it, and max_len changes no output.
The published code has 11 more positions, for its output, and n counts them; a negative gap counts by its size in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize, pad

from recblr.backbones.base import BackboneConfig, Batch, State
from recblr.backbones.tied import TiedBackbone
from recblr.errors import ConfigError, HistoryError
from recblr.layers.dropout import Dropout
from recblr.layers.elapsed import elapsed, visible_pairs
from recblr.layers.holding import unit_length
from recblr.layers.pointwise_attention import Pairs, PointwiseAttention, time_bucket
from recblr.layers.recorder import Record, layer_trace
from recblr.layers.segments import Slots
from recblr.trace import Trace

_POINTWISE = (
    "Attention is pointwise: weights are signed and sum to nothing in particular; what is read is normed, then gated by"
    " u (the read gate), so only their proportions count."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class HSTUConfig(BackboneConfig):
    """HSTU's settings; defaults are the preset "fixed"."""

    heads: int = 1
    """Attention heads; must divide d."""
    query_time: Literal["last", "target"] = "last"
    """Elapsed time counts up to the last event read, or up to the target's own time (a request whose time is known)."""
    divide_by: Literal["visible", "max_len"] = "visible"
    """Attention is divided by the events seen so far, or by max_len as published."""
    temperature: float = 0.05
    """Divides the cosine of hidden state and item."""

    def __post_init__(self) -> None:
        BackboneConfig.__post_init__(self)
        if self.heads < 1 or self.d % self.heads:
            raise ConfigError(f"heads is {self.heads} and d is {self.d}: heads must divide d")
        if self.query_time not in ("last", "target"):
            raise ConfigError(f"query_time is {self.query_time!r}: choose last or target")
        if self.divide_by not in ("visible", "max_len"):
            raise ConfigError(f"divide_by is {self.divide_by!r}: choose visible or max_len")
        if not 1e-3 <= self.temperature < float("inf"):
            raise ConfigError(f"temperature is {self.temperature}: it must be at least 0.001")


def target_times(times: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Int[Tensor, "B T"]:
    """[B, T] times[t + 1] where the next slot has a time, else times[t]."""
    following, real = pad(times[:, 1:], (0, 1)), pad(mask[:, 1:], (0, 1))
    return torch.where(real | (following != 0), following, times)


class HSTU(TiedBackbone):
    """See the module docstring."""

    Config = HSTUConfig
    config: HSTUConfig
    name = "hstu"
    title = "HSTU"
    paper = "Zhai et al. 2024, arXiv 2402.17152"
    mixer_name = "pointwise attention"
    uses_time = True
    timeless = "every gap counts as 0 seconds, and the time bias is a constant"
    unrolls = True
    biased: ClassVar[bool] = True
    """Whether distance in events and time bias the attention."""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "fixed": {"query_time": "last", "divide_by": "visible", "temperature": 0.05},
        "reference": {"query_time": "target", "divide_by": "max_len", "temperature": 0.05},
    }

    def __init__(self, config: HSTUConfig) -> None:
        super().__init__(config, pad_class=False)
        self.reads_next_time = config.query_time == "target"
        self.positions = nn.Embedding(config.max_len, config.d)
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList(
            PointwiseAttention(config.d, config.heads, config.max_len, config.dropout, biased=self.biased)
            for _ in range(config.n_layers)
        )
        spread = config.d**-0.5
        nn.init.trunc_normal_(self.item_embedding.weight, std=0.02, a=-0.04, b=0.04)
        nn.init.trunc_normal_(self.positions.weight, std=spread, a=-2 * spread, b=2 * spread)
        self.clear_padding_row()

    def _stack(self) -> list[PointwiseAttention]:
        return cast("list[PointwiseAttention]", list(self.layers))

    def _enter(self, embeddings: Float[Tensor, "B T d"], first: int = 0) -> Float[Tensor, "B T d"]:
        last, known = first + embeddings.shape[1], self.config.max_len
        if last > known:
            raise HistoryError(f"HSTU knows {known} positions and was given event {last}: pass the most recent events")
        out: Tensor = self.dropout(self.config.d**0.5 * embeddings + self.positions.weight[first:last])
        return out

    def _pairs(
        self, asked: Tensor, times: Tensor, visible: Tensor, first: int = 0, sources: Tensor | None = None
    ) -> Pairs:
        """`asked` [B, T]: up to when elapsed time counts, for the readers first, first + 1, ... of `times` [B, S].

        `sources` are the positions of `times`, 0..S-1 where not given.
        """
        readers = torch.arange(first, first + asked.shape[1], device=times.device)
        if sources is None:
            sources = torch.arange(times.shape[1], device=times.device)
        seen = visible.sum(dim=2).clamp(min=1).to(self.item_embedding.weight.dtype)
        return Pairs(
            visible=visible,
            distance=(readers[:, None] - sources).clamp(min=0),
            bucket=time_bucket(elapsed(asked, times)),
            divisor=seen if self.config.divide_by == "visible" else torch.full_like(seen, self.config.max_len),
        )

    def _run(self, embeddings: Tensor, mask: Tensor, times: Tensor, records: list[Record] | None) -> Tensor:
        """Hidden states; padding past max_len, such as the slot of a request, is left out."""
        asked = target_times(times, mask) if self.reads_next_time else times
        if not bool(mask[:, self.config.max_len :].any()):
            embeddings, mask, times, asked = (one[:, : self.config.max_len] for one in (embeddings, mask, times, asked))
        x = self._enter(embeddings)
        pairs = self._pairs(asked, times, visible_pairs(mask))
        for n, layer in enumerate(self._stack()):
            x = layer(x, pairs, None if records is None else records[n])
        return unit_length(x, 1e-6)

    def encode(
        self, embeddings: Float[Tensor, "B T d"], mask: Bool[Tensor, "B T"], times: Int[Tensor, "B T"]
    ) -> Float[Tensor, "B T d"]:
        hidden = self._run(embeddings, mask, times, None)
        return pad(hidden, (0, 0, 0, embeddings.shape[1] - hidden.shape[1]))

    def output_embedding(self) -> tuple[Float[Tensor, "V d"], None]:
        """Items at length 1 / temperature."""
        return self.as_classes(self.item_embedding.weight), None

    def as_classes(self, vectors: Float[Tensor, "N d"]) -> Float[Tensor, "N d"]:
        """Vectors as rows of the output embedding."""
        return normalize(vectors, dim=-1, eps=1e-6) / self.config.temperature

    def scores(self, hidden: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch V"]:
        logits = hidden @ self.output_embedding()[0].T
        logits[..., 0] = -torch.inf
        return logits

    def _notes(self, batch: Batch) -> tuple[str, ...]:
        notes = [_POINTWISE]
        if self.reads_next_time:
            notes.append(
                "Elapsed time counts up to the next event, whose time each step has seen; the last step, without the"
                " time of a request, counts up to its own event. The preset fixed counts up to the last event read."
            )
        return (*notes, *self.untimed_notes(batch))

    @torch.no_grad()
    def trace(self, batch: Batch) -> Trace:
        records: list[Record] = [{} for _ in self.layers]
        hidden = self._run(self.embed(batch.items), batch.mask, batch.times, records)
        return Trace(
            backbone=self.name,
            preset=self.preset,
            items=batch.items[:, : hidden.shape[1]].cpu().numpy(),
            times=batch.times[:, : hidden.shape[1]].cpu().numpy(),
            layers=tuple(layer_trace(f"layer {n} · {self.mixer_name}", one) for n, one in enumerate(records, 1)),
            hidden=hidden.cpu().numpy(),
            notes=self._notes(batch),
        )

    def initial_state(self, batch_size: int) -> State:
        """Keys and values of every event: a state that grows. With query_time "target" the newest event is kept apart,
        since the time of the next one is still to change what it holds."""
        nothing = torch.zeros(batch_size, 0, dtype=torch.int64, device=self.item_embedding.weight.device)
        states = (layer.initial_state(batch_size) for layer in self._stack())
        held = {f"{n}.{key}": value for n, state in enumerate(states) for key, value in state.items()}
        newest = {"newest_items": nothing, "newest_times": nothing} if self.reads_next_time else {}
        return {**held, **newest, "times": nothing}

    def _append(self, state: State, items: Tensor, times: Tensor, asked: Tensor) -> tuple[Tensor, State]:
        known = torch.cat([state["times"], times.unsqueeze(1)], dim=1)
        first = known.shape[1] - 1
        x = self._enter(self.embed(items.unsqueeze(1)), first)[:, 0]
        pairs = self._pairs(asked.unsqueeze(1), known, torch.ones_like(known, dtype=torch.bool).unsqueeze(1), first)
        new: State = {**state, "times": known}
        for n, layer in enumerate(self._stack()):
            x, own = layer.step({key: state[f"{n}.{key}"] for key in ("keys", "values")}, x, pairs)
            new.update({f"{n}.{key}": value for key, value in own.items()})
        return normalize(x, dim=-1, eps=1e-6), new

    def step(
        self, state: State, items: Int[Tensor, " B"], times: Int[Tensor, " B"]
    ) -> tuple[Float[Tensor, "B d"], State]:
        if not self.reads_next_time:
            return self._append(state, items, times, times)
        if state["newest_items"].shape[1]:
            _, state = self._append(state, state["newest_items"][:, 0], state["newest_times"][:, 0], times)
        hidden, _ = self._append(state, items, times, times)
        return hidden, {**state, "newest_items": items.unsqueeze(1), "newest_times": times.unsqueeze(1)}

    def held_slots(self, batch_size: int) -> State:
        """What `read_slots` starts from: each tensor is [B, slots held, ...]."""
        states = (layer.initial_state(batch_size) for layer in self._stack())
        nothing = torch.zeros(batch_size, 0, dtype=torch.int64, device=self.item_embedding.weight.device)
        return {f"{n}.{key}": value for n, state in enumerate(states) for key, value in state.items()} | {
            "times": nothing
        }

    def read_slots(
        self,
        state: State,
        embeddings: Float[Tensor, "B T d"],
        times: Int[Tensor, "B T"],
        slots: Slots,
        records: list[Record] | None = None,
    ) -> tuple[Float[Tensor, "B T d"], State]:
        """(hidden, state) of consecutive positions after those that `state` holds; elapsed time counts up to each."""
        known = torch.cat([state["times"], times], dim=1)
        x = self._enter(embeddings, slots.first)
        visible = slots.visible.expand(len(x), -1, -1)
        pairs = self._pairs(times, known, visible, slots.first, slots.sources)
        new: State = {"times": known}
        for n, layer in enumerate(self._stack()):
            held = {key: state[f"{n}.{key}"] for key in ("keys", "values")}
            x, held = layer.extend(held, x, pairs, None if records is None else records[n])
            new.update({f"{n}.{key}": value for key, value in held.items()})
        return unit_length(x, 1e-6), new

    def slot_notes(self, batch: Batch) -> tuple[str, ...]:
        """What a reader of a trace over slots must know."""
        return self._notes(batch)


class PlainHSTU(HSTU):
    """HSTU as the public code of PerSRec copies it, which only `persrec` wraps: no bias by distance or time, items not
    scaled by sqrt(d), positions as small as items, no dropout before the first layer."""

    name = "hstu-plain"
    uses_time = False
    biased = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"fixed": {"query_time": "last", "divide_by": "max_len"}}

    def __init__(self, config: HSTUConfig) -> None:
        super().__init__(config)
        nn.init.trunc_normal_(self.positions.weight, std=0.02, a=-0.04, b=0.04)

    def _notes(self, batch: Batch) -> tuple[str, ...]:
        return (
            _POINTWISE,
            "Nothing biases the attention: a score knows the items and their places alone.",
        )

    def _enter(self, embeddings: Float[Tensor, "B T d"], first: int = 0) -> Float[Tensor, "B T d"]:
        return embeddings + self.positions.weight[first : first + embeddings.shape[1]]
