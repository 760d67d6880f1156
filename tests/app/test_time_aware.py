"""Attention that reads the time: its runs are shown with no page of their own."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cache import sources
from conftest import write_run
from streamlit.testing.v1 import AppTest
from tests_app import component, shown

from recblr.data.log import InteractionLog

Open = Callable[..., AppTest]
RUNS = {
    "timed/hstu": ("hstu", {}),
    "timed/hstu-published": ("hstu", {"query_time": "target", "divide_by": "max_len"}),
    "timed/tisasrec": ("tisasrec", {}),
    "timed/tisasrec-published": ("tisasrec", {"unit": "published"}),
}


def decoded(data: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(data["values"]), dtype="<f4").reshape(-1, data["columns"])


@pytest.fixture(scope="module")
def timed_runs(tmp_path_factory: pytest.TempPathFactory, sample_log: InteractionLog) -> Path:
    root = tmp_path_factory.mktemp("timed-runs")
    for run, (name, fields) in RUNS.items():
        write_run(root / run, name, sample_log.catalog, sample_log.name, **fields)
    return root


@pytest.fixture
def opened(app: Open, timed_runs: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    monkeypatch.setenv("RECBLR_RUNS", str(timed_runs))
    sources.runs.clear()
    return app


@pytest.mark.parametrize("run", RUNS)
def test_the_trace_page_shows_attention_and_says_what_to_know_of_it(opened: Open, run: str) -> None:
    at = opened("trace", run=run, user="u0003", step="9")
    assert not at.exception
    assert not at.error
    data = component(at, "heatmap")
    assert data["rows_are_events"]
    assert data["shares"] == (run == "timed/tisasrec")
    assert ("Not causal" in shown(at)) == (run == "timed/tisasrec-published")
    assert ("next event, whose time each step has seen" in shown(at)) == (run == "timed/hstu-published")


@pytest.mark.parametrize("run", ["timed/hstu", "timed/tisasrec"])
def test_the_parts_of_a_score_are_offered_beside_the_attention(opened: Open, run: str) -> None:
    at = opened("trace", run=run, user="u0003", show="score: time", head="1")
    assert not at.exception
    values = decoded(component(at, "heatmap"))
    assert np.isnan(values[0, 1:]).all()
    assert np.isfinite(values[-1]).all()
    assert "Which times ago does each event ask for?" in shown(at)


def test_they_stand_beside_each_other_on_the_compare_page(opened: Open, sample_log: InteractionLog) -> None:
    at = opened("compare", run="timed/hstu", user="u0002", step="12", models=["hstu", "tisasrec"], k="5")
    assert not at.exception
    assert [one["name"] for one in component(at, "toplists")["lists"]] == ["hstu", "tisasrec"]
