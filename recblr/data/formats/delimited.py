"""Any text table of events (CSV, TSV, or separated by ``;``, ``|`` or blanks), with or without a header line."""

from __future__ import annotations

from pathlib import Path

from recblr.data.collect import collect_events
from recblr.data.columns import Columns, resolve_columns
from recblr.data.delimited import require_columns, sniff
from recblr.data.formats.base import Format, only_file
from recblr.data.raw import RawEvents

_SUFFIXES = (".csv", ".tsv", ".txt", ".dat", ".data", ".tab")


def _files(path: Path) -> tuple[Path, ...]:
    return only_file(path, _SUFFIXES)


def _read(path: Path, columns: Columns, *, encoding: str | None = None) -> RawEvents:
    (events,) = _files(path) or (path,)
    table = sniff(events, encoding)
    require_columns(events, table.column_names)
    settled = resolve_columns(
        table.column_names, columns, source=table.name, sample=table.sample(), positional=table.names is not None
    )
    return collect_events(table, settled)


FORMAT = Format(name="delimited", title="CSV, TSV or other text table", files=_files, read=_read, any_file=True)
