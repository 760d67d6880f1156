"""Any Parquet file of events, its columns mapped by name."""

from __future__ import annotations

from pathlib import Path

from recblr.data.collect import collect_events
from recblr.data.columns import Columns, resolve_columns
from recblr.data.formats.base import Format, only_file
from recblr.data.raw import RawEvents
from recblr.data.tables import ParquetTable

_SUFFIXES = (".parquet", ".pq")


def _files(path: Path) -> tuple[Path, ...]:
    return only_file(path, _SUFFIXES)


def _read(path: Path, columns: Columns, *, encoding: str | None = None) -> RawEvents:
    (events,) = _files(path) or (path,)
    table = ParquetTable(path=events)
    settled = resolve_columns(table.column_names, columns, source=table.name, sample=table.sample())
    return collect_events(table, settled)


FORMAT = Format(name="parquet", title="Parquet", files=_files, read=_read, any_file=True)
