"""MovieLens 100k: ``u.data`` (user, item, rating, time by tabs) and ``u.item`` (id|title|date|..|19 genre flags)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from recblr.data.catalogs import read_items, text_encoding
from recblr.data.collect import collect_events
from recblr.data.columns import Columns, resolve_columns
from recblr.data.delimited import DelimitedFile
from recblr.data.formats.base import Format, beside, file_in
from recblr.data.raw import ItemTable, RawEvents

_DATA = ("user_id", "item_id", "rating", "timestamp")
_GENRES = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama"),
    *("Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
_ITEM = ("item_id", "title", "release_date", "video_release_date", "url", *_GENRES)


def _files(path: Path) -> tuple[Path, ...]:
    data = file_in(path, "u.data")
    return () if data is None else beside(data, "u.item")


def _read(path: Path, columns: Columns, *, encoding: str | None = None) -> RawEvents:
    data, *items = _files(path)
    table = DelimitedFile(path=data, delimiter="\t", quoting=False, names=_DATA, encoding=encoding)
    settled = resolve_columns(_DATA, columns, source=data.name)
    item_table = _read_items(items[0], encoding) if items else None
    return collect_events(table, settled, sources=(data.name, *(one.name for one in items)), item_table=item_table)


def _read_items(path: Path, encoding: str | None) -> ItemTable:
    encoding = text_encoding(path, encoding)
    table = read_items(DelimitedFile(path=path, delimiter="|", quoting=False, names=_ITEM, encoding=encoding))
    flags = zip(*(table.columns[genre] for genre in _GENRES), strict=True)
    genres = tuple(" ".join(name for name, flag in zip(_GENRES, row, strict=True) if flag == "1") for row in flags)
    return replace(table, columns={"release_date": table.columns["release_date"], "genre": genres})


FORMAT = Format(name="movielens-100k", title="MovieLens 100k", files=_files, read=_read)
