"""MovieLens latest, 20M, 25M and 32M: ``ratings.csv`` and ``movies.csv``."""

from __future__ import annotations

from pathlib import Path

from recblr.data.catalogs import read_items, spaced_genres
from recblr.data.collect import collect_events
from recblr.data.columns import Columns, resolve_columns
from recblr.data.delimited import DelimitedFile
from recblr.data.formats.base import Format, beside, file_in
from recblr.data.raw import ItemTable, RawEvents

_HEADER = "userId,movieId,rating,timestamp"


def _files(path: Path) -> tuple[Path, ...]:
    ratings = file_in(path, "ratings.csv")
    if ratings is None:
        return ()
    with ratings.open("rb") as file:
        if file.readline(1000).strip() != _HEADER.encode():
            return ()  # someone else's ratings.csv: the reader of any table takes it
    return beside(ratings, "movies.csv")


def _read(path: Path, columns: Columns, *, encoding: str | None = None) -> RawEvents:
    ratings, *movies = _files(path)
    table = DelimitedFile(path=ratings, encoding=encoding)
    settled = resolve_columns(table.column_names, columns, source=ratings.name)
    items = _read_movies(movies[0], encoding) if movies else None
    return collect_events(table, settled, sources=(ratings.name, *(one.name for one in movies)), item_table=items)


def _read_movies(path: Path, encoding: str | None) -> ItemTable:
    items = read_items(DelimitedFile(path=path, encoding=encoding))
    return spaced_genres(items, "genres") if "genres" in items.columns else items


FORMAT = Format(name="movielens-csv", title="MovieLens .csv", files=_files, read=_read)
