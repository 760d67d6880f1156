"""Time-decay BD-LRU and minGRU: their runs are shown with no page of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cache import sources
from conftest import write_run
from streamlit.testing.v1 import AppTest
from tests_app import component, shown

from recblr.data.log import InteractionLog

Open = Callable[..., AppTest]
RUNS = ("gated/tbdlru", "gated/mingru")


@pytest.fixture(scope="module")
def gated_runs(tmp_path_factory: pytest.TempPathFactory, sample_log: InteractionLog) -> Path:
    root = tmp_path_factory.mktemp("gated-runs")
    for run in RUNS:
        write_run(root / run, run.split("/")[1], sample_log.catalog, sample_log.name)
    return root


@pytest.fixture
def opened(app: Open, gated_runs: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    monkeypatch.setenv("RECBLR_RUNS", str(gated_runs))
    sources.runs.clear()
    return app


@pytest.mark.parametrize("run", RUNS)
def test_the_trace_page_shows_the_state_and_says_what_to_know_of_it(opened: Open, run: str) -> None:
    at = opened("trace", run=run, user="u0003", step="9")
    assert not at.exception
    assert not at.error
    assert not component(at, "heatmap")["rows_are_events"]
    known = "given the gap before it" if run == "gated/tbdlru" else "an event forgets as much as it writes"
    assert known in shown(at)


def test_the_weight_of_each_gap_is_offered_as_the_step_size(opened: Open) -> None:
    at = opened("trace", run="gated/tbdlru", user="u0003", show="step size")
    assert not at.exception
    assert "How long does each event count?" in shown(at)


def test_they_stand_beside_each_other_on_the_compare_page(opened: Open) -> None:
    at = opened("compare", run="gated/tbdlru", user="u0002", step="12", models=["tbdlru", "mingru"], k="5")
    assert not at.exception
    assert [one["name"] for one in component(at, "toplists")["lists"]] == ["tbdlru", "mingru"]
