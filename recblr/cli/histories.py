"""Histories and times as a command line gives them."""

from __future__ import annotations

import sys

from recblr.errors import HistoryError


def parse_history(text: str) -> list[str]:
    """Ids of ``"id,id,…"``, or of stdin, one a line, where the text is ``-``."""
    if text == "-":
        return [line.strip() for line in sys.stdin if line.strip()]
    return [part.strip() for part in text.split(",")] if text.strip() else []


def parse_times(text: str | None) -> list[int] | None:
    """Unix seconds of ``"t,t,…"``. Raises HistoryError naming the first that is no whole number."""
    if text is None:
        return None
    times = []
    for position, part in enumerate(text.split(",") if text.strip() else []):
        try:
            times.append(int(part))
        except ValueError as error:
            raise HistoryError(f"times[{position}] is {part.strip()!r}: give unix seconds as whole numbers") from error
    return times
