"""Logs and catalogues: files or data frames in, encoded sequences out.

Names are imported on first use, so that ``recblr.data.log`` alone costs no table library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recblr.data.columns import Columns
    from recblr.data.log import Catalog, InteractionLog
    from recblr.data.read import from_frame, read_log
    from recblr.data.report import LoadReport
    from recblr.data.splits import Split, Targets, global_time, leave_one_out

_HOMES = {
    "Columns": "columns",
    "Catalog": "log",
    "InteractionLog": "log",
    "from_frame": "read",
    "read_log": "read",
    "LoadReport": "report",
    "Split": "splits",
    "Targets": "splits",
    "global_time": "splits",
    "leave_one_out": "splits",
}

__all__ = [
    "Catalog",
    "Columns",
    "InteractionLog",
    "LoadReport",
    "Split",
    "Targets",
    "from_frame",
    "global_time",
    "leave_one_out",
    "read_log",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
