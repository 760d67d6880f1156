"""Public logs that lie beside the project, or where RECBLR_REAL_DATA says; their counts are known."""

from __future__ import annotations

import os
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from recblr.data.cache import open_log
from recblr.data.log import InteractionLog
from recblr.data.read import read_log
from recblr.data.report import LoadReport
from recblr.data.splits import leave_one_out

REAL = Path(os.environ.get("RECBLR_REAL_DATA") or Path(__file__).parents[3].parent / "shared" / "data")
pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not REAL.is_dir(), reason=f"no real logs in {REAL}: set RECBLR_REAL_DATA"),
]


@cache
def real(name: str) -> tuple[InteractionLog, LoadReport]:
    return read_log(REAL / name)


@pytest.mark.parametrize(
    ("name", "users", "items", "events", "has_times"),
    [
        ("ml-1m", 6_040, 3_416, 999_611, True),
        ("ml-1m-recbole", 6_040, 3_416, 999_611, True),
        ("ml-100k", 943, 1_682, 100_000, True),
        ("beauty", 52_204, 57_289, 394_908, False),
    ],
)
def test_a_public_log_has_its_published_size(name: str, users: int, items: int, events: int, has_times: bool):
    log, report = real(name)
    assert (log.n_users, log.catalog.n_items, log.n_events, log.has_times) == (users, items, events, has_times)
    assert (report.rows_in, report.n_bad, report.rows_out) == (events, 0, events)
    assert log.name == name


def test_ml_1m_keeps_the_order_of_its_file_among_ties():
    log, _ = real("ml-1m")
    items, times = log.sequence(log.user_index["1"])
    assert log.catalog.ids[items[:5]].tolist() == ["3186", "1022", "1270", "1721", "2340"]
    assert (np.diff(times) >= 0).all()
    assert log.catalog.title(items[0]) != "3186"
    assert log.catalog.ids[[1, 2, 3]].tolist() == ["1", "2", "3"]


def test_beauty_is_ordered_by_its_positions():
    log, _ = real("beauty")
    items, _ = log.sequence(log.user_index["1"])
    assert log.catalog.ids[items[:4]].tolist() == ["12888", "49583", "1", "4733"]
    assert len(leave_one_out(log).test) > 50_000


def test_ml_1m_is_read_in_three_seconds_and_opened_again_in_a_third(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def seconds() -> float:
        # Time of this process, so that a busy machine does not count.
        start = time.process_time()
        open_log(REAL / "ml-1m")
        return time.process_time() - start

    first, again = seconds(), min(seconds() for _ in range(3))
    record_property("ML-1M read, seconds", round(first, 2))
    record_property("ML-1M opened again, seconds", round(again, 3))
    assert first < 3
    assert again < 0.3
