"""The registry of formats. A new one is a file here that defines FORMAT, and a line in FORMATS."""

from __future__ import annotations

from pathlib import Path

from recblr.data.formats import (
    delimited,
    movielens_100k,
    movielens_csv,
    movielens_dat,
    parquet,
    recbole,
    sample,
)
from recblr.data.formats.base import Format
from recblr.errors import DataError

FORMATS: tuple[Format, ...] = (
    # In the order they are tried: those with names of their own before those that take any table.
    recbole.FORMAT,
    sample.FORMAT,
    movielens_dat.FORMAT,
    movielens_csv.FORMAT,
    movielens_100k.FORMAT,
    parquet.FORMAT,
    delimited.FORMAT,
)


def find_format(path: Path, name: str | None = None) -> Format:
    """The format of that name, else the first one that recognises the path.

    Errors: DataError for a missing path, an unknown name, or a path that no format recognises.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist: check the path, or see `recblr download` for public logs")
    if name is not None:
        known = {one.name: one for one in FORMATS}
        if name not in known:
            raise DataError(f"there is no format {name!r}: choose one of {', '.join(known)}")
        one = known[name]
        if not one.recognises(path) and (path.is_dir() or not one.any_file):
            held = f"; it has {_listing(path)}" if path.is_dir() else ""
            raise DataError(f"{path} is no log of the format {name!r} ({one.title}){held}")
        return one
    found = recognise(path)
    if found is not None:
        return found
    if path.is_dir():
        raise DataError(f"no log is recognised in {path}; it has {_listing(path)}: give the path of the events file")
    raise DataError(
        f"{path.name} is of no known kind: pass format= (--format) one of {', '.join(one.name for one in FORMATS)}"
    )


def recognise(path: Path) -> Format | None:
    """The first format that recognises the path. Errors: DataError for a path that may not be read."""
    try:
        return next((one for one in FORMATS if one.recognises(path)), None)
    except OSError as error:
        raise DataError(f"{error.filename or path} cannot be read: {error.strerror or error}") from error


def _listing(folder: Path) -> str:
    names = sorted(one.name + ("/" if one.is_dir() else "") for one in folder.iterdir())
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return shown or "no files"
