"""The project's own logs: ``events.parquet`` (user, item, timestamp) and ``items.parquet`` (id, title, ...)."""

from __future__ import annotations

from pathlib import Path

from recblr.data.catalogs import read_items
from recblr.data.collect import collect_events
from recblr.data.columns import Columns, resolve_columns
from recblr.data.formats.base import Format, beside, file_in
from recblr.data.raw import RawEvents
from recblr.data.tables import ParquetTable


def _files(path: Path) -> tuple[Path, ...]:
    events = file_in(path, "events.parquet")
    return () if events is None else beside(events, "items.parquet")


def _read(path: Path, columns: Columns, *, encoding: str | None = None) -> RawEvents:
    events, *items = _files(path)
    table = ParquetTable(path=events)
    settled = resolve_columns(table.column_names, columns, source=table.name, sample=table.sample())
    item_table = read_items(ParquetTable(path=items[0])) if items else None
    return collect_events(table, settled, sources=(events.name, *(one.name for one in items)), item_table=item_table)


FORMAT = Format(name="sample", title="events.parquet and items.parquet", files=_files, read=_read)
