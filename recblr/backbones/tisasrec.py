"""TiSASRec: self-attention over places and time intervals.

    B batch, T time, L max_len, d model width, R = time_span + 1 intervals

    interval_ts = min(round(|tau_t - tau_s| / unit), time_span)
    x = Dropout(sqrt(d) E[v]);  x = block(x), see `recblr.layers.interval_attention`;  hidden = LN(x)
    scores = hidden . E;  the four tables of places and intervals are shared by the blocks

Source: Li, Wang and McAuley, WSDM 2020, doi 10.1145/3336191.3371786, and its public port to PyTorch. There a binary
cross-entropy with one negative trains it, with a penalty on the tables; here any objective of the project does.

Presets. ``reference`` is what is published: the unit is the smallest gap above zero of the whole sequence given, each
time is rounded to units before the difference, and histories are padded on the left to max_len, where real events see
the padding (the published mask hides padding as a reader, not as a source), at place 0 onwards and one unit before the
first event. Unit and places both move when an event is added, so an output depends on later events: it is not causal,
trains on the last position alone, and does not stream. ``fixed`` takes the smallest gap of the events read so far as
the unit of each reader, counts places from the oldest event, and hides padding: causal, and the same event by event.
One very small gap makes the unit small and most intervals the largest; a trace notes their share, and `unit` "seconds"
takes `unit_seconds` in its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from recblr.backbones.base import BackboneConfig, Batch, Flags, State, untimed
from recblr.backbones.tied import TiedBackbone
from recblr.errors import ConfigError, HistoryError
from recblr.layers.dropout import Dropout
from recblr.layers.elapsed import NEVER, bounded, elapsed, smallest_gap, visible_pairs
from recblr.layers.holding import LayerNorm
from recblr.layers.interval_attention import IntervalBlock, Relations
from recblr.layers.left_padding import from_left, last_step, to_left
from recblr.layers.recorder import Record, layer_trace
from recblr.trace import Trace


@dataclass(frozen=True, kw_only=True, slots=True)
class TiSASRecConfig(BackboneConfig):
    """TiSASRec's settings; defaults are the preset "fixed"."""

    heads: int = 1
    """Attention heads; must divide d."""
    time_span: int = 256
    """Largest time interval, in units; longer ones count as this."""
    unit: Literal["prefix", "seconds", "published"] = "prefix"
    """Unit of time: the smallest gap of the events read so far, `unit_seconds`, or the smallest gap of the whole
    sequence with the published padding, which is not causal."""
    unit_seconds: int = 3600
    """The unit where `unit` is "seconds"."""

    def __post_init__(self) -> None:
        BackboneConfig.__post_init__(self)
        if self.heads < 1 or self.d % self.heads:
            raise ConfigError(f"heads is {self.heads} and d is {self.d}: heads must divide d")
        if not 1 <= self.time_span <= 2**20:
            raise ConfigError(f"time_span is {self.time_span}: it must lie in 1..{2**20}")
        if self.unit not in ("prefix", "seconds", "published"):
            raise ConfigError(f"unit is {self.unit!r}: choose prefix, seconds or published")
        if self.unit_seconds < 1:
            raise ConfigError(f"unit_seconds is {self.unit_seconds}: it must be at least 1")


