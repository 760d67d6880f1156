"""RecBole atomic files: ``name.inter`` with a header of ``field:type``, tab-separated, and an optional ``name.item``.

Source: recbole.io, "Atomic files". A log without a timestamp may carry ``order``, the position in the user's sequence.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from recblr.data.catalogs import read_items
from recblr.data.collect import collect_events
from recblr.data.columns import Columns, resolve_columns
from recblr.data.delimited import DelimitedFile
from recblr.data.formats.base import Format, beside
from recblr.data.raw import RawEvents
from recblr.errors import DataError

_TYPES = ("token", "token_seq", "float", "float_seq")


def _files(path: Path) -> tuple[Path, ...]:
    if path.is_file():
        return beside(path, f"{path.stem}.item") if path.suffix == ".inter" else ()
    found = sorted(path.glob("*.inter"))
    same_name = [one for one in found if one.stem == path.name]
    events = (same_name or found)[:1]
    return beside(events[0], f"{events[0].stem}.item") if events else ()


def _read(path: Path, columns: Columns, *, encoding: str | None = None) -> RawEvents:
    found = sorted(path.glob("*.inter")) if path.is_dir() else []
    if len(found) > 1 and all(one.stem != path.name for one in found):
        raise DataError(f"{path} holds several logs: give one file of {', '.join(one.name for one in found)}")
    events, *items = _files(path)
    table = _open(events, encoding)
    settled = resolve_columns(table.column_names, columns, source=table.name, sample=table.sample())
    item_table = read_items(_open(items[0], encoding)) if items else None
    return collect_events(table, settled, sources=(events.name, *(one.name for one in items)), item_table=item_table)


def _open(path: Path, encoding: str | None) -> DelimitedFile:
    """The file with the types taken off its header. Errors: DataError for a header without types."""
    typed = DelimitedFile(path=path, delimiter="\t", quoting=False, encoding=encoding)
    for field in typed.column_names:
        if field.rpartition(":")[2] not in _TYPES or ":" not in field:
            raise DataError(
                f"{path.name}, line 1: {field!r} is not a RecBole field: write 'name:type' with a type of "
                f"{', '.join(_TYPES)}, separated by tabs, or rename the file to .tsv"
            )
    return replace(typed, names=tuple(field.rpartition(":")[0] for field in typed.column_names), skip_header=True)


FORMAT = Format(name="recbole", title="RecBole atomic files", files=_files, read=_read)
