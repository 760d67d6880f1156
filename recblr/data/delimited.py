"""Delimited text (CSV, TSV, ``::``) as a table: pyarrow's C parser over one block of lines at a time."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv as arrow_csv

from recblr.data.columns import known_column
from recblr.data.tables import Batch
from recblr.data.text_blocks import BLOCK_BYTES, Block, check_is_text, first_lines, not_utf8, text_blocks
from recblr.errors import DataError

_SEPARATOR = "\x1f"
"""Stands in for a delimiter of two characters, which the C parser does not take."""
_DELIMITERS = (",", "\t", ";", "|", " ")


@dataclass(frozen=True, kw_only=True)
class DelimitedFile:
    """A text file of rows."""

    path: Path
    delimiter: str = ","
    quoting: bool = True
    """Double quotes may hold delimiters and line breaks."""
    names: tuple[str, ...] | None = None
    """Column names; None reads them from the first line."""
    skip_header: bool = False
    """With `names`: the first line is a header all the same."""
    encoding: str | None = None
    """None reads UTF-8."""
    block_bytes: int = BLOCK_BYTES

    def __post_init__(self) -> None:
        check_is_text(self.path, self.encoding)

    @property
    def name(self) -> str:
        return self.path.name

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        return self.names or tuple(cell.strip() for cell in self._rows[0])

    @cached_property
    def estimated_rows(self) -> int:
        lines = first_lines(self.path, self.encoding)
        mean = max(2.0, sum(len(line) + 1 for line in lines) / len(lines))
        return int(self.path.stat().st_size / mean) + 1

    def sample(self) -> list[list[str]]:
        return self._rows[self._has_header :][:20]

    @property
    def _has_header(self) -> bool:
        return self.names is None or self.skip_header

    def batches(self, use: Sequence[str]) -> Iterator[Batch]:
        skip = self._has_header
        blocks = text_blocks(self.path, encoding=self.encoding, quoting=self.quoting, block_bytes=self.block_bytes)
        for block in blocks:
            if skip:
                block, skip = _without_header(block)
            if block.data.strip():
                yield self._parse(block, use)

    @cached_property
    def _rows(self) -> list[list[str]]:
        lines = [line for line in first_lines(self.path, self.encoding) if line.strip()][:21]
        return split_lines(lines, self.delimiter, self.quoting)

    def _parse(self, block: Block, use: Sequence[str]) -> Batch:
        wanted = {name: f"c{self.column_names.index(name)}" for name in use}
        ragged: list[tuple[int, str]] = []

        def note(row: Any) -> str:
            ragged.append((row.number - 1, _ragged_reason(row)))
            return "skip"

        try:
            table = self._parse_cells(block.data, list(wanted.values()), note)
        except pa.ArrowInvalid as error:
            raise not_utf8(self.name, block) from error
        lines = _RecordLines(block, self.quoting)
        return Batch(
            columns={name: _one_chunk(table.column(column)) for name, column in wanted.items()},
            n_rows=table.num_rows,
            place=lambda record: f"{self.name}:{lines[record]}",
            ragged=tuple(ragged),
        )

    def _parse_cells(self, data: bytes, columns: list[str], on_ragged: Callable[[Any], str]) -> pa.Table:
        """Cells as text; column number 3 is called c3, so that names may repeat."""
        delimiter = self.delimiter
        if len(delimiter) > 1:
            data, delimiter = data.replace(delimiter.encode(), _SEPARATOR.encode()), _SEPARATOR
        return arrow_csv.read_csv(
            pa.BufferReader(data),
            read_options=arrow_csv.ReadOptions(
                # One thread, one block: the parser then knows the number of a ragged row.
                use_threads=False,
                block_size=len(data) + 1,
                column_names=[f"c{position}" for position in range(len(self.column_names))],
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=delimiter,
                quote_char='"' if self.quoting else False,
                newlines_in_values=self.quoting,
                invalid_row_handler=on_ragged,
            ),
            convert_options=arrow_csv.ConvertOptions(
                include_columns=columns,
                column_types=dict.fromkeys(columns, pa.string()),
                strings_can_be_null=False,
            ),
        )


def sniff(path: Path, encoding: str | None = None) -> DelimitedFile:
    """The delimiter and the presence of a header, from the first lines."""
    check_is_text(path, encoding)
    lines = [line for line in first_lines(path, encoding) if line.strip()][:21]
    delimiter = max(_DELIMITERS, key=lambda one: _regularity(lines, one))
    rows = split_lines(lines, delimiter, quoting=True)
    names = None if _is_header(rows) else tuple(f"column{number + 1}" for number in range(len(rows[0])))
    return DelimitedFile(path=path, delimiter=delimiter, names=names, encoding=encoding)


def split_lines(lines: Sequence[str], delimiter: str, quoting: bool = True) -> list[list[str]]:
    """A few lines as cells; the C parser reads the rest."""
    if len(delimiter) > 1:
        return [line.split(delimiter) for line in lines]
    return list(csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoting else csv.QUOTE_NONE))


class _RecordLines:
    """Record number in a block -> line number in the file; worked out only when a bad row asks for it."""

    def __init__(self, block: Block, quoting: bool) -> None:
        self._block, self._quoting = block, quoting

    def __getitem__(self, record: int) -> int:
        return self._block.first_line + int(self._starts[record])

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        """Line number, from 0, of the first line of each record."""
        cells = np.frombuffer(self._block.data, dtype=np.uint8)
        breaks = np.flatnonzero(cells == ord("\n"))
        ends = breaks
        if self._quoting and b'"' in self._block.data:
            ends = breaks[np.cumsum(cells == ord('"'), dtype=np.int64)[breaks] % 2 == 0]
        starts = np.concatenate([[0], ends + 1])
        stops = np.append(ends, len(cells))
        lengths = stops - starts
        # The parser skips blank lines, so they are no records; `\r` alone is a blank line of Windows.
        only_return = (lengths == 1) & (cells[np.minimum(starts, len(cells) - 1)] == ord("\r"))
        first_lines_of: NDArray[np.int64] = np.searchsorted(breaks, starts[(lengths > 0) & ~only_return])
        return first_lines_of


def _without_header(block: Block) -> tuple[Block, bool]:
    """The block after its first line that is not blank, and whether the header is still to come."""
    data, line = block.data, block.first_line
    while data:
        first, _, data = data.partition(b"\n")
        line += 1
        if first.strip():
            return Block(data=data, first_line=line), False
    return Block(data=b"", first_line=line), True


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole


def _ragged_reason(row: Any) -> str:
    reason = f"{row.actual_columns} cells where the table has {row.expected_columns}"
    breaks = row.text.count("\n")
    return reason + (f"; a double quote opens here and runs over {breaks} lines" if breaks else "")


def _regularity(lines: Sequence[str], delimiter: str) -> tuple[float, int, int]:
    """More is better: the share of lines with the usual number of cells, that number, and the commoner delimiter."""
    counts = [len(row) for row in split_lines(lines, delimiter)]
    usual = max(set(counts), key=counts.count)
    share = counts.count(usual) / len(counts) if usual > 1 else 0.0
    return share, usual, -_DELIMITERS.index(delimiter)


def _is_header(rows: Sequence[Sequence[str]]) -> bool:
    first = [cell.strip() for cell in rows[0]]
    if known_column(first):
        return True
    return not any(_is_number(cell) for cell in first) and any(_is_number(cell) for row in rows[1:] for cell in row)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def require_columns(path: Path, names: Sequence[str]) -> None:
    """Errors: DataError when a table has one column only, so no user and item can stand in it."""
    if len(names) < 2:
        raise DataError(
            f"{path.name}, line 1: one column only ({names[0]!r}); a log needs a user and an item, "
            "separated by a comma, tab, semicolon, bar or space"
        )
