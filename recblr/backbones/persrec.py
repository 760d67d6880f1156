"""PerSRec: a wrapper that compresses the old segments of a history into a few learnable tokens.

    n events a segment, k tokens after each of J segments; layout and mask: `recblr.layers.segments`

Source: Zhang et al., "Efficient Sequential Recommendation for Long Term User Interest Via Personalization", ICDM 2025,
arXiv 2601.03479, and its public code. The tokens are the same vectors for all users; what is personal is their keys and
values in each layer after they have read a segment. Those are all that is kept of it: `compress` makes them, `read_on`
and `step` go on from them, for any number of segments, and give what `encode` gives in one pass under the mask.

Over attention (HSTU, HLLM, SASRec) tokens stand in the sequence as vectors of items would, with positions of their own,
and take the time of the last event of their segment. Over a recurrent backbone nothing need be compressed: its
state is carried on as it is, and tokens, if any, only read it out (`readout`).

At the end of a segment. With `boundary` "token", as published, the last event of a segment is trained towards the first
token that follows, whose vector is a class beside the items at that place alone; no token is trained to name an item,
so the first event of the next segment is a target of nobody. With "next", the last event names the first event of the
next segment, and so does the last token.

Presets: ``reference`` follows the published code over its own copy of HSTU (`PlainHSTU`), with "token". ``fixed`` (over
this project's HSTU), ``hllm``, ``sasrec`` and ``recblr`` take "next". All compress four segments of a fifth of max_len;
the published scripts set one, of 1,024 events out of 1,280 or of 400 out of 500.
Differs from the source: windows there are padded on the left, so that segments count back from the newest event; here
they count from the oldest event read, which is the same for a history of max_len and lets a history grow event by
event. A history shorter than a segment is read as it is, without tokens. In the cached pass the published attention is
divided by another length than in training; here by the same. The published loss is sampled; here any objective.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Literal, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from recblr.backbones.base import Answers, BackboneConfig, Batch, Flags, SequentialBackbone, State, make_config
from recblr.backbones.compressing import SlotReader, StateReader, TokenReader
from recblr.backbones.deltanet import DeltaNet
from recblr.backbones.gru4rec import GRU4Rec
from recblr.backbones.hllm import HLLM
from recblr.backbones.hstu import HSTU, PlainHSTU
from recblr.backbones.lrurec import LRURec
from recblr.backbones.mamba4rec import Mamba4Rec
from recblr.backbones.mingru import MinGRU
from recblr.backbones.recblr import RecBLR
from recblr.backbones.sasrec import SASRec
from recblr.backbones.ssd4rec import SSD4Rec
from recblr.backbones.tbdlru import TBDLRU
from recblr.backbones.tim4rec import TiM4Rec
from recblr.data.log import Catalog
from recblr.errors import ConfigError, HistoryError
from recblr.layers.recorder import Record, layer_trace
from recblr.layers.segments import Segments
from recblr.trace import Trace

ATTENTION: Mapping[str, type[SequentialBackbone]] = {cls.name: cls for cls in (HSTU, PlainHSTU, HLLM, SASRec)}
"""Each is a `SlotReader`."""
RECURRENT: Mapping[str, type[SequentialBackbone]] = {
    cls.name: cls for cls in (RecBLR, TBDLRU, LRURec, Mamba4Rec, SSD4Rec, TiM4Rec, MinGRU, DeltaNet, GRU4Rec)
}
_SHARED = tuple(one.name for one in fields(BackboneConfig))


@dataclass(frozen=True, kw_only=True, slots=True)
class PerSRecConfig(BackboneConfig):
    """PerSRec's settings; defaults are the preset "fixed"."""

    inner: str = "hstu"
    """Backbone that is wrapped: hstu, hstu-plain (as PerSRec's code copies it), hllm, sasrec, or a recurrent one."""
    inner_config: dict[str, int | float | str | bool] = field(default_factory=dict)
    """Settings of that backbone besides the shared ones, such as heads; the others are those of its first preset."""
    tokens: int = 4
    """Learnable tokens after each segment; 0 only over a recurrent backbone."""
    segment: int | None = None
    """Events of a segment; without it, four fifths of max_len make the compressed segments."""
    segments: int = 4
    """Segments that are compressed at most, oldest first; the events after them are the recent ones."""
    boundary: Literal["next", "token"] = "next"
    """What the last event of a segment is trained towards: the next event, or as published the first token."""

    def __post_init__(self) -> None:
        BackboneConfig.__post_init__(self)
        if self.inner not in ATTENTION and self.inner not in RECURRENT:
            raise ConfigError(f"inner is {self.inner!r}: choose one of {', '.join([*ATTENTION, *RECURRENT])}")
        if self.boundary not in ("next", "token"):
            raise ConfigError(f"boundary is {self.boundary!r}: choose next or token")
        if self.segments < 1:
            raise ConfigError(f"segments is {self.segments}: it must be at least 1")
        least = 1 if self.inner in ATTENTION else 0
        if self.tokens < least:
            raise ConfigError(f"tokens is {self.tokens}: over {self.inner} it must be at least {least}")
        if self.boundary == "token" and self.inner in RECURRENT:
            raise ConfigError(f"boundary is 'token', but events read no token over {self.inner}: choose next")
        if self.segment is not None and not 1 <= self.segment * self.segments < self.max_len:
            raise ConfigError(
                f"segment is {self.segment}: {self.segments} segments must be at least one event long and leave a"
                f" recent event of max_len {self.max_len}"
            )
        self.inner_settings()

    @property
    def layout(self) -> Segments:
        """Where the tokens stand."""
        events = self.segment or max(1, self.max_len * 4 // (5 * self.segments))
        count = min(self.segments, (self.max_len - 1) // events)
        return Segments(events=events, tokens=self.tokens, count=count)

    @property
    def inner_class(self) -> type[SequentialBackbone]:
        """Of the wrapped backbone."""
        return {**ATTENTION, **RECURRENT}[self.inner]

    def inner_settings(self) -> BackboneConfig:
        """Of the wrapped backbone, whose positions include those of the tokens. ConfigError names the setting."""
        for key in self.inner_config:
            if key in _SHARED:
                raise ConfigError(f"inner_config sets {key}: it is a setting of persrec itself")
        layout = self.layout
        shared = {name: getattr(self, name) for name in _SHARED}
        if self.inner in ATTENTION:
            shared["max_len"] = layout.n_slots(self.max_len)
        return make_config(self.inner_class, **{**shared, **self.inner_config})


class PerSRec(SequentialBackbone):
    """See the module docstring."""

    Config = PerSRecConfig
    config: PerSRecConfig
    name = "persrec"
    title = "PerSRec"
    paper = "Zhang et al. 2026, arXiv 2601.03479"
    uses_time = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "fixed": {"inner": "hstu", "boundary": "next"},
        "reference": {"inner": "hstu-plain", "boundary": "token"},
        "hllm": {"inner": "hllm", "boundary": "next"},
        "sasrec": {"inner": "sasrec", "boundary": "next"},
        "recblr": {"inner": "recblr", "boundary": "next", "tokens": 0},
    }
    inner: SequentialBackbone

    def __init__(self, config: PerSRecConfig) -> None:
        super().__init__(config)
        self.layout = config.layout
        self.inner = config.inner_class(config.inner_settings())
        if not self.inner.causal or self.inner.reads_next_time:
            raise ConfigError(
                f"inner is {config.inner} with {config.inner_config}: it must be causal and read no later time;"
                f" leave inner_config to the preset {next(iter(self.inner.presets))}"
            )
        self.pad_class: bool = getattr(self.inner, "pad_class", False)
        self.keeps_texts = self.inner.keeps_texts
        self._take_filled_in()
        self.reader: TokenReader | StateReader
        self.tokens = nn.Embedding(self.layout.count * config.tokens, config.d) if config.tokens else None
        if self.tokens is not None and config.inner != HLLM.name:  # there as large as the vectors of items
            nn.init.trunc_normal_(self.tokens.weight, std=0.02, a=-0.04, b=0.04)
        if self.tokens is not None and config.inner in ATTENTION:
            self.reader = TokenReader(cast(SlotReader, self.inner), self.layout, self.tokens)
        else:
            self.reader = StateReader(self.inner, self.layout, self.tokens)

    @classmethod
    def flags(cls, config: BackboneConfig) -> Flags:
        """Those of the wrapped backbone."""
        assert isinstance(config, PerSRecConfig)
        return config.inner_class.flags(config.inner_settings())

    @classmethod
    def kind(cls, config: BackboneConfig | None = None) -> str:
        config = make_config(cls, n_items=1) if config is None else config
        assert isinstance(config, PerSRecConfig)
        return config.inner_class.kind(config.inner_settings())

    @classmethod
    def without_times(cls, config: BackboneConfig) -> str | None:
        assert isinstance(config, PerSRecConfig)
        return config.inner_class.without_times(config.inner_settings())

    def _take_filled_in(self) -> None:
        """Keep in the configuration what the wrapped backbone has filled into its own."""
        asked, found = self.config.inner_settings(), self.inner.config
        filled = {one.name: getattr(found, one.name) for one in fields(found) if one.name not in _SHARED}
        changed = {name: value for name, value in filled.items() if value != getattr(asked, name)}
        self.config = replace(self.config, inner_config={**self.config.inner_config, **changed})

    def read_catalog(self, catalog: Catalog) -> None:
        self.inner.read_catalog(catalog)
        self._take_filled_in()

    def embed(self, items: Int[Tensor, "B T"]) -> Float[Tensor, "B T d"]:
        return self.inner.embed(items)

    def encode(
        self, embeddings: Float[Tensor, "B T d"], mask: Bool[Tensor, "B T"], times: Int[Tensor, "B T"]
    ) -> Float[Tensor, "B T d"]:
        self._check_length(embeddings.shape[1])
        return self.reader.encode(embeddings, mask, times)

    def scores(self, hidden: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch V"]:
        return self.inner.scores(hidden)

    def output_embedding(self) -> tuple[Float[Tensor, "V d"], Float[Tensor, " V"] | None]:
        return self.inner.output_embedding()

    def own_loss(
        self, hidden: Float[Tensor, "N d"], targets: Int[Tensor, " N"], weights: Float[Tensor, " N"]
    ) -> Float[Tensor, ""] | None:
        return self.inner.own_loss(hidden, targets, weights)

    def answers(self, batch: Batch, wanted: Bool[Tensor, "B T"]) -> Answers:
        """At the end of a segment: the last event and the last token, or what `boundary` "token" says."""
        x, mask, times = self.embed(batch.items), batch.mask, batch.times
        self._check_length(x.shape[1])
        steps = torch.arange(x.shape[1], device=x.device)
        ends = self.layout.events * torch.arange(1, self.layout.closed(x.shape[1]) + 1, device=x.device) - 1
        if isinstance(self.reader, StateReader):
            tokens = self.reader.readout(x, mask, times)[:, :, -1:].flatten(1, 2)
            hidden = torch.cat([self.encode(x, mask, times), tokens], dim=1)
            return Answers(hidden=hidden, step=torch.cat([steps, ends[: tokens.shape[1]]]))
        hidden, slots = self.reader.read(x, times)
        events = hidden[:, ~self.layout.is_token(slots)]
        if self.config.boundary == "token":
            kept = ~torch.isin(steps, ends)
            further = self._towards_tokens(events[:, ends], wanted[:, ends])
            return Answers(hidden=events[:, kept], step=steps[kept], further=further)
        last = self.layout.of_event(ends) + self.config.tokens
        return Answers(hidden=torch.cat([events, hidden[:, last]], dim=1), step=torch.cat([steps, ends]))

    def _towards_tokens(self, hidden: Float[Tensor, "B J d"], wanted: Bool[Tensor, "B J"]) -> Float[Tensor, " N"]:
        """Cross-entropy of each segment's last event with its first token as the class; the other classes are items."""
        assert isinstance(self.reader, TokenReader)
        first = self.reader.tokens.weight[:: self.config.tokens][: hidden.shape[1]]  # [J, d]
        aim = (hidden * self.reader.inner.as_classes(first)).sum(-1)  # [B, J]
        both = torch.cat([self.scores(hidden), aim.unsqueeze(-1)], dim=-1)
        losses: Tensor = (both.logsumexp(-1) - aim)[wanted]
        return losses

    def compress(self, history: Batch) -> State:
        """What is kept of a history: keys and values of its tokens (and the events after its last whole segment), or
        the recurrent state. Rows must be of one length; HistoryError otherwise, or where it is too long."""
        if not bool(history.mask.all()):
            raise HistoryError("histories of different lengths cannot be compressed together: pass rows of one length")
        return self._advance(self.initial_state(len(history.items)), history.items, history.times)[1]

    def read_on(self, state: State, recent: Batch) -> Float[Tensor, "B T d"]:
        """Hidden states of the events after those that `state` holds; the older ones are not needed."""
        return self._advance(state, recent.items, recent.times)[0]

    def readout(self, batch: Batch) -> Float[Tensor, "B J k d"]:
        """Hidden states at the tokens of each complete segment."""
        self._check_length(batch.items.shape[1])
        return self.reader.readout(self.embed(batch.items), batch.mask, batch.times)

    def initial_state(self, batch_size: int) -> State:
        """Keys and values of the tokens so far and of the open segment; or that of the recurrent backbone."""
        return self.reader.initial_state(batch_size)

    def step(
        self, state: State, items: Int[Tensor, " B"], times: Int[Tensor, " B"]
    ) -> tuple[Float[Tensor, "B d"], State]:
        hidden, state = self._advance(state, items.unsqueeze(1), times.unsqueeze(1))
        return hidden[:, 0], state

    def _advance(self, state: State, items: Tensor, times: Tensor) -> tuple[Tensor, State]:
        if isinstance(self.reader, TokenReader):
            self._check_length(int(state["position"].max()) + items.shape[1])
        return self.reader.advance(state, items, times)

    def _check_length(self, events: int) -> None:
        known = self.config.max_len
        if self.config.inner in ATTENTION and events > known:
            raise HistoryError(
                f"PerSRec knows {known} positions and was given event {events}: pass the most recent events"
            )

    @torch.no_grad()
    def trace(self, batch: Batch) -> Trace:
        """Over attention `mix` is between events of one segment, and what passes through tokens stands beside it."""
        if isinstance(self.reader, StateReader):
            trace = self.inner.trace(batch)
            return replace(trace, backbone=self.name, preset=self.preset, notes=(*trace.notes, *self._notes(batch)))
        self._check_length(batch.items.shape[1])
        records: list[Record] = [{} for _ in range(self._layers(self.reader))]
        hidden, slots = self.reader.read(self.embed(batch.items), batch.times, records)
        return Trace(
            backbone=self.name,
            preset=self.preset,
            items=batch.items.cpu().numpy(),
            times=batch.times.cpu().numpy(),
            layers=tuple(
                layer_trace(f"layer {n} · {self.reader.inner.mixer_name}", self.reader.split(record, slots))
                for n, record in enumerate(records, 1)
            ),
            hidden=hidden[:, ~self.layout.is_token(slots)].cpu().numpy(),
            notes=(*self._notes(batch), *self.reader.inner.slot_notes(batch)),
        )

    def _layers(self, reader: TokenReader) -> int:
        """Layers of attention, which a loaded language model has of its own."""
        return sum(name.endswith(".keys") for name in reader.inner.held_slots(1))

    def _notes(self, batch: Batch) -> tuple[str, ...]:
        if isinstance(self.reader, StateReader):
            return ("Nothing is compressed: the state of old events is carried on as it is.",)
        n, k = self.layout.events, self.layout.tokens
        notes = [
            f"Segments of {n} events: an event reads those of its own segment, and of earlier ones only the {k} tokens"
            " after each. Attention and memory horizons are those within the segment.",
            "In layer 1 the tokens are the same for every user; they carry a history from layer 2 on"
            + (", and there is none." if self._layers(self.reader) == 1 else "."),
        ]
        if int(batch.lengths.max()) <= n:
            notes.append(f"The history is no longer than a segment of {n} events: nothing is compressed.")
        if self.config.boundary == "token":
            notes.append(
                "As published, the last event of a segment is trained towards a token: what it recommends is not meant"
                " as a recommendation."
            )
        return tuple(notes)
