"""Logs parsed once: plain arrays in an npz file, rebuilt when the source, the options or the file itself changes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from recblr.data.columns import Columns
from recblr.data.core import CoreMode
from recblr.data.formats import find_format
from recblr.data.locate import cache_folder
from recblr.data.log import Catalog, InteractionLog
from recblr.data.read import read_log
from recblr.data.report import LoadReport
from recblr.data.times import TimeUnit

_VERSION = 1
"""Raise it when the same file and options would give another log or report."""
_DAMAGED = (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile, zlib.error)
_logger = logging.getLogger(__name__)


class ReadOptions(TypedDict, total=False):
    """The options of `recblr.data.read_log`."""

    format: str | None
    columns: Columns | None
    k_core: int
    k_core_mode: CoreMode
    name: str | None
    drop_duplicates: bool
    encoding: str | None
    time_unit: TimeUnit | None


def open_log(path: str | Path, **options: Unpack[ReadOptions]) -> tuple[InteractionLog, LoadReport]:
    """`read_log`, faster the second time: see there for options and errors.

    The parsed copy lies in `recblr.data.locate.cache_folder`. It is used only while size and modification time of the
    source files are what they were; a damaged copy, or a folder that cannot be written, costs time and nothing else.
    """
    place = Path(path).expanduser()
    stamp = _stamp(place, options.get("format"))
    kept = cache_folder() / f"{_key(place, options)}.npz"
    if kept.exists():
        try:
            found = _load(kept, stamp)
        except _DAMAGED as error:
            _logger.warning("%s is damaged (%s) and is made again", kept, error)
            found = None
        if found is not None:
            return found
    log, report = read_log(place, **options)
    try:
        _save(kept, stamp, log, report)
    except OSError as error:
        _logger.warning("the parsed log cannot be kept in %s: %s", kept.parent, error)
    return log, report


def _stamp(place: Path, format: str | None) -> list[list[Any]]:
    """Name, size and modification time of every file that would be read."""
    files = find_format(place, format).files(place) or (place,)
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]


def _key(place: Path, options: ReadOptions) -> str:
    given = {name: value for name, value in options.items() if name != "columns"}
    columns = dataclasses.asdict(options.get("columns") or Columns())
    text = json.dumps([_VERSION, str(place.resolve()), given, columns], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _save(kept: Path, stamp: list[list[Any]], log: InteractionLog, report: LoadReport) -> None:
    """Written beside its place and moved there whole, so a reader never meets half a file."""
    columns = log.catalog.columns
    meta = {"stamp": stamp, "report": report.as_dict(), "has_times": log.has_times, "columns": list(columns)}
    arrays: dict[str, NDArray[Any]] = {
        "meta": np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8),
        "items": log.items,
        "times": log.times,
        "offsets": log.offsets,
        "users": log.users,
        "ids": log.catalog.ids,
        **{f"column_{number}": column for number, column in enumerate(columns.values())},
    }
    if log.catalog.titles is not None:
        arrays["titles"] = log.catalog.titles
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=kept.parent, suffix=".part", delete=False) as file:
        part = Path(file.name)
        try:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # the stub takes the first array for `allow_pickle`
            file.close()
            part.replace(kept)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def _load(kept: Path, stamp: list[list[Any]]) -> tuple[InteractionLog, LoadReport] | None:
    """The kept log, or None when its source has changed."""
    with np.load(kept, allow_pickle=False) as arrays:
        meta = json.loads(arrays["meta"].tobytes())
        if meta["stamp"] != stamp:
            return None
        catalog = Catalog(
            ids=arrays["ids"],
            titles=arrays.get("titles"),
            columns={name: arrays[f"column_{number}"] for number, name in enumerate(meta["columns"])},
        )
        report = LoadReport.from_dict(meta["report"])
        log = InteractionLog(
            name=report.name,
            items=arrays["items"],
            times=arrays["times"],
            offsets=arrays["offsets"],
            users=arrays["users"],
            catalog=catalog,
            has_times=meta["has_times"],
        )
    return log, report
