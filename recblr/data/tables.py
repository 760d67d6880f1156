"""One view of every table of events, whatever file it comes from: named columns, in batches of rows.

A batch knows where its rows stand in the source, so that a bad cell can be named by file and line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recblr.errors import DataError


@dataclass(frozen=True, kw_only=True)
class BadRow:
    """A row that could not be used."""

    place: str
    """File and line, such as ``ratings.csv:17``."""
    reason: str
    """What is wrong with it."""

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Consecutive rows of a table."""

    columns: Mapping[str, pa.Array]
    """Column name -> its cells, all of one length."""
    n_rows: int
    """Rows that could be split into cells."""
    place: Callable[[int], str]
    """Number of a record in this batch (from 0, ragged ones included) -> file and line."""
    ragged: tuple[tuple[int, str], ...] = ()
    """(record number, reason) of the rows with too few or too many cells; they are not in `columns`."""

    def record_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Row numbers in `columns` -> record numbers, which count the ragged rows too."""
        if not self.ragged:
            return rows
        ragged = {number for number, _ in self.ragged}
        whole = np.setdiff1d(np.arange(self.n_rows + len(ragged)), np.fromiter(ragged, np.int64))
        return whole[rows]


class Table(Protocol):
    """What a reader of events needs of a source."""

    @property
    def name(self) -> str:
        """The source in messages: a file name, or "frame"."""

    @property
    def column_names(self) -> tuple[str, ...]: ...

    @property
    def estimated_rows(self) -> int:
        """Rows, exact or guessed from the size of the file."""

    def sample(self) -> list[list[str]]:
        """The first rows as text, to guess columns by."""

    def batches(self, use: Sequence[str]) -> Iterator[Batch]:
        """All rows in order, with the columns in `use`."""


@dataclass(frozen=True, kw_only=True)
class ArrowTable:
    """A table already in memory, such as a data frame."""

    name: str
    table: pa.Table
    first_row: int = 0
    """Number of the first row in messages."""

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(self.table.column_names)

    @property
    def estimated_rows(self) -> int:
        return int(self.table.num_rows)

    def sample(self) -> list[list[str]]:
        return sample_text(self.table.slice(0, 20))

    def batches(self, use: Sequence[str]) -> Iterator[Batch]:
        start = self.first_row
        for part in self.table.select(list(use)).to_batches():
            yield numbered_batch(part, self.name, start)
            start += part.num_rows


@dataclass(frozen=True, kw_only=True)
class ParquetTable:
    """A Parquet file, one group of rows at a time."""

    path: Path
    batch_rows: int = 1 << 20

    @property
    def name(self) -> str:
        return self.path.name

    @cached_property
    def _file(self) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(self.path)
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"{self.path.name} is not a Parquet file, or a damaged one: {error}") from error

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(self._file.schema_arrow.names)

    @property
    def estimated_rows(self) -> int:
        return int(self._file.metadata.num_rows)

    def sample(self) -> list[list[str]]:
        try:
            first = next(self._file.iter_batches(batch_size=20), None)
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"{self.name}, row 0: damaged Parquet file: {error}") from error
        return [] if first is None else sample_text(pa.Table.from_batches([first]))

    def batches(self, use: Sequence[str]) -> Iterator[Batch]:
        start = 0
        try:
            for part in self._file.iter_batches(batch_size=self.batch_rows, columns=list(use)):
                yield numbered_batch(part, self.name, start)
                start += part.num_rows
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"{self.name}, after row {start:,}: damaged Parquet file: {error}") from error


def numbered_batch(part: pa.RecordBatch, name: str, start: int) -> Batch:
    """A batch whose rows are named by their number in the whole table, since the source has no lines."""
    return Batch(
        columns=dict(zip(part.schema.names, part.columns, strict=True)),
        n_rows=part.num_rows,
        place=lambda record: f"{name} row {start + record}",
    )


def sample_text(table: pa.Table) -> list[list[str]]:
    """Rows of a small table as text."""
    columns = [[_text(cell) for cell in column.to_pylist()] for column in table.columns]
    return [list(row) for row in zip(*columns, strict=True)]


def read_whole(table: Table) -> dict[str, list[str]]:
    """Every column of a small table as text, ragged rows left out. For catalogues, never for events."""
    texts: dict[str, list[str]] = {name: [] for name in table.column_names}
    for batch in table.batches(table.column_names):
        for name, cells in batch.columns.items():
            texts[name] += [_text(cell) for cell in cells.to_pylist()]
    return texts


def as_text(cells: pa.Array, *, column: str, source: str) -> pa.DictionaryArray:
    """Ids or titles of any type as a dictionary array of text; whole numbers kept as floats lose their ``.0``.

    Errors: DataError for a type that is no id, such as a list.
    """
    if pa.types.is_floating(cells.type):
        cells = pc.if_else(pc.is_nan(cells), None, cells)
    if not pa.types.is_dictionary(cells.type):
        try:
            cells = cells.dictionary_encode()
        except pa.ArrowNotImplementedError as error:
            raise DataError(f"{source}: column {column!r} holds {cells.type}, which is no id or text") from error
    words = cells.dictionary
    if pa.types.is_floating(words.type):
        numbers = words.to_numpy(zero_copy_only=False)
        if np.isfinite(numbers).all() and (numbers == np.floor(numbers)).all() and (np.abs(numbers) < 2**63).all():
            words = words.cast(pa.int64())
    if pa.types.is_binary(words.type) or pa.types.is_large_binary(words.type):
        words = pa.array([_text(word) for word in words.to_pylist()], pa.string())
    return pa.DictionaryArray.from_arrays(cells.indices.cast(pa.int32()), words.cast(pa.string()))


def _text(cell: Any) -> str:
    if isinstance(cell, bytes):
        return cell.decode(errors="replace")
    return "" if cell is None else str(cell)
