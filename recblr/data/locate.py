"""Where logs live on this machine, and where what was parsed from them is kept."""

from __future__ import annotations

import os
from pathlib import Path

from recblr.data.formats import recognise


def data_roots() -> list[Path]:
    """Folders whose entries are logs: those in RECBLR_DATA (separated as in PATH), else the user's data folder."""
    named = [Path(one).expanduser() for one in os.environ.get("RECBLR_DATA", "").split(os.pathsep) if one]
    return named or [_user_folder("XDG_DATA_HOME", ".local/share") / "recblr"]


def download_root() -> Path:
    """Where downloads go: the first of `data_roots`."""
    return data_roots()[0]


def cache_folder() -> Path:
    """Where parsed logs are kept; it can be deleted at any time."""
    return _user_folder("XDG_CACHE_HOME", ".cache") / "recblr" / "logs"


def find_log(name: str) -> Path | None:
    """The first entry of that name in the data roots; None when there is none, or when `name` is more than a name.

    A name has no separators and is not hidden, so no text from an address bar leads out of the roots.
    """
    if not is_plain_name(name):
        return None
    return next((root / name for root in data_roots() if (root / name).exists()), None)


def list_logs() -> dict[str, Path]:
    """Name -> path of everything in the data roots that a format recognises; earlier roots win."""
    found: dict[str, Path] = {}
    for root in data_roots():
        for entry in sorted(root.iterdir()) if root.is_dir() else []:
            if is_plain_name(entry.name) and recognise(entry) is not None:
                found.setdefault(entry.name, entry)
    return found


def is_plain_name(name: str) -> bool:
    """Whether `name` is one visible entry of a folder, and nothing more."""
    return bool(name) and not name.startswith(".") and not set(name) & set("/\\:\0")


def _user_folder(variable: str, default: str) -> Path:
    named = os.environ.get(variable, "")
    return Path(named) if os.path.isabs(named) else Path.home() / default
