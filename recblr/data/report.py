"""What happened to the rows of a log on the way in: nothing is dropped without a line here."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from recblr.data.tables import BadRow

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PLAUSIBLE_YEARS = range(1971, 2101)


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """Rows in, rows out, and everything between."""

    name: str
    """Name of the log."""
    sources: tuple[str, ...]
    """Files read, or "frame"."""
    format: str
    """The format's name in the registry."""
    columns: Mapping[str, str]
    """Role -> column that was used."""
    guessed: tuple[str, ...]
    """Roles whose column was guessed, not given."""
    time: str
    """What the times are and how that was recognised, or what orders the events without them."""
    rows_in: int
    """Rows of the events file."""
    n_bad: int
    """Rows dropped because a cell was missing or unreadable."""
    bad_rows: tuple[BadRow, ...]
    """The first of them, at most 20."""
    duplicates: int | None
    """Rows with the same user, item and time as an earlier row; None where there is no time to compare."""
    duplicates_dropped: bool
    """Whether those were dropped."""
    k_core: int
    """Least events of a user or item; 0 keeps all."""
    k_core_mode: str
    """iterative or one-pass."""
    users_under_core: int
    """Users dropped by it."""
    items_under_core: int
    """Items dropped by it."""
    rows_under_core: int
    """Rows dropped by it."""
    ties: float
    """Share of neighbouring events of a user with the same time: the file's order decides between them."""
    rows_out: int
    """Events in the log."""
    n_users: int
    """Users in the log."""
    n_items: int
    """Items in the log."""
    one_event_users: int
    """Users with a single event: nothing can be predicted for them."""
    items_without_text: int
    """Items that the item file lacks, where there is one."""
    first_time: int | None
    """Unix seconds of the earliest event; None without times."""
    last_time: int | None
    """Unix seconds of the latest event; None without times."""
    notes: tuple[str, ...] = ()
    """What else a reader should know."""

    @property
    def span_days(self) -> float | None:
        """Days from the first to the last event."""
        if self.first_time is None or self.last_time is None:
            return None
        return (self.last_time - self.first_time) / 86400

    def lines(self) -> list[str]:
        """The report for a reader, a line a fact."""
        columns = ", ".join(f"{role} = {column}" for role, column in self.columns.items())
        guessed = f" (guessed: {', '.join(self.guessed)}; --columns.ROLE NAME overrides)" if self.guessed else ""
        return [
            f"{self.name}: {self.format}, from {', '.join(self.sources)}",
            f"columns: {columns}{guessed}",
            f"times: {self.time}{self._span()}",
            f"rows in: {self.rows_in:,}",
            f"bad rows dropped: {self.n_bad:,}",
            *(f"  {bad}" for bad in self.bad_rows),
            *([f"  and {self.n_bad - len(self.bad_rows):,} more"] if self.n_bad > len(self.bad_rows) else []),
            self._duplicates(),
            self._core(),
            f"rows out: {self.rows_out:,}",
            f"users: {self.n_users:,} ({self.one_event_users:,} with a single event)",
            f"items: {self.n_items:,}"
            + (f" ({self.items_without_text:,} without text)" if self.items_without_text else ""),
            *([f"ties in time: {self.ties:.1%} of neighbouring events, ordered as in the file"] if self._timed else []),
            *(f"note: {note}" for note in self.notes),
        ]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        plain["columns"] = dict(self.columns)
        plain["bad_rows"] = [{"place": bad.place, "reason": bad.reason} for bad in self.bad_rows]
        for name in ("sources", "guessed", "notes"):
            plain[name] = list(plain[name])
        return {**plain, "span_days": self.span_days}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> LoadReport:
        """The report that `as_dict` came from."""
        fields = {name: value for name, value in plain.items() if name != "span_days"}
        for name in ("sources", "guessed", "notes"):
            fields[name] = tuple(fields[name])
        return cls(**{**fields, "bad_rows": tuple(BadRow(**bad) for bad in fields["bad_rows"])})

    @property
    def _timed(self) -> bool:
        return self.first_time is not None

    def _span(self) -> str:
        if self.first_time is None or self.last_time is None or self.span_days is None:
            return ""
        return f"; {day(self.first_time)} to {day(self.last_time)} ({self.span_days:,.1f} days)"

    def _duplicates(self) -> str:
        if self.duplicates is None:
            return "exact duplicates: not counted, since there is no time to tell a repeat from a duplicate"
        fate = "dropped" if self.duplicates_dropped else "kept"
        return f"exact duplicates (user, item, time): {self.duplicates:,}, {fate}"

    def _core(self) -> str:
        if self.k_core <= 1:
            return "core: none, every user and item is kept"
        return (
            f"{self.k_core}-core ({self.k_core_mode}): {self.users_under_core:,} users, {self.items_under_core:,} "
            f"items and {self.rows_under_core:,} rows under it dropped"
        )


def day(seconds: int) -> str:
    """Unix seconds as a date (UTC), or as seconds where no calendar has that year."""
    try:
        return (_EPOCH + timedelta(seconds=seconds)).date().isoformat()
    except OverflowError:
        return f"{seconds} s"


def time_notes(first_time: int, last_time: int) -> tuple[str, ...]:
    """A word of doubt about times that no log of this field has."""
    days = (day(first_time), day(last_time))
    if all(text[:4].isdigit() and text[4] == "-" and int(text[:4]) in _PLAUSIBLE_YEARS for text in days):
        return ()
    return (
        f"the times run from {days[0]} to {days[1]}, outside 1971-2100: is this the time column, and its unit right? "
        "(--columns.time NAME, --time-unit s|ms|us|ns)",
    )
