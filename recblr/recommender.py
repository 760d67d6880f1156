"""Ask an opened run: what comes next for this history, and what does the model hold of it?

A history is external item ids, oldest first, of any user, seen in training or not.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from recblr.backbones.base import Batch, SequentialBackbone, last_hidden
from recblr.checkpoint import Run, load_run
from recblr.errors import HistoryError
from recblr.runs import looks_like_run, resolve_run
from recblr.trace import Trace

_NAMED = 5
"""Unknown ids that a message spells out."""
_LAST_MOMENT = 2**62


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """An id of the history that the run's catalogue does not have."""

    position: int
    """Place in the history as given, from 0."""
    item: str


@dataclass(frozen=True, kw_only=True)
class History:
    """What is left of a history once it fits the model."""

    items: NDArray[np.int64]
    """[T] internal ids, the most recent max_len."""
    times: NDArray[np.int64]
    """[T] unix seconds, zero where none were given."""
    seen: NDArray[np.int64]
    """Internal ids of every known event, those left out of `items` included."""
    skipped: tuple[Skipped, ...]
    truncated: int
    """Known events older than the most recent max_len, left out."""
    has_times: bool

    def batch(self) -> Batch:
        """One row."""
        return Batch(items=torch.from_numpy(self.items)[None], times=torch.from_numpy(self.times)[None])


@dataclass(frozen=True, kw_only=True)
class Row:
    """One recommended item."""

    rank: int
    """1 = best."""
    item: str
    """External id."""
    title: str
    score: float
    """A logit: comparable within one list, not between models."""


@dataclass(frozen=True, kw_only=True)
class Recommendations:
    """The best next items for one history, and what was done to the history."""

    rows: tuple[Row, ...]
    used: int
    """Events that the model read."""
    truncated: int
    """Older events left out because the model reads max_len at most."""
    skipped: tuple[Skipped, ...]
    """Ids that the catalogue does not have."""
    notes: tuple[str, ...]
    """What differs from what was asked, and what the model had to do without, in words."""

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def frame(self) -> pd.DataFrame:
        """Columns rank, item, title, score."""
        return pd.DataFrame([asdict(row) for row in self.rows], columns=["rank", "item", "title", "score"])

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "notes": list(self.notes)}


class Recommender:
    """A run that answers in external ids."""

    def __init__(self, run: Run) -> None:
        self.run = run

    @property
    def name(self) -> str:
        return self.run.name

    def __repr__(self) -> str:
        model = self.run.model
        return f"Recommender({self.name!r}: {model.title} {model.preset}, {len(self.run.catalog) - 1} items)"

    def recommend(
        self,
        history: Sequence[str],
        k: int = 10,
        *,
        times: Sequence[int] | None = None,
        at: int | None = None,
        mask_seen: bool = True,
    ) -> Recommendations:
        """The k best next items; with `mask_seen`, none that the history already holds.

        `times` are unix seconds, one an event, never decreasing. `at` is the moment of the request, for a model that
        reads it (HSTU reference); without it, that of the last event. Unknown ids are skipped and reported.
        Raises HistoryError for an empty history, one without any known id, times that do not fit, or k < 1.
        """
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise HistoryError(f"k is {k!r}: ask for a whole number of items, at least 1")
        read, model = self.read(history, times), self.run.model
        scores = self._scores(read, at).astype(np.float64)
        scores[0] = -np.inf
        if mask_seen:
            scores[read.seen] = -np.inf
        rankable = int(np.isfinite(scores).sum())
        best = np.argsort(-scores, kind="stable")[: min(int(k), rankable)]
        catalog = self.run.catalog
        rows = tuple(
            Row(rank=rank, item=str(catalog.ids[item]), title=catalog.title(int(item)), score=float(scores[item]))
            for rank, item in enumerate(best, 1)
        )
        notes = (
            *_notes(read, model.config.max_len),
            *model.untimed_notes(read.batch()),
            *_unasked(read, at, model),
            *_clipped(int(k), rankable, mask_seen),
        )
        return Recommendations(
            rows=rows, used=len(read.items), truncated=read.truncated, skipped=read.skipped, notes=notes
        )

    def scores(
        self, history: Sequence[str], times: Sequence[int] | None = None, at: int | None = None
    ) -> Float[NDArray[np.float32], " V"]:
        """Logits of every catalogue row for the next event; row 0 is padding and no item. `at` as in `recommend`."""
        return self._scores(self.read(history, times), at)

    def trace(self, history: Sequence[str], times: Sequence[int] | None = None) -> Trace:
        """What happened inside, event by event, as a batch of one row."""
        read = self.read(history, times)
        model = self.run.model
        trace = model.trace(read.batch())
        notes = (*trace.notes, *_notes(read, model.config.max_len))
        return replace(trace, has_times=read.has_times, notes=notes)

    def read(self, history: Sequence[str], times: Sequence[int] | None = None) -> History:
        """Translate and cut a history to what the model reads; HistoryError says what is wrong with it."""
        given = _listed(history)
        moments = _moments(times, len(given))
        catalog = self.run.catalog
        example = str(catalog.ids[1])
        if not given:
            raise HistoryError(
                f"the history is empty: a model says nothing before the first event; give at least one item id, "
                f"such as {example!r}"
            )
        known, unknown = catalog.encode(given)
        skipped = tuple(Skipped(position=position, item=given[position]) for position in unknown)
        if len(known) == 0:
            raise HistoryError(
                f"none of the {len(given)} ids of the history is in the catalogue of {self.name!r} "
                f"({_names(skipped)}): its ids look like {example!r}"
            )
        keep = np.ones(len(given), dtype=bool)
        keep[unknown] = False
        limit = self.run.model.config.max_len
        return History(
            items=known[-limit:].astype(np.int64),
            times=moments[keep][-limit:],
            seen=np.unique(known).astype(np.int64),
            skipped=skipped,
            truncated=max(len(known) - limit, 0),
            has_times=times is not None,
        )

    def _scores(self, read: History, at: int | None = None) -> Float[NDArray[np.float32], " V"]:
        model, batch = self.run.model, read.batch()
        if at is not None:
            batch = batch.asked_at(torch.tensor([_request(at, read, model)]))
        with torch.inference_mode():
            scores = model.scores(last_hidden(model(batch), batch.lengths))[0]
        return np.asarray(scores.float().numpy())