class TiSASRec(TiedBackbone):
    """See the module docstring."""

    Config = TiSASRecConfig
    config: TiSASRecConfig
    name = "tisasrec"
    title = "TiSASRec"
    paper = "Li et al. 2020, doi 10.1145/3336191.3371786"
    uses_time = True
    looks_ahead = "its unit of time and its places are those of the whole history"
    unrolls = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "fixed": {"unit": "prefix"},
        "reference": {"unit": "published"},
    }

    def __init__(self, config: TiSASRecConfig) -> None:
        super().__init__(config, pad_class=False)
        self.place_keys, self.place_values = (nn.Embedding(config.max_len, config.d) for _ in range(2))
        self.time_keys, self.time_values = (nn.Embedding(config.time_span + 1, config.d) for _ in range(2))
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList(
            IntervalBlock(config.d, config.heads, config.dropout) for _ in range(config.n_layers)
        )
        self.norm = LayerNorm(config.d, eps=1e-8)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        self.clear_padding_row()

    @classmethod
    def flags(cls, config: BackboneConfig) -> Flags:
        assert isinstance(config, TiSASRecConfig)
        return replace(super().flags(config), causal=config.unit != "published")

    def _blocks(self) -> list[IntervalBlock]:
        return cast("list[IntervalBlock]", list(self.layers))

    def _check_length(self, last: int) -> None:
        known = self.config.max_len
        if last > known:
            raise HistoryError(f"TiSASRec knows {known} places and was given event {last}: pass the most recent events")

    def units(self, times: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Int[Tensor, "B T"]:
        """Seconds in a unit for each reader; 1 where there is no gap above zero to go by."""
        if self.config.unit == "seconds":
            return torch.full_like(times, self.config.unit_seconds)
        smallest = smallest_gap(times)
        if not self.causal:
            smallest = smallest.gather(1, last_step(mask)).expand_as(times)
        return torch.where(smallest == NEVER, 1, smallest)

    def _intervals(self, times: Tensor, units: Tensor, sources: Tensor) -> Tensor:
        """[B, T, S] rows of the time tables; `units` [B, T] of the readers."""
        unit = units.unsqueeze(2)
        return ((elapsed(times, sources) + unit // 2) // unit).clamp(max=self.config.time_span)

    def _published_intervals(self, times: Tensor, units: Tensor, mask: Tensor) -> Tensor:
        """[B, L, L] with each time rounded first, on the left padding."""
        times = bounded(times)
        since = times - times.masked_fill(~mask, NEVER).min(dim=1, keepdim=True).values
        moments = to_left((since.double() / units).round().long() + 1, mask, self.config.max_len)
        return elapsed(moments, moments).clamp(max=self.config.time_span)

    def _relations(self, visible: Tensor, interval: Tensor) -> Relations:
        sources = visible.shape[2]
        return Relations(
            visible=visible,
            interval=interval,
            place_keys=self.dropout(self.place_keys.weight[:sources]),
            place_values=self.dropout(self.place_values.weight[:sources]),
            time_keys=self.dropout(self.time_keys.weight),
            time_values=self.dropout(self.time_values.weight),
        )

    def _run(self, embeddings: Tensor, mask: Tensor, times: Tensor, records: list[Record] | None) -> Tensor:
        """Hidden states [B, T, d], or [B, L, d] on the left padding."""
        self._check_length(embeddings.shape[1])
        units = self.units(times, mask)
        if self.causal:
            relations = self._relations(visible_pairs(mask), self._intervals(times, units, times))
        else:
            interval = self._published_intervals(times, units, mask)
            embeddings = to_left(embeddings, mask, self.config.max_len)
            mask = to_left(mask, mask, self.config.max_len)
            relations = self._relations(visible_pairs(torch.ones_like(mask)), interval)
        real = mask.unsqueeze(2)
        x = self.dropout(self.config.d**0.5 * embeddings) * real
        for n, block in enumerate(self._blocks()):
            x = block(x, relations, None if records is None else records[n]) * real
        out: Tensor = self.norm(x)
        return out

    def encode(
        self, embeddings: Float[Tensor, "B T d"], mask: Bool[Tensor, "B T"], times: Int[Tensor, "B T"]
    ) -> Float[Tensor, "B T d"]:
        hidden = self._run(embeddings, mask, times, None)
        return hidden if self.causal else from_left(hidden, mask, 1)

    @torch.no_grad()
    def trace(self, batch: Batch) -> Trace:
        records: list[Record] = [{} for _ in self.layers]
        mask = batch.mask
        hidden = self._run(self.embed(batch.items), mask, batch.times, records)
        if not self.causal:
            hidden = from_left(hidden, mask, 1)
            records = [{name: _aligned(name, value, mask) for name, value in one.items()} for one in records]
        units = self.units(batch.times, mask)
        edges = (torch.arange(self.config.time_span + 1, device=mask.device) - 0.5).clamp(min=0).double()
        for record in records:
            profile = record.pop("profile")  # [B, H, T, R]
            weight = (mask / mask.sum(dim=1, keepdim=True).clamp(min=1))[:, None, :, None]
            record["time_curve"] = (profile * weight).sum(dim=2)
            record["time_edges"] = edges * units.gather(1, last_step(mask))
        return Trace(
            backbone=self.name,
            preset=self.preset,
            items=batch.items.cpu().numpy(),
            times=batch.times.cpu().numpy(),
            layers=tuple(layer_trace(f"layer {n} · interval attention", one) for n, one in enumerate(records, 1)),
            hidden=hidden.cpu().numpy(),
            causal=self.causal,
            notes=self._notes(batch, records, units),
        )

    def _notes(self, batch: Batch, records: list[Record], units: Tensor) -> tuple[str, ...]:
        mask, span = batch.mask, self.config.time_span
        notes = ["The time curve is the mean over the events of what each interval adds to an event's scores."]
        if not self.causal:
            held = torch.stack([one["mix"].sum(dim=-1).mean(dim=1)[mask].mean() for one in records]).mean()
            notes.append(
                "Not causal: unit and places are those of the whole history, so every step has seen the times of the"
                " later ones; it cannot answer event by event. The preset fixed can."
            )
            notes.append(f"As published, events attend to padding too: {1 - float(held):.0%} of the attention.")
        if untimed(batch.times, mask):
            return (*notes, *self.untimed_notes(batch))
        pairs = visible_pairs(mask).tril(-1) & mask.unsqueeze(2)
        far = self._intervals(batch.times, units, batch.times) == span
        share = float(far[pairs].float().mean()) if bool(pairs.any()) else 0.0
        notes.append(f"{share:.0%} of the pairs of events lie {span} units or more apart and look alike in time.")
        return tuple(notes)

    def initial_state(self, batch_size: int) -> State:
        """Keys, values and times of every event: a state that grows. RecblrError where the preset is not causal."""
        self.check_streams()
        states = (block.attention.initial_state(batch_size) for block in self._blocks())
        held = {f"{n}.{key}": value for n, state in enumerate(states) for key, value in state.items()}
        return {**held, "times": torch.zeros(batch_size, 0, dtype=torch.int64, device=self.norm.weight.device)}

    def step(
        self, state: State, items: Int[Tensor, " B"], times: Int[Tensor, " B"]
    ) -> tuple[Float[Tensor, "B d"], State]:
        self.check_streams()
        known = torch.cat([state["times"], times.unsqueeze(1)], dim=1)
        self._check_length(known.shape[1])
        seen = torch.ones_like(known, dtype=torch.bool)
        units = self.units(known, seen)[:, -1:]
        relations = self._relations(seen.unsqueeze(1), self._intervals(times.unsqueeze(1), units, known))
        x = self.dropout(self.config.d**0.5 * self.embed(items.unsqueeze(1)))[:, 0]
        new: State = {"times": known}
        for n, block in enumerate(self._blocks()):
            x, own = block.step({key: state[f"{n}.{key}"] for key in ("keys", "values")}, x, relations)
            new.update({f"{n}.{key}": value for key, value in own.items()})
        return self.norm(x), new


def _aligned(name: str, value: Tensor, mask: Tensor) -> Tensor:
    """A recorded field moved from the left padding to the events."""
    if name == "out":
        return from_left(value, mask, 1)
    value = from_left(value, mask, 2)
    return from_left(value, mask, 3) if name.startswith(("mix", "score")) else value
