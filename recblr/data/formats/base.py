"""What a format is: a way to recognise a path, and a way to read its events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from recblr.data.columns import Columns
from recblr.data.raw import RawEvents


class Reader(Protocol):
    def __call__(self, path: Path, columns: Columns, *, encoding: str | None = None) -> RawEvents: ...


@dataclass(frozen=True, kw_only=True)
class Format:
    """One kind of log."""

    name: str
    """Short name, as given to ``format=``."""
    title: str
    """What a reader sees."""
    files: Callable[[Path], tuple[Path, ...]]
    """The files that would be read, events first; empty when the path is not of this kind. Looks at names and first
    lines only."""
    read: Reader
    """Path and column names -> events. Errors: DataError."""
    any_file: bool = False
    """Whether `read` takes a file of any name when it is asked to."""

    def recognises(self, path: Path) -> bool:
        return bool(self.files(path))


def beside(events: Path, *names: str) -> tuple[Path, ...]:
    """The events file, and those of its neighbours that exist."""
    return (events, *(events.parent / name for name in names if (events.parent / name).is_file()))


def file_in(path: Path, name: str) -> Path | None:
    """`path` itself if it is the file `name`, or that file inside it."""
    if path.is_dir():
        return path / name if (path / name).is_file() else None
    return path if path.name == name and path.is_file() else None


def only_file(path: Path, suffixes: tuple[str, ...]) -> tuple[Path, ...]:
    """`path` itself if it ends so, or the one file inside it that does; nothing when there are several."""
    if path.is_file():
        return (path,) if path.suffix.lower() in suffixes else ()
    found = [one for one in sorted(path.iterdir()) if one.suffix.lower() in suffixes and one.is_file()]
    tables = [one for one in found if not one.name.lower().startswith(("readme", "license", "licence"))]
    return tuple(tables) if len(tables) == 1 else ()
