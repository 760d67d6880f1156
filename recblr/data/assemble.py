"""`RawEvents` -> `InteractionLog`: order, duplicates, core, internal ids, CSR; no loop over events."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from recblr.data.catalogs import build_catalog
from recblr.data.columns import Columns
from recblr.data.core import CoreMode, count, k_core
from recblr.data.log import InteractionLog
from recblr.data.raw import Ids, RawEvents
from recblr.data.report import LoadReport, time_notes
from recblr.data.times import PER_SECOND, UNIT_NAMES, Moments, TimeUnit, recognise_unit, whole_seconds
from recblr.errors import ConfigError, DataError


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """How a log is put together."""

    name: str
    """Name of the log."""
    format: str = "frame"
    """Name of the format, for the report."""
    given: Columns = field(default_factory=Columns)
    """The columns that the reader asked for; the others were guessed."""
    k_core: int = 0
    """Least events of a user or item; 0 keeps all."""
    k_core_mode: CoreMode = "iterative"
    """iterative: until none is under it. one-pass: once."""
    drop_duplicates: bool = False
    """Drop rows with the same user, item and time as an earlier one."""
    time_unit: TimeUnit | None = None
    """Unit of numeric times; None recognises it by magnitude."""


@dataclass
class _Events:
    """Events sorted by (user, moment, original row); users and items are ranks of their external ids."""

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    moments: Moments | None

    def take(self, keep: NDArray[np.bool_]) -> None:
        self.users, self.items = self.users[keep], self.items[keep]
        self.moments = None if self.moments is None else self.moments[keep]


def assemble(raw: RawEvents, how: Assembly) -> tuple[InteractionLog, LoadReport]:
    """The log and the report of what became of every row.

    Errors: DataError when duplicates are to be dropped without times, or when no event is left in the core; ConfigError
    for an option out of range.
    """
    if how.time_unit is not None and how.time_unit not in PER_SECOND:
        raise ConfigError(f"time_unit is {how.time_unit!r}: choose one of {', '.join(PER_SECOND)}")
    user_names, user_ranks = _ranked(raw.users)
    item_names, item_ranks = _ranked(raw.items)
    events = _sorted(user_ranks[raw.users.codes], item_ranks[raw.items.codes], raw.moments)
    raw = raw.without_events()  # a third of the memory at the peak
    fate = _drop(events, raw, how, len(user_names), len(item_names))
    times, time_text = _seconds(events, raw, how)
    ties = _tie_share(events) if raw.has_times else 0.0
    offsets, users = _grouped(events.users, user_names)
    items, kept_items = _renumbered(events.items, item_names)
    catalog, without_text = build_catalog(kept_items, raw.item_table)
    log = InteractionLog(
        name=how.name, items=items, times=times, offsets=offsets, users=users, catalog=catalog, has_times=raw.has_times
    )
    return log, _report(log, raw, how, fate, time_text, ties, without_text)


@dataclass(frozen=True)
class _Fate:
    """Rows, users and items that were found or dropped between the file and the log."""

    duplicates: int | None
    users_under_core: int
    items_under_core: int
    rows_under_core: int


def _drop(events: _Events, raw: RawEvents, how: Assembly, n_users: int, n_items: int) -> _Fate:
    """Take duplicates, where asked, and then everything under the core out of `events`."""
    repeated = _repeats(events) if raw.has_times else None
    if how.drop_duplicates:
        if repeated is None:
            raise DataError(f"{raw.sources[0]}: duplicates cannot be told from repeats without times: keep them")
        events.take(~repeated)
    n_events = len(events.users)
    keep = k_core(events.users, events.items, how.k_core, how.k_core_mode)
    if not keep.all():
        events.take(keep)
    if len(events.users) == 0:
        raise DataError(f"{raw.sources[0]}: no event is left in the {how.k_core}-core: lower k_core (--k-core)")
    return _Fate(
        duplicates=None if repeated is None else int(repeated.sum()),
        users_under_core=n_users - _distinct(events.users),
        items_under_core=n_items - _distinct(events.items),
        rows_under_core=n_events - len(events.users),
    )


def _ranked(ids: Ids) -> tuple[NDArray[np.str_], NDArray[np.int32]]:
    """(external ids in use, sorted: by number when all are whole numbers, else as text; [n] rank of each code)."""
    used = np.flatnonzero(count(ids.codes, len(ids.names)))
    names = ids.names[used]
    whole = bool(np.char.isdecimal(names).all()) and names.dtype.itemsize <= 18 * 4
    order = np.lexsort((names, names.astype(np.int64))) if whole else np.argsort(names, kind="stable")
    ranks = np.zeros(len(ids.names), dtype=np.int32)
    ranks[used[order]] = np.arange(len(used), dtype=np.int32)
    return names[order], ranks


def _sorted(users: NDArray[np.int32], items: NDArray[np.int32], moments: Moments | None) -> _Events:
    """Both sorts are stable, so events with the same user and moment keep the order of the file."""
    order = np.argsort(users, kind="stable") if moments is None else np.lexsort((moments, users))
    return _Events(users=users[order], items=items[order], moments=None if moments is None else moments[order])


def _same_moment(events: _Events) -> NDArray[np.bool_]:
    """[N] whether an event has the user and moment of the one before it."""
    same = np.zeros(len(events.users), dtype=bool)
    if events.moments is not None:
        same[1:] = (events.users[1:] == events.users[:-1]) & (events.moments[1:] == events.moments[:-1])
    return same


def _repeats(events: _Events) -> NDArray[np.bool_]:
    """[N] whether an event has the user, moment and item of an earlier one. Only runs of ties are sorted again."""
    same = _same_moment(events)
    tied = np.flatnonzero(same | np.append(same[1:], False))
    run = np.cumsum(~same[tied])  # a run of ties starts with the one event that is not tied to the one before it
    order = np.lexsort((events.items[tied], run))
    tied, run = tied[order], run[order]
    again = (run[1:] == run[:-1]) & (events.items[tied[1:]] == events.items[tied[:-1]])
    repeated = np.zeros(len(same), dtype=bool)
    repeated[tied[1:][again]] = True
    return repeated


def _tie_share(events: _Events) -> float:
    pairs = len(events.users) - _distinct(events.users)
    return float(_same_moment(events).sum() / pairs) if pairs else 0.0


def _seconds(events: _Events, raw: RawEvents, how: Assembly) -> tuple[NDArray[np.int64], str]:
    """([N] unix seconds, what the times are and how that was recognised)."""
    if not raw.has_times or events.moments is None:
        by = f"ordered by {raw.columns.order!r}" if raw.columns.order else "kept in the order of the file"
        return np.zeros(len(events.users), dtype=np.int64), f"none; each user's events are {by}"
    if raw.time_unit is None:
        unit, text = recognise_unit(events.moments)
        if how.time_unit is not None:
            unit, text = how.time_unit, f"unix {UNIT_NAMES[how.time_unit]}, as given"
        return whole_seconds(events.moments, unit), text
    if how.time_unit is not None:
        raise DataError(f"{raw.sources[0]}: time_unit is {how.time_unit!r}, but its times are dates: leave it out")
    return whole_seconds(events.moments, raw.time_unit), "dates; those without a zone are read as UTC"


def _grouped(users: NDArray[np.int32], names: NDArray[np.str_]) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """(offsets [U+1], external ids [U]) of the users that still have an event."""
    counts = count(users, len(names))
    present = counts > 0
    return np.concatenate([[0], np.cumsum(counts[present])]).astype(np.int64), names[present]


def _renumbered(items: NDArray[np.int32], names: NDArray[np.str_]) -> tuple[NDArray[np.int32], NDArray[np.str_]]:
    """(internal ids [N] from 1, external ids of the items that still have an event, in the same order)."""
    present = count(items, len(names)) > 0
    return np.cumsum(present, dtype=np.int32)[items], names[present]


def _distinct(codes: NDArray[np.int32]) -> int:
    return int(np.count_nonzero(count(codes, int(codes.max(initial=-1)) + 1)))


def _report(
    log: InteractionLog, raw: RawEvents, how: Assembly, fate: _Fate, time_text: str, ties: float, without_text: int
) -> LoadReport:
    first, last = (int(log.times.min()), int(log.times.max())) if log.has_times else (None, None)
    return LoadReport(
        name=how.name,
        sources=raw.sources,
        format=how.format,
        columns=raw.columns.used(),
        guessed=tuple(role for role in raw.columns.used() if getattr(how.given, role) is None),
        time=time_text,
        rows_in=raw.rows_in,
        n_bad=raw.n_bad,
        bad_rows=raw.bad_rows,
        duplicates=fate.duplicates,
        duplicates_dropped=how.drop_duplicates,
        k_core=how.k_core,
        k_core_mode=how.k_core_mode,
        users_under_core=fate.users_under_core,
        items_under_core=fate.items_under_core,
        rows_under_core=fate.rows_under_core,
        ties=ties,
        rows_out=log.n_events,
        n_users=log.n_users,
        n_items=log.catalog.n_items,
        one_event_users=int((log.lengths() == 1).sum()),
        items_without_text=without_text,
        first_time=first,
        last_time=last,
        notes=raw.notes + (time_notes(first, last) if first is not None and last is not None else ()),
    )
