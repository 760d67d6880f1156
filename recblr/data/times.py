"""Times of a log, whatever they are written as: numbers of some unit, ISO 8601 text, or typed dates.

Cells are kept at their full resolution until the events are in order; only then are they cut to whole seconds.
The unit of plain numbers is recognised by magnitude (today is 1.8e9 s, 1.8e12 ms, 1.8e15 us, 1.8e18 ns).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recblr.errors import DataError

TimeUnit = Literal["s", "ms", "us", "ns"]
PER_SECOND: dict[str, int] = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
Moments = NDArray[np.int64] | NDArray[np.float64]


@dataclass
class TimeColumn:
    """Cells of one time column as numbers, batch after batch; the first batch with a readable cell says which kind."""

    unit: str | None = None
    """Known unit, from the column's type or from the reader; None is recognised at the end."""
    kind: Literal["numbers", "text", "typed"] | None = None
    _parts: list[Moments] = field(default_factory=list)

    def parse(self, cells: pa.Array, *, column: str, source: str) -> tuple[Moments, NDArray[np.bool_]]:
        """(values [n], bad [n]): a bad cell is missing or does not read as this column's kind; its value is 0.

        Errors: DataError for a type that is no time, such as a list.
        """
        if pa.types.is_dictionary(cells.type):
            return self._parse_words(cells, column=column, source=source)
        if pa.types.is_date(cells.type):
            cells = cells.cast(pa.timestamp("s"))
        if pa.types.is_timestamp(cells.type):
            self.kind, self.unit = "typed", cells.type.unit
            return _numbers(cells.cast(pa.int64()))
        if pa.types.is_integer(cells.type) or pa.types.is_floating(cells.type) or pa.types.is_decimal(cells.type):
            self.kind = "numbers"
            return _numbers(cells if pa.types.is_integer(cells.type) else cells.cast(pa.float64()))
        if pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type) or pa.types.is_null(cells.type):
            return self._parse_text(pc.utf8_trim_whitespace(cells.cast(pa.string())))
        raise DataError(f"{source}: column {column!r} holds {cells.type}, which is no time: map another column as time")

    def keep(self, values: Moments) -> None:
        """Add a batch's usable values."""
        self._parts.append(values)

    def finish(self) -> Moments:
        """All values kept: int64, or float64 where a cell has a fraction."""
        parts, self._parts = self._parts, []
        if all(part.dtype.kind == "i" for part in parts):
            return np.concatenate([np.zeros(0, np.int64), *parts]).astype(np.int64, copy=False)
        return np.concatenate(parts).astype(np.float64, copy=False)

    def reason(self, cell: object, what: str = "time") -> str:
        """Why a cell is bad."""
        if cell is None or not str(cell).strip():
            return f"the {what} is missing"
        wanted = {"numbers": "not a number", "text": "not an ISO 8601 date or time"}
        return f"the {what} {str(cell)!r} is {wanted.get(self.kind or '', 'neither a number nor an ISO 8601 date')}"

    def _parse_words(self, cells: pa.DictionaryArray, *, column: str, source: str) -> tuple[Moments, NDArray[np.bool_]]:
        """Each distinct cell is read once: times repeat, and a batch's dictionary is shorter than the batch."""
        values, bad = self.parse(cells.dictionary, column=column, source=source)
        if len(values) == 0:
            return np.zeros(len(cells), np.int64), np.ones(len(cells), bool)
        missing = cells.indices.is_null().to_numpy(zero_copy_only=False)
        rows = cells.indices.fill_null(0).to_numpy()
        return np.where(missing, 0, values[rows]), missing | bad[rows]

    def _parse_text(self, cells: pa.Array) -> tuple[Moments, NDArray[np.bool_]]:
        if self.kind is None:
            numbers = _text_numbers(cells)
            if 2 * numbers[1].sum() >= len(cells):
                dates = _text_dates(cells)
                if numbers[1].all() and dates[1].all():
                    return numbers
                self.kind = "text" if dates[1].sum() < numbers[1].sum() else "numbers"
            else:
                self.kind = "numbers"
        if self.kind == "text":
            self.unit = "ns"
            return _text_dates(cells)
        return _text_numbers(cells)


def recognise_unit(moments: Moments) -> tuple[str, str]:
    """(unit, how it was recognised) of plain numbers: "s", "ms", "us", "ns" or "day" (dates such as 20240131)."""
    some = np.abs(moments[:: max(1, len(moments) // 1_000_000)])
    if len(some) == 0:
        return "s", "no time to recognise"
    if _are_calendar_days(some):
        return "day", "dates written YYYYMMDD"
    middle = float(np.median(some))
    unit = next((unit for unit, limit in (("s", 1e11), ("ms", 1e14), ("us", 1e17)) if middle < limit), "ns")
    return unit, f"unix {UNIT_NAMES[unit]}, recognised by magnitude"


def whole_seconds(moments: Moments, unit: str) -> NDArray[np.int64]:
    """Unix seconds, rounded down."""
    if unit == "day":
        days = moments.astype(np.int64)
        text = np.char.add(
            np.char.add((days // 10000).astype(str), "-"), np.char.zfill((days // 100 % 100).astype(str), 2)
        )
        text = np.char.add(np.char.add(text, "-"), np.char.zfill((days % 100).astype(str), 2))
        return text.astype("datetime64[s]").astype(np.int64)
    if moments.dtype.kind == "i":
        whole = moments.astype(np.int64, copy=False)
        return whole if unit == "s" else whole // PER_SECOND[unit]
    return np.floor(moments / PER_SECOND[unit]).astype(np.int64)


def _are_calendar_days(values: Moments) -> bool:
    if values.min() < 19000101 or values.max() > 21001231 or (values != np.floor(values)).any():
        return False
    days = values.astype(np.int64)
    month, day = days // 100 % 100, days % 100
    return bool(((month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)).all())


def _numbers(cells: pa.Array) -> tuple[Moments, NDArray[np.bool_]]:
    missing = cells.is_null().to_numpy(zero_copy_only=False)
    values = cells.fill_null(0).to_numpy(zero_copy_only=False)
    if values.dtype.kind == "f":
        bad = missing | ~(np.abs(values) < 2**62)
        values = np.where(bad, 0, values)
        if (values == np.floor(values)).all() and (np.abs(values) < 2**53).all():
            values = values.astype(np.int64)
        return values, bad
    return values.astype(np.int64, copy=False), missing


def _text_numbers(cells: pa.Array) -> tuple[Moments, NDArray[np.bool_]]:
    for texts in (cells, pc.if_else(pc.match_substring_regex(cells, _NUMBER), cells, None)):
        for kind in (pa.int64(), pa.float64()):
            try:
                return _numbers(texts.cast(kind))
            except pa.ArrowInvalid:
                continue  # a fraction, or a bad cell: the next form takes it
    raise AssertionError("a text that matches a number casts to one")


def _text_dates(cells: pa.Array) -> tuple[Moments, NDArray[np.bool_]]:
    for kind in (pa.timestamp("ns"), pa.timestamp("ns", tz="UTC")):
        try:
            return _numbers(cells.cast(kind).cast(pa.int64()))
        except pa.ArrowInvalid:
            continue  # a bad cell, or zones in some: the slower reader below takes each cell for itself
    read = pd.to_datetime(pd.Series(cells.to_pylist()), format="ISO8601", utc=True, errors="coerce")
    read = read.where(read.dt.year.between(1678, 2261))  # the years that int64 nanoseconds hold
    bad = read.isna().to_numpy()
    return np.where(bad, 0, read.dt.as_unit("ns").astype("int64").to_numpy()), bad