def load(path_or_name: str | Path) -> Recommender:
    """Open a run by its path on this machine, or by its name below the usual roots, such as "mixed/recblr"."""
    path = Path(os.path.expanduser(path_or_name))  # unlike Path's, leaves an unknown ~name as it is
    if looks_like_run(path) or path.is_absolute() or str(path).startswith("."):
        return Recommender(load_run(path))
    return Recommender(load_run(resolve_run(path_or_name)))


def _listed(history: Sequence[str]) -> list[str]:
    if isinstance(history, str | bytes):
        raise HistoryError("the history is one text: pass a list of ids, such as history.split(',')")
    return [str(one) for one in history]


def _moments(times: Sequence[int] | None, n: int) -> NDArray[np.int64]:
    """[n] unix seconds; zero where no times are given."""
    if times is None:
        return np.zeros(n, dtype=np.int64)
    if len(times) != n:
        raise HistoryError(f"{n} events and {len(times)} times: give one time an event, or none at all")
    for position, one in enumerate(times):
        if isinstance(one, bool | np.bool_) or not isinstance(one, int | np.integer) or abs(int(one)) > _LAST_MOMENT:
            raise HistoryError(f"times[{position}] is {one!r}: give unix seconds as whole numbers")
    moments = np.array([int(one) for one in times], dtype=np.int64)
    falls = np.flatnonzero(np.diff(moments) < 0)
    if len(falls):
        at = int(falls[0]) + 1
        raise HistoryError(
            f"times[{at}] is {moments[at]}, before times[{at - 1}] = {moments[at - 1]}: give the events oldest first"
        )
    return moments


def _notes(read: History, max_len: int) -> list[str]:
    notes = []
    if read.skipped:
        notes.append(f"not in the catalogue and skipped ({len(read.skipped)} in all): {_names(read.skipped)}")
    if read.truncated:
        notes.append(f"the model reads the last {max_len} events; older ones left out: {read.truncated}")
    return notes


def _request(at: int, read: History, model: SequentialBackbone) -> int:
    """The moment of a request, where the model reads it."""
    if not model.reads_next_time:
        raise HistoryError(f"{model.title} {model.preset} does not read the moment of a request: leave `at` out")
    if not read.has_times:
        raise HistoryError(f"at is {at!r}, and the history has no times to count from: give `times` as well")
    moment = int(_moments([at], 1)[0])
    if moment < read.times[-1]:
        raise HistoryError(f"at is {at}, before the last event at {read.times[-1]}: a request follows its history")
    return moment


def _unasked(read: History, at: int | None, model: SequentialBackbone) -> list[str]:
    if at is not None or not model.reads_next_time or not read.has_times:
        return []
    return ["asked at the moment of the last event: give that of the request, `at`, which this model reads"]


def _clipped(k: int, rankable: int, mask_seen: bool) -> list[str]:
    if k <= rankable:
        return []
    why = "the catalogue without the items of the history" if mask_seen else "the catalogue"
    return [f"{k} items were asked for, {why} has {rankable}"]


def _names(skipped: Sequence[Skipped]) -> str:
    shown = ", ".join(f"{one.item!r} at {one.position}" for one in skipped[:_NAMED])
    return shown + (", ..." if len(skipped) > _NAMED else "")
