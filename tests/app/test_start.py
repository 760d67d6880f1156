"""The Start page, its examples and the Python under each figure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import links
import numpy as np
import pytest
from pages import PAGES
from streamlit.testing.v1 import AppTest
from tests_app import APP, component, shown, told

import recblr
from recblr.data.log import InteractionLog
from recblr.figures.channel import parts

Open = Callable[..., AppTest]


def test_the_start_page_lists_the_runs_and_says_what_is_wrong_with_the_broken_ones(app: Open) -> None:
    at = app("start")
    names = at.dataframe[0].value["run"].tolist()
    assert "mixed/recblr" in names
    assert "elsewhere/recblr" in names
    assert "broken/no-config" not in names
    assert "**broken/no-config** cannot be opened" in told(at)
    assert "config.yaml is missing" in told(at)


@pytest.mark.parametrize("typed", ["/etc", "../..", "~", "no/such/run", "mixed", "\0"])
def test_a_typed_folder_outside_the_allowed_ones_is_refused_with_the_way_out(app: Open, typed: str) -> None:
    at = app("start")
    at.text_input(key="folder").set_value(typed).run()
    assert not at.exception
    assert len(at.error) == 1
    assert not at.success


def test_a_typed_run_is_found_by_name_and_by_path(app: Open, more_runs: Path) -> None:
    at = app("start")
    for typed in ("elsewhere/recblr", str(more_runs / "elsewhere/recblr")):
        at.text_input(key="folder").set_value(typed).run()
        assert not at.error
        assert at.success[0].value == "Found: elsewhere/recblr"


def test_a_machine_without_any_run_says_how_to_get_one(app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    from cache import sources

    sources.runs.clear()
    monkeypatch.setattr(sources, "list_runs", list)
    assert "recblr train" in told(app("trace"))
    assert not app("start").exception


@pytest.mark.parametrize("example", links.examples(), ids=lambda one: one.title)
def test_an_example_opens_what_it_promises(app: Open, example: links.Example, sample_log: InteractionLog) -> None:
    at = app(example.page, **example.params)
    assert not at.exception
    assert not told(at)
    assert example.page in PAGES
    if "user" in example.params:
        assert example.params["user"] in sample_log.user_index
        assert at.selectbox(key="user_box").value == example.params["user"]
    if "step" in example.params:
        assert at.slider(key="step_slider").value == int(example.params["step"])


@pytest.mark.parametrize("example", links.examples(), ids=lambda one: one.title)
def test_the_claim_of_an_example_is_true_of_the_shipped_runs(
    example: links.Example, sample_log: InteractionLog
) -> None:
    items, times = sample_log.sequence(sample_log.user_index[example.params["user"]])
    ids, step = sample_log.catalog.ids[items].tolist(), int(example.params.get("step", len(items) - 1))
    for run, rank in example.ranks.items():
        scores = recblr.load(run).scores(ids[:step], times[:step].tolist())
        target = sample_log.catalog.index[ids[step]]
        better, level = (scores[1:] > scores[target]).sum(), (scores[1:] == scores[target]).sum() - 1
        assert better + level / 2 + 1 == pytest.approx(rank, abs=0.5), run
    if holds := example.holds:
        layer = recblr.load(holds["run"]).trace(ids, times.tolist()).layers[holds["layer"] - 1]
        source = holds["event"] - 1
        if "channel" in holds:
            left, _ = parts(layer, holds["channel"], step - 1)
            assert abs(left[source]) / np.abs(left).sum() >= holds["least"]
        else:
            assert layer.mix[0, holds["head"] - 1, step - 1, source] >= holds["least"]


def test_named_users_are_in_the_log(sample_log: InteractionLog) -> None:
    named = links.named_users("mixed")
    assert named
    assert set(named) <= set(sample_log.user_index)


BOXES = {
    "What still matters": ("heatmap", "memory"),
    "How the state moves": ("norms", "trajectory"),
    "What fills a channel": ("parts",),
    "How long channels remember": ("lives",),
}


@pytest.mark.parametrize("view", BOXES)
@pytest.mark.parametrize("run", ["mixed/recblr", "mixed/sasrec"])
def test_the_python_under_each_figure_makes_that_figure(app: Open, run: str, view: str) -> None:
    at = app("trace", run=run, user="u0002", step="9", layer="2", view=view)
    for box in BOXES[view]:
        at.session_state[f"{box}_numbers"] = True
    at.run()
    assert len(at.code) == len(BOXES[view])
    for code in at.code:
        names: dict[str, Any] = {}
        exec(code.value, names)
        assert names["view"].question in shown(at)
        assert names["view"].answer in shown(at)


def test_the_python_of_compare_makes_its_lists(app: Open) -> None:
    at = app("compare", user="u0002", step="9", models=["recblr", "markov"])
    at.session_state["overlap_numbers"] = True
    at.run()
    names: dict[str, Any] = {}
    exec(at.code[0].value, names)
    assert names["lists"] == {
        one["name"]: [item["id"] for item in one["items"]] for one in component(at, "toplists")["lists"]
    }


def test_the_python_of_a_typed_history_holds_the_history(app: Open) -> None:
    at = app("trace", run="elsewhere/recblr", history="a,b,c")
    at.session_state["memory_numbers"] = True
    at.run()
    names: dict[str, Any] = {}
    exec(at.code[0].value, names)
    assert names["view"].answer in shown(at)


def test_every_registered_page_has_its_file() -> None:
    assert {page.file for page in PAGES.values()} == {
        f"app_pages/{one.name}" for one in (APP / "app_pages").glob("*.py")
    }
