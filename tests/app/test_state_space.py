"""State spaces: their runs are shown with no page of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cache import sources
from conftest import write_run
from streamlit.testing.v1 import AppTest
from tests_app import component, shown, told

from recblr.data.log import InteractionLog

Open = Callable[..., AppTest]
RUNS = {
    "spaces/mamba4rec": ("mamba4rec", {"state": 4}),
    "spaces/ssd4rec": ("ssd4rec", {"state": 4}),
    "spaces/ssd4rec-published": ("ssd4rec", {"state": 4, "direction": "both", "pad_class": True}),
    "spaces/deltanet": ("deltanet", {"key": 4}),
    "spaces/deltanet-ungated": ("deltanet", {"key": 4, "gated": False}),
    "spaces/tim4rec": ("tim4rec", {"state": 4}),
    "spaces/tim4rec-published": ("tim4rec", {"state": 4, "time": "published"}),
}


@pytest.fixture(scope="module")
def space_runs(tmp_path_factory: pytest.TempPathFactory, sample_log: InteractionLog) -> Path:
    root = tmp_path_factory.mktemp("space-runs")
    for run, (name, fields) in RUNS.items():
        write_run(root / run, name, sample_log.catalog, sample_log.name, **fields)
    return root


@pytest.fixture
def opened(app: Open, space_runs: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    monkeypatch.setenv("RECBLR_RUNS", str(space_runs))
    sources.runs.clear()
    return app


@pytest.mark.parametrize("run", RUNS)
def test_the_trace_page_shows_the_state_and_says_what_to_know_of_it(opened: Open, run: str) -> None:
    at = opened("trace", run=run, user="u0003", step="9", show="decay")
    assert not at.exception
    assert not at.error
    assert not component(at, "heatmap")["rows_are_events"]
    assert "of what layer 1 holds comes from" in shown(at)
    assert ("Not causal" in shown(at)) == run.endswith("published")


@pytest.mark.parametrize("run", ["spaces/ssd4rec", "spaces/tim4rec"])
def test_the_attention_that_a_state_space_amounts_to_is_offered_beside_the_state(opened: Open, run: str) -> None:
    at = opened("trace", run=run, user="u0003", show="attention", head="1")
    assert not at.exception
    data = component(at, "heatmap")
    assert data["rows_are_events"]
    assert not data["shares"]


@pytest.mark.parametrize("quantity", ["attention", "what remains", "overlap of keys"])
def test_what_the_delta_rule_writes_over_is_shown_event_by_event(opened: Open, quantity: str) -> None:
    at = opened("trace", run="spaces/deltanet", user="u0003", show=quantity, head="1")
    assert not at.exception
    assert not at.error
    assert component(at, "heatmap")["rows_are_events"]


def test_the_layer_read_from_the_newest_event_has_a_panel_of_its_own(opened: Open) -> None:
    at = opened("trace", run="spaces/ssd4rec-published", user="u0003", step="9", layer="2")
    assert not at.exception
    assert component(at, "heatmap")["rows_are_events"]
    assert "of what layer 2 looks at comes from" in shown(at)


def test_they_stand_beside_each_other_on_the_compare_page(opened: Open) -> None:
    models = ["mamba4rec", "ssd4rec", "tim4rec"]
    at = opened("compare", run="spaces/mamba4rec", user="u0002", step="12", models=models, k="5")
    assert not at.exception
    assert [one["name"] for one in component(at, "toplists")["lists"]] == models


@pytest.mark.parametrize("page", ["trace", "why", "what_if", "compare"])
def test_every_page_about_a_user_says_above_its_charts_that_a_run_is_not_causal(opened: Open, page: str) -> None:
    def warned(run: str) -> bool:
        at = opened(page, run=run, user="u0003", step="9")
        return "is not causal: " in told(at)

    assert warned("spaces/tim4rec-published")
    assert not warned("spaces/tim4rec")
