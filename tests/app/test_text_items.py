"""HLLM in the app: its runs are shown with no page of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cache import sources
from conftest import write_run
from streamlit.testing.v1 import AppTest
from tests_app import component, shown

from recblr.backbones.hllm import HLLM
from recblr.data.log import InteractionLog

Open = Callable[..., AppTest]


@pytest.fixture(scope="module")
def text_runs(tmp_path_factory: pytest.TempPathFactory, sample_log: InteractionLog) -> Path:
    root = tmp_path_factory.mktemp("text-runs")
    for preset, fields in HLLM.presets.items():
        write_run(root / "text" / preset, "hllm", sample_log.catalog, sample_log.name, **dict(fields))
    return root


@pytest.fixture
def opened(app: Open, text_runs: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    monkeypatch.setenv("RECBLR_RUNS", str(text_runs))
    sources.runs.clear()
    return app


@pytest.mark.parametrize("preset", HLLM.presets)
def test_the_trace_page_shows_who_attends_to_whom(opened: Open, preset: str) -> None:
    at = opened("trace", run=f"text/{preset}", user="u0003", step="9")
    assert not at.exception
    assert not at.error
    assert component(at, "heatmap")["rows_are_events"]
    assert "reads the keys and values of the whole history" in shown(at)


def test_two_of_them_stand_beside_each_other_on_the_compare_page(opened: Open) -> None:
    at = opened("compare", run="text/fixed", user="u0002", step="12", models=["fixed", "reference"], k="5")
    assert not at.exception
    assert [one["name"] for one in component(at, "toplists")["lists"]] == ["fixed", "reference"]
