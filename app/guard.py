"""No reader meets a traceback: a known error shows its own text, any other is logged and apologised for."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

import streamlit as st

from recblr.errors import RecblrError

LOGGER = logging.getLogger("recblr.app")
_BYTES = 1_000_000


def log_file() -> Path:
    """Where unexpected errors are written: RECBLR_LOG, else a file in the user's cache folder."""
    named = os.environ.get("RECBLR_LOG", "").strip()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(named).expanduser() if named else cache / "recblr" / "app.log"


@contextmanager
def guard() -> Iterator[None]:
    """Around the body of a page or of a fragment: nothing that goes wrong inside reaches the reader raw."""
    try:
        yield
    except RecblrError as error:
        st.error(str(error), icon=":material/error:")
    except Exception:  # control flow of Streamlit derives from BaseException and passes
        mark = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
        place = _log(mark)
        st.error(
            f"Sorry, this part of the page failed, and the fault is ours. The details stand in {place} under {mark}. "
            "Another user, run or page may work; `Copy link` keeps what led here.",
            icon=":material/sentiment_dissatisfied:",
        )


def _log(mark: str) -> str:
    """Write the current exception; returns where it went."""
    path = log_file()
    try:
        if not any(isinstance(one, RotatingFileHandler) for one in LOGGER.handlers):
            path.parent.mkdir(parents=True, exist_ok=True)
            LOGGER.addHandler(RotatingFileHandler(path, maxBytes=_BYTES, backupCount=1, encoding="utf-8"))
        place = f"`{path}`"
    except OSError:
        place = "the terminal that runs the app"
    LOGGER.exception("%s", mark)
    return place
