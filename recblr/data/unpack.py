"""Unpack an archive that a stranger made: no path leaves the folder, no link, no bomb, nothing half done."""

from __future__ import annotations

import shutil
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from recblr.errors import DataError

_LARGEST_RATIO = 100
"""Unpacked over packed size; MovieLens is under 10."""
_SMALL = 1 << 20


def unpack_folder(archive: Path, folder: Path) -> None:
    """Unpack the folder of that name from a zip archive, beside its place, and move it there when it is whole.

    Errors: DataError for a damaged or unsafe archive, one without the folder, or a full disk. Nothing is left behind.
    """
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        try:
            with zipfile.ZipFile(archive) as packed:
                members = [member for member in packed.infolist() if not member.is_dir()]
                _check(members, archive, folder.parent)
                for member in members:
                    _unpack(packed, member, Path(scratch))
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise DataError(
                f"{archive.name}: damaged or unreadable archive ({error}): delete it and try again"
            ) from error
        unpacked = Path(scratch) / folder.name
        if not unpacked.is_dir():
            raise DataError(f"{archive.name} holds no folder {folder.name!r}: this is another archive")
        unpacked.rename(folder)


def _check(members: list[zipfile.ZipInfo], archive: Path, place: Path) -> None:
    for member in members:
        path = PurePosixPath(member.filename)
        outside = path.is_absolute() or ".." in path.parts or "\\" in member.filename or ":" in member.filename
        if outside or stat.S_ISLNK(member.external_attr >> 16):
            raise DataError(f"{archive.name}: the entry {member.filename!r} leaves its folder: nothing was unpacked")
    size = sum(member.file_size for member in members)
    if size > _SMALL + _LARGEST_RATIO * archive.stat().st_size:
        raise DataError(f"{archive.name} would grow to {size:,} bytes: not an archive of a log, nothing was unpacked")
    free = shutil.disk_usage(place).free
    if size > free:
        raise DataError(
            f"{place}: {size:,} bytes are needed and {free:,} are free: make room, or choose another folder"
        )


def _unpack(packed: zipfile.ZipFile, member: zipfile.ZipInfo, scratch: Path) -> None:
    target = scratch / PurePosixPath(member.filename)
    target.parent.mkdir(parents=True, exist_ok=True)
    with packed.open(member) as source, target.open("wb") as copy:
        shutil.copyfileobj(source, copy)
