"""Logs and catalogues: files or data frames in, encoded sequences out.

Names are imported on first use, so that ``recblr.data.log`` alone costs no table library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recblr.data.cache import open_log
    from recblr.data.columns import Columns
    from recblr.data.download import licence_text
    from recblr.data.fit import fit_to_catalog
    from recblr.data.locate import data_roots, download_root, find_log, list_logs
    from recblr.data.log import Catalog, InteractionLog
    from recblr.data.read import from_frame, read_log
    from recblr.data.report import LoadReport
    from recblr.data.splits import Split, Targets, global_time, leave_one_out
    from recblr.data.tables import BadRow

_HOMES = {
    "BadRow": "tables",
    "Catalog": "log",
    "Columns": "columns",
    "InteractionLog": "log",
    "LoadReport": "report",
    "Split": "splits",
    "Targets": "splits",
    "data_roots": "locate",
    "download_root": "locate",
    "find_log": "locate",
    "fit_to_catalog": "fit",
    "from_frame": "read",
    "global_time": "splits",
    "leave_one_out": "splits",
    "licence_text": "download",
    "list_logs": "locate",
    "open_log": "cache",
    "read_log": "read",
}

__all__ = [
    "BadRow",
    "Catalog",
    "Columns",
    "InteractionLog",
    "LoadReport",
    "Split",
    "Targets",
    "data_roots",
    "download_root",
    "find_log",
    "fit_to_catalog",
    "from_frame",
    "global_time",
    "leave_one_out",
    "licence_text",
    "list_logs",
    "open_log",
    "read_log",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
