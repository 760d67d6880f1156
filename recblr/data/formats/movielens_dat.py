"""MovieLens 1M and 10M: ``ratings.dat`` (user::movie::rating::time) and ``movies.dat`` (movie::title::genres)."""

from __future__ import annotations

from pathlib import Path

from recblr.data.catalogs import read_items, spaced_genres, text_encoding
from recblr.data.collect import collect_events
from recblr.data.columns import Columns, resolve_columns
from recblr.data.delimited import DelimitedFile
from recblr.data.formats.base import Format, beside, file_in
from recblr.data.raw import ItemTable, RawEvents

_RATINGS = ("user_id", "movie_id", "rating", "timestamp")
_MOVIES = ("movie_id", "title", "genres")


def _files(path: Path) -> tuple[Path, ...]:
    ratings = file_in(path, "ratings.dat")
    return () if ratings is None else beside(ratings, "movies.dat")


def _read(path: Path, columns: Columns, *, encoding: str | None = None) -> RawEvents:
    ratings, *movies = _files(path)
    table = DelimitedFile(path=ratings, delimiter="::", quoting=False, names=_RATINGS, encoding=encoding)
    settled = resolve_columns(_RATINGS, columns, source=ratings.name)
    items = _read_movies(movies[0], encoding) if movies else None
    return collect_events(table, settled, sources=(ratings.name, *(one.name for one in movies)), item_table=items)


def _read_movies(path: Path, encoding: str | None) -> ItemTable:
    encoding = text_encoding(path, encoding)
    table = DelimitedFile(path=path, delimiter="::", quoting=False, names=_MOVIES, encoding=encoding)
    return spaced_genres(read_items(table), "genres")


FORMAT = Format(name="movielens-dat", title="MovieLens .dat", files=_files, read=_read)
