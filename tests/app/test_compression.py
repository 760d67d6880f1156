"""PerSRec over each kind of backbone: its runs are shown with no page of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cache import sources
from conftest import write_run
from streamlit.testing.v1 import AppTest
from tests_app import component, shown

from recblr.backbones.persrec import PerSRec
from recblr.data.log import InteractionLog

Open = Callable[..., AppTest]


@pytest.fixture(scope="module")
def compressing_runs(tmp_path_factory: pytest.TempPathFactory, sample_log: InteractionLog) -> Path:
    root = tmp_path_factory.mktemp("compressing-runs")
    for preset, fields in PerSRec.presets.items():
        settings: dict[str, Any] = dict(fields)
        write_run(root / "compressing" / preset, "persrec", sample_log.catalog, sample_log.name, **settings)
    return root


@pytest.fixture
def opened(app: Open, compressing_runs: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    monkeypatch.setenv("RECBLR_RUNS", str(compressing_runs))
    sources.runs.clear()
    return app


@pytest.mark.parametrize("preset", PerSRec.presets)
def test_the_trace_page_shows_a_run_and_says_what_is_compressed(opened: Open, preset: str) -> None:
    at = opened("trace", run=f"compressing/{preset}", user="u0003", step="9")
    assert not at.exception
    assert not at.error
    assert component(at, "heatmap")["rows_are_events"] == (preset != "recblr")
    known = "carried on as it is" if preset == "recblr" else "of earlier ones only the 4 tokens"
    assert known in shown(at)


def test_what_tokens_keep_is_offered_where_there_are_tokens(opened: Open) -> None:
    at = opened("trace", run="compressing/sasrec", user="u0003", step="9", view="What tokens keep", token_head="1")
    assert not at.exception
    assert not at.error
    assert "What do the tokens that stand for earlier events keep?" in shown(at)
    at.session_state["tokens_numbers"] = True
    at.run()
    names: dict[str, Any] = {}
    exec(at.code[0].value, names)
    assert names["view"].answer in shown(at)
    carried = opened("trace", run="compressing/recblr", user="u0003", step="9", view="What tokens keep")
    assert not carried.error
    assert "tokens that stand for" not in shown(carried)


def test_they_stand_beside_each_other_on_the_compare_page(opened: Open) -> None:
    at = opened("compare", run="compressing/fixed", user="u0002", step="12", models=["fixed", "reference"], k="5")
    assert not at.exception
    assert [one["name"] for one in component(at, "toplists")["lists"]] == ["fixed", "reference"]
