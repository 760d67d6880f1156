"""Logs as a command line names them: a path, a name in the data folders, or a shipped log."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from recblr.checkpoint import Run
from recblr.cli.nearest import nearest
from recblr.data.cache import ReadOptions, open_log
from recblr.data.columns import Columns
from recblr.data.core import CoreMode
from recblr.data.fit import fit_to_catalog
from recblr.data.locate import find_log, is_plain_name, list_logs
from recblr.data.log import InteractionLog
from recblr.data.simulator import SAMPLES, Truth, has_truth, load_truth, read_manifest
from recblr.data.times import TimeUnit
from recblr.errors import DataError
from recblr.runs import SAMPLE_ROOT

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ReadingOptions:
    """How a log is read."""

    format: str | None = None
    """Name of the format; recognised without it."""
    columns: Columns = field(default_factory=Columns)
    """Columns by role."""
    k_core: int = 0
    """Least events of a user and of an item; 0 keeps all."""
    k_core_mode: CoreMode = "iterative"
    """iterative repeats the core until it holds, one-pass filters once."""
    drop_duplicates: bool = False
    """Drop rows with the same user, item and time as an earlier one."""
    encoding: str | None = None
    """Text encoding of the file, such as latin-1; UTF-8 without it."""
    time_unit: TimeUnit | None = None
    """Unit of the times; recognised by their size without it."""

    def reading(self) -> ReadOptions:
        """As the readers take them."""
        return {
            "format": self.format,
            "columns": self.columns,
            "k_core": self.k_core,
            "k_core_mode": self.k_core_mode,
            "drop_duplicates": self.drop_duplicates,
            "encoding": self.encoding,
            "time_unit": self.time_unit,
        }


def locate(text: str) -> Path:
    """Path of a log. Raises DataError naming the logs there are."""
    path = Path(os.path.expanduser(text))
    if path.exists():
        return path
    found = find_log(text) if is_plain_name(text) else None
    if found is not None:
        return found
    shipped = SAMPLE_ROOT.parent / PurePosixPath(text)
    if text in SAMPLES and shipped.is_dir():
        return shipped
    known = [*SAMPLES, *list_logs()]
    raise DataError(
        f"no log {text!r}{nearest(text, known)}: give the path of a file or folder, one of {', '.join(known)}, "
        "or fetch one with `recblr download`"
    )


def open_any(text: str, options: ReadingOptions) -> tuple[InteractionLog, Truth | None]:
    """A log by path or name, with the truth about it where it is a simulated one read whole."""
    path = locate(text)
    log, report = open_log(path, **options.reading())
    for lost, what in ((report.n_bad, "bad rows"), (report.rows_under_core, "rows under the core")):
        if lost:
            _logger.warning("log %s: %s %s dropped; `recblr inspect-log` tells more", log.name, f"{lost:,}", what)
    return log, _truth(path, log)


def open_for_run(text: str, options: ReadingOptions, run: Run) -> tuple[InteractionLog, Truth | None]:
    """A log in the item ids of a run. Raises DataError for a log of another catalogue."""
    log, truth = open_any(text, options)
    fitted = fit_to_catalog(log, run.catalog)
    if fitted.fingerprint != run.config["data"].get("fingerprint"):
        _logger.warning("%s is not the log, or not the reading of it, that %s was trained on", log.name, run.name)
    return fitted, truth if fitted.n_events == log.n_events else None


def _truth(path: Path, log: InteractionLog) -> Truth | None:
    folder = path if path.is_dir() else path.parent
    if not has_truth(folder) or read_manifest(folder)["log"] != log.fingerprint:
        return None
    return load_truth(folder, log)
