"""The contract every backbone keeps.

    B batch, T time, d model width, V catalogue rows (item 0 = padding)

Sequences are right-padded: padding follows the real events, so a causal backbone never sees it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import pad

from recblr.data.log import Catalog, InteractionLog
from recblr.errors import ConfigError, HistoryError, RecblrError
from recblr.trace import Trace

State = dict[str, Tensor]
"""What a causal backbone carries from event to event: named tensors, each [B, ...]."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BackboneConfig:
    """What all backbones are configured by."""

    n_items: int
    """Items in the catalogue, without padding."""
    max_len: int = 200
    """Longest history read; of a longer one, the most recent events."""
    d: int = 64
    """Model width."""
    n_layers: int = 2
    """Layers."""
    dropout: float = 0.2
    """Dropout rate while training."""

    def __post_init__(self) -> None:
        for name, low in (("n_items", 1), ("max_len", 1), ("d", 1), ("n_layers", 1)):
            if getattr(self, name) < low:
                raise ConfigError(f"{name} is {getattr(self, name)}: it must be at least {low}")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout is {self.dropout}: it must lie in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Right-padded sequences."""

    items: Int[Tensor, "B T"]
    """Internal ids, 0 = padding."""
    times: Int[Tensor, "B T"]
    """Unix seconds."""

    @property
    def mask(self) -> Bool[Tensor, "B T"]:
        return self.items > 0

    @property
    def lengths(self) -> Int[Tensor, " B"]:
        return self.mask.sum(dim=1)

    def asked_at(self, moments: Int[Tensor, " B"]) -> Batch:
        """With the moment of a request, unix seconds, in the slot after each row's last event.

        Only backbones that read the next event's time (`reads_next_time`) look there. Raises HistoryError for a moment
        before the last event.
        """
        lengths = self.lengths
        items, times = pad(self.items, (0, 1)), pad(self.times, (0, 1))
        rows = torch.arange(len(items), device=items.device)
        early = (lengths > 0) & (moments < times[rows, (lengths - 1).clamp(min=0)])
        if early.any():
            row = int(early.nonzero()[0])
            raise HistoryError(
                f"the request of row {row}, at {int(moments[row])}, lies before the last event it follows"
            )
        times[rows, lengths] = moments
        return Batch(items=items, times=times)


def untimed(times: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> bool:
    """Whether a batch comes from a log without times: they are all zero."""
    return not bool((times[mask] != 0).any())


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What training compares with the next items."""

    hidden: Float[Tensor, "B S d"]
    step: Int[Tensor, " S"]
    """Event after which each hidden state names the next one."""
    further: Float[Tensor, " N"] | None = None
    """Losses of a backbone's own, nats each, that enter the mean beside those of the targets."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Flags:
    """What a backbone is with some settings: the attributes of `SequentialBackbone` that a preset may change."""

    causal: bool
    uses_time: bool
    recurrent: bool


class SequentialBackbone(nn.Module):
    """A next-item model: ``embed -> encode -> scores``.

    `encode` is where attribution enters, so its mask never derives from the embeddings.
    """

    Config: ClassVar[type[BackboneConfig]] = BackboneConfig
    name: ClassVar[str]
    """Registry key."""
    title: ClassVar[str]
    """As the paper writes it."""
    paper: ClassVar[str]
    """Citation with arXiv number."""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"fixed": {}}
    """Preset name -> config fields that differ from the defaults; the first is the default."""
    causal: bool = True
    """Output at t depends on events 1..t alone. Of the class: with the default preset, as for the two flags below."""
    uses_time: bool = False
    recurrent: bool = False
    """Carries a state of fixed size."""
    timeless: ClassVar[str] = "every gap counts as 0 seconds, and time tells no events apart"
    """Where it reads times: what a history without them comes to, a clause for messages."""
    looks_ahead: ClassVar[str] = "it reads later events"
    """Where a preset is not causal: what of it has seen later events, a clause for messages."""
    reads_next_time: bool = False
    """Output at t also depends on the time of event t + 1, the moment of the request, which may be known; not on its
    item. The last event of a history, and `step`, take their own time for it."""
    unrolls: ClassVar[bool] = False
    """Every layer, its gates given, is a sum over events of what its trace offers: see `recblr.explain.unroll`."""
    learns: ClassVar[bool] = True
    """False for the counting baselines, which are fitted and not trained by gradients."""
    undecayed: ClassVar[tuple[str, ...]] = ("bias", "A_log")
    """Parts of names of parameters that weight decay spares, beside those of one axis: of biases and of memories."""
    keeps_texts: bool = False
    """Its weights hold the texts of items, so a run of it cannot leave the titles out."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.config = config
        flags = self.flags(config)
        self.causal, self.uses_time, self.recurrent = flags.causal, flags.uses_time, flags.recurrent

    @classmethod
    def flags(cls, config: BackboneConfig) -> Flags:
        """What it is with these settings, without building it; a model has them as its attributes."""
        return Flags(causal=cls.causal, uses_time=cls.uses_time, recurrent=cls.recurrent)

    @classmethod
    def without_times(cls, config: BackboneConfig) -> str | None:
        """What histories without times come to with these settings; None where it reads no times."""
        return cls.timeless if cls.flags(config).uses_time else None

    def untimed_notes(self, batch: Batch) -> tuple[str, ...]:
        """What a reader of an answer must know of a history whose times the model misses."""
        words = self.without_times(self.config)
        return (f"The history has no times: {words}.",) if words and untimed(batch.times, batch.mask) else ()

    @classmethod
    def causal_presets(cls) -> tuple[str, ...]:
        """Names of the presets whose outputs ignore later events."""
        return tuple(name for name in cls.presets if cls.flags(make_config(cls, name, n_items=1)).causal)

    def not_causal(self, so: str, instead: str = "") -> str:
        """A message of a preset that is not causal: why, `so` what it cannot do, and what to do `instead`, or take."""
        takes = " or ".join(self.causal_presets())
        ways = [instead, f"take the preset {takes}" if takes else ""]
        why = f"{self.title} {self.preset} is not causal: {self.looks_ahead}, so {so}"
        return "; ".join([why, ", or ".join(way for way in ways if way)])

    def check_streams(self) -> None:
        """Raises RecblrError where the preset is not causal, so that it cannot go event by event."""
        if not self.causal:
            raise RecblrError(self.not_causal("it cannot answer event by event"))

    @property
    def preset(self) -> str:
        """Name of the preset this configuration agrees with, or "custom"."""
        for name, fields in self.presets.items():
            if all(getattr(self.config, key) == value for key, value in fields.items()):
                return name
        return "custom"

    @classmethod
    def kind(cls, config: BackboneConfig | None = None) -> str:
        """How it carries the past along, in words for a reader; with the default preset, or with these settings."""
        if not cls.learns:
            return "counting"
        if not cls.recurrent:
            return "attention"
        return "linear recurrence" if cls.unrolls else "recurrence through a nonlinearity"

    def embed(self, items: Int[Tensor, "B T"]) -> Float[Tensor, "B T d"]:
        raise NotImplementedError

    def encode(
        self, embeddings: Float[Tensor, "B T d"], mask: Bool[Tensor, "B T"], times: Int[Tensor, "B T"]
    ) -> Float[Tensor, "B T d"]:
        raise NotImplementedError

    def scores(self, hidden: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch V"]:
        """Logits by internal id; column 0 (padding) is a class only where the preset says so."""
        raise NotImplementedError

    def output_embedding(self) -> tuple[Float[Tensor, "V d"], Float[Tensor, " V"] | None]:
        """(weights, bias) such that ``scores(h) = h @ weights.T + bias``: what the chunked loss works on."""
        raise NotImplementedError

    def forward(self, batch: Batch) -> Float[Tensor, "B T d"]:
        return self.encode(self.embed(batch.items), batch.mask, batch.times)

    def answers(self, batch: Batch, wanted: Bool[Tensor, "B T"]) -> Answers:
        """What is trained; `wanted` says which events have a target. A backbone may answer for one more than once."""
        return Answers(hidden=self(batch), step=torch.arange(batch.items.shape[1], device=batch.items.device))

    def trace(self, batch: Batch) -> Trace:
        """What happened inside, for a batch; a pure function, in evaluation mode, without gradients."""
        raise NotImplementedError

    def initial_state(self, batch_size: int) -> State:
        raise NotImplementedError

    def step(
        self, state: State, items: Int[Tensor, " B"], times: Int[Tensor, " B"]
    ) -> tuple[Float[Tensor, "B d"], State]:
        """One event for each row: (hidden, new state). Equals the last step of `forward` on the whole sequence."""
        raise NotImplementedError

    def fit(self, log: InteractionLog, train_end: NDArray[np.int64]) -> SequentialBackbone:
        """Count on the training part; only for backbones that do not learn by gradients."""
        raise NotImplementedError

    def read_catalog(self, catalog: Catalog) -> None:
        """Take what the model reads of the items themselves, such as their texts; called once, before training."""

    def own_loss(
        self, hidden: Float[Tensor, "N d"], targets: Int[Tensor, " N"], weights: Float[Tensor, " N"]
    ) -> Float[Tensor, ""] | None:
        """The published loss in place of that over the whole catalogue, where a preset asks for it, else None."""
        return None

    def n_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    @classmethod
    def count_parameters(cls, config: BackboneConfig) -> int:
        """`n_parameters` of a configuration; built for it where nothing cheaper is known."""
        return cls(config).n_parameters()


def make_config(cls: type[SequentialBackbone], preset: str | None = None, **fields: Any) -> BackboneConfig:
    """Config of a backbone: its defaults, then the preset, then `fields`. Unknown names are errors."""
    name = preset or next(iter(cls.presets))
    if name not in cls.presets:
        raise ConfigError(f"{cls.name} has no preset {name!r}: choose one of {', '.join(cls.presets)}")
    known = {field.name: field for field in dataclasses.fields(cls.Config)}
    for key in fields:
        if key not in known:
            raise ConfigError(f"{cls.name} has no setting {key!r}: it has {', '.join(known)}")
    try:
        return cls.Config(**{**cls.presets[name], **fields})
    except TypeError as error:
        raise ConfigError(f"{cls.name}: {error}") from error


def last_hidden(hidden: Float[Tensor, "B T d"], lengths: Int[Tensor, " B"]) -> Float[Tensor, "B d"]:
    """Hidden state at the last real event of each row."""
    rows = torch.arange(len(hidden), device=hidden.device)
    return hidden[rows, (lengths - 1).clamp(min=0)]
