"""Small logs on disk in every format, one set of events, so that all readers must agree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from recblr.data.log import InteractionLog

EVENTS = [
    # user, item, unix seconds; not in order, and user 2 has a tie that the file's order decides
    ("1", "10", 874965758),
    ("2", "30", 876893171),
    ("1", "9", 874965478),
    ("2", "10", 876893171),
    ("10", "9", 878542960),
    ("2", "9", 876893119),
]
TITLES = {"9": "Café Noir (1995)", "10": "Heat (1995)", "30": "Wind Chill (1994)"}
GENRES = {"9": "Comedy|Drama", "10": "Action", "30": "Western"}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """write("log.csv", text or bytes) -> path."""

    def write_file(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file


def sequences(log: InteractionLog) -> dict[str, list[tuple[str, int]]]:
    """External user id -> [(external item id, time)] in order."""
    found = {}
    for row, user in enumerate(log.users.tolist()):
        items, times = log.sequence(row)
        found[user] = list(zip(log.catalog.ids[items].tolist(), times.tolist(), strict=True))
    return found


EXPECTED = {
    "1": [("9", 874965478), ("10", 874965758)],
    "2": [("9", 876893119), ("30", 876893171), ("10", 876893171)],
    "10": [("9", 878542960)],
}
