"""The events of a trace in words: what happened, when, after how long a pause, and why where that is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recblr.data.log import Catalog
from recblr.figures.view import time_span

SESSION_SECONDS = 6 * 3600
"""A pause as long as this starts a new session."""


@dataclass(frozen=True, kw_only=True)
class Events:
    """T events in order; every figure of a page names its steps by these."""

    items: NDArray[np.int64]
    """[T] internal ids."""
    ids: tuple[str, ...]
    """[T] external ids."""
    titles: tuple[str, ...]
    """[T]"""
    times: NDArray[np.int64]
    """[T] unix seconds; meaningless where not `has_times`."""
    has_times: bool
    first: int = 1
    """Number of the first event here, counted in the user's whole history from 1."""
    causes: tuple[str, ...] = ()
    """[T] why the event happened, where the truth is known; else empty."""
    cause_from: tuple[int, ...] = ()
    """[T] number of the event that triggered this one, 0 for none; else empty."""

    def __len__(self) -> int:
        return len(self.items)

    @property
    def numbers(self) -> NDArray[np.int64]:
        """[T] counted in the user's whole history, from 1."""
        return np.arange(self.first, self.first + len(self))

    @property
    def last(self) -> int:
        return self.first + len(self) - 1

    def index(self, number: int) -> int:
        """Row here of an event number, clipped to the events there are."""
        return min(max(number - self.first, 0), len(self) - 1)

    def title(self, number: int) -> str:
        return self.titles[self.index(number)]

    @cached_property
    def when(self) -> tuple[str, ...]:
        """[T] such as "Tue 3 Mar 2026, 14:20", UTC; empty texts where the log has no times."""
        if not self.has_times:
            return ("",) * len(self)
        return tuple(_moment(second) for second in self.times.tolist())

    @cached_property
    def pauses(self) -> NDArray[np.float64]:
        """[T] seconds since the event before; NaN for the first, and where the log has no times."""
        pauses = np.full(len(self), np.nan)
        if self.has_times:
            pauses[1:] = np.diff(self.times)
        return pauses

    @cached_property
    def pause_texts(self) -> tuple[str, ...]:
        """[T] such as "2.3 days later"."""
        return tuple(
            "" if np.isnan(pause) else "at the same second" if pause == 0 else f"{time_span(pause)} later"
            for pause in self.pauses
        )

    @cached_property
    def session_starts(self) -> NDArray[np.bool_]:
        """[T] whether the event comes after a pause of SESSION_SECONDS or more."""
        return np.nan_to_num(self.pauses) >= SESSION_SECONDS

    def frame(self) -> pd.DataFrame:
        """One row an event."""
        columns: dict[str, object] = {"event": self.numbers, "item": self.ids, "title": self.titles}
        if self.has_times:
            columns |= {"time (UTC)": self.when, "pause": self.pause_texts}
        if self.causes:
            columns |= {"cause": self.causes, "caused by event": [source or None for source in self.cause_from]}
        return pd.DataFrame(columns)


def describe(
    items: NDArray[np.integer],
    times: NDArray[np.integer],
    catalog: Catalog,
    *,
    has_times: bool = True,
    first: int = 1,
    causes: Sequence[str] = (),
    cause_from: Sequence[int] = (),
) -> Events:
    """Events of one sequence. `items` are internal ids [T], `times` unix seconds [T]."""
    return Events(
        items=np.asarray(items, dtype=np.int64),
        ids=tuple(str(catalog.ids[item]) for item in items),
        titles=tuple(catalog.title(int(item)) for item in items),
        times=np.asarray(times, dtype=np.int64),
        has_times=has_times,
        first=first,
        causes=tuple(causes),
        cause_from=tuple(cause_from),
    )


def _moment(second: int) -> str:
    try:
        moment = datetime.fromtimestamp(second, UTC)
    except (OverflowError, ValueError, OSError):  # outside of years 1 to 9999
        return f"second {second}"
    return f"{moment:%a} {moment.day} {moment:%b %Y, %H:%M}"
