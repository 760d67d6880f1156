"""The Compare page: the same user, several models."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cache import records, sources
from streamlit.testing.v1 import AppTest
from tests_app import component, shown

import recblr
from recblr import figures
from recblr.backbones import REGISTRY
from recblr.data.log import InteractionLog
from recblr.evaluation.compression import CompressionRow, CompressionStudy
from recblr.evaluation.intervals import Difference
from recblr.figures.by_cause import rows_of
from recblr.leaderboard.cost import measure_asking
from recblr.leaderboard.entries import recorded
from recblr.runs import list_runs

Open = Callable[..., AppTest]


def test_one_column_a_model_with_the_librarys_own_list(app: Open, sample_log: InteractionLog) -> None:
    data = component(app("compare", user="u0002", step="20", models=["recblr", "sasrec", "markov"], k="5"), "toplists")
    assert [one["name"] for one in data["lists"]] == ["recblr", "sasrec", "markov"]
    items, times = sample_log.sequence(sample_log.user_index["u0002"])
    ids = sample_log.catalog.ids[items].tolist()
    for column in data["lists"]:
        best = recblr.load(f"mixed/{column['name']}").recommend(
            ids[:20], k=5, times=times[:20].tolist(), mask_seen=False
        )
        assert [one["id"] for one in column["items"]] == [row.item for row in best]
    assert data["truth"] == ids[20]


@pytest.mark.parametrize("run", ["mixed/recblr", "mixed/hstu", "mixed/mingru", "mixed/markov"])
def test_at_first_the_models_of_each_kind_are_compared_the_chosen_one_in_front(app: Open, run: str) -> None:
    at = app("compare", run=run, user="u0002")
    names = [one["name"] for one in component(at, "toplists")["lists"]]
    kinds = [REGISTRY[name].kind() for name in names]
    assert names[0] == run.rpartition("/")[2]
    assert set(kinds) == {cls.kind() for cls in REGISTRY.values()}
    assert len(kinds) == len(set(kinds))
    for name, kind in list(zip(names, kinds, strict=True))[1:]:
        assert name == next(one for one, cls in REGISTRY.items() if cls.kind() == kind)
        assert f"{name} ({kind})" in shown(at)
    assert "of each kind" not in shown(app("compare", run=run, models=["recblr", "lrurec"]))


def test_another_model_chosen_above_leads_the_columns_unless_the_reader_chose_them(app: Open) -> None:
    at = app("compare", user="u0002")
    at.selectbox(key="run").set_value("mixed/hstu").run()
    assert [one["name"] for one in component(at, "toplists")["lists"]] == ["hstu", "recblr", "gru4rec", "markov"]
    at.get("button_group")[0].set_value(["lrurec", "sasrec"]).run()
    at.selectbox(key="run").set_value("mixed/recblr").run()
    assert [one["name"] for one in component(at, "toplists")["lists"]] == ["lrurec", "sasrec"]


def test_seen_items_leave_every_list_on_request(app: Open, sample_log: InteractionLog) -> None:
    items, _ = sample_log.sequence(sample_log.user_index["u0002"])
    seen = set(sample_log.catalog.ids[items[:20]].tolist())
    shown_first = component(app("compare", user="u0002", step="20", k="20"), "toplists")
    left_out = component(app("compare", user="u0002", step="20", k="20", unseen="true"), "toplists")
    assert any(one["id"] in seen for column in shown_first["lists"] for one in column["items"])
    assert not any(one["id"] in seen for column in left_out["lists"] for one in column["items"])


def test_at_the_end_of_a_history_nothing_is_said_to_have_come_next(app: Open) -> None:
    at = app("compare", user="u0002")
    assert "What came next is" in shown(at)
    at.slider(key="step_slider").set_value(at.slider(key="step_slider").max).run()
    assert not at.exception
    assert component(at, "toplists")["truth"] is None
    assert "came next" not in shown(at)


def test_one_model_alone_and_none_at_all_are_no_fault(app: Open) -> None:
    at = app("compare", models=["recblr"])
    assert "Choose a second model" in shown(at)
    at.get("button_group")[0].set_value([]).run()
    assert not at.exception
    assert "Choose at least one model" in shown(at)


def test_more_models_chosen_are_more_columns(app: Open) -> None:
    at = app("compare", models=["recblr", "lrurec"])
    at.get("button_group")[0].set_value(["recblr", "lrurec", "gru4rec"]).run()
    assert [one["name"] for one in component(at, "toplists")["lists"]] == ["recblr", "lrurec", "gru4rec"]


def test_a_run_of_another_log_is_compared_with_its_like_only(app: Open) -> None:
    at = app("compare", run="elsewhere/recblr", history="a,b")
    assert not at.exception
    assert [one["name"] for one in component(at, "toplists")["lists"]] == ["recblr"]


def test_the_faithfulness_of_each_models_explanation_is_measured_on_request_only(app: Open) -> None:
    asked: dict[str, Any] = {"user": "u0002", "step": "12", "models": ["recblr", "sasrec", "markov"]}
    assert "name the events that count" not in shown(app("compare", **asked))
    at = app("compare", **asked, faithful="true")
    assert not at.exception
    assert not at.error
    best = component(at, "toplists")["lists"][0]["items"][0]["title"]
    assert f"Does each model's explanation of “{best}” name the events that count?" in shown(at)
    again = reproduced(at, "faithful_aopc")
    assert again.answer in shown(at)
    assert set(again.table["model"]) == {"recblr", "sasrec", "markov"}
    assert set(again.table["method"]) == {"Held gates", "Counts"}


def test_the_item_asked_about_is_the_one_whose_explanations_are_compared(app: Open, sample_log: InteractionLog) -> None:
    item = sample_log.catalog.ids[7]
    at = app("compare", user="u0002", step="12", models=["recblr", "popularity"], target=item, faithful="true")
    assert f"explanation of “{sample_log.catalog.title(7)}”" in shown(at)
    assert "No event changes what is said by popularity." in shown(at)


def test_a_history_of_one_has_no_order_to_measure(app: Open) -> None:
    at = app("compare", user="u0002", step="1", models=["recblr", "markov"], faithful="true")
    assert not at.exception
    assert not at.error
    assert "at least two events" in shown(at)


@pytest.mark.parametrize(("key", "unseen"), [("overlap", "false"), ("true_ranks", "true"), ("horizons", "false")])
def test_the_python_beside_a_figure_makes_it_again(app: Open, key: str, unseen: str) -> None:
    at = app("compare", user="u0002", step="12", models=["recblr", "lrurec"], unseen=unseen)
    assert reproduced(at, key).answer in shown(at)


def reproduced(at: AppTest, key: str) -> Any:
    """What the Python beside a figure makes."""
    at.session_state[f"{key}_numbers"] = True
    at.run()
    names: dict[str, Any] = {}
    exec(at.code[0].value, names)
    return names["view"]


def test_what_each_run_gets_right_is_shown_by_cause_from_its_own_metrics(app: Open) -> None:
    at = app("compare", user="u0002")
    again = reproduced(at, "by_cause")
    assert again.answer in shown(at)
    runs = {info.name: info for info in list_runs()}
    for model in ("recblr", "sasrec"):
        habit = next(row for row in rows_of(runs[f"mixed/{model}"].metrics) if row["cause"] == "habit")
        told = again.table[(again.table["model"] == model) & (again.table["cause"] == "habit")]
        assert told["HR@1"].tolist() == [habit["metrics"]["HR@1"]]
    assert "large state" not in shown(at)


def test_a_cause_is_set_against_the_bytes_that_each_model_keeps(app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {"mixed/recblr", "mixed/sasrec", "mixed/markov"}
    monkeypatch.setattr("cache.sources.list_runs", lambda: [info for info in list_runs() if info.name in few])
    at = app("compare", user="u0002", state="true", cause="recall")
    assert not at.exception
    assert not at.error
    assert "Does it take a large state to get recall right?" in shown(at)
    again = reproduced(at, "against_state")
    assert again.answer in shown(at)
    kept = dict(zip(again.table["model"], again.table["bytes kept"], strict=True))
    for model in ("recblr", "sasrec"):
        assert kept[model] == measure_asking(recblr.load(f"mixed/{model}").run.model, repeats=1).state_bytes
    assert "get habit right?" in shown(app("compare", user="u0002", state="true", cause="fashion"))
    sources.runs.clear()


def test_a_log_without_causes_has_no_table_of_them(app: Open) -> None:
    at = app("compare", run="elsewhere/recblr", history="a,b")
    assert not at.exception
    assert "get right of each cause" not in shown(at)


def test_the_costs_of_all_backbones_are_shown_as_recorded_with_machine_and_date(app: Open) -> None:
    at = app("compare")
    name, entries = next((name, found) for name, found in recorded().items() if len(found) > 1)
    said = shown(at)
    assert f"Recorded, not measured here: {min(entry.date for entry in entries)[:10]}" in said
    assert entries[0].trained_on in said
    assert figures.golden_triangle(entries).answer in said
    assert reproduced(at, "golden_triangle").answer == figures.golden_triangle(recorded()[name]).answer


def test_without_recorded_results_nothing_is_said_of_costs(app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cache.records.recorded", dict)
    records.results.clear()
    at = app("compare")
    records.results.clear()
    assert not at.exception
    assert "What does each backbone cost" not in shown(at)


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Where a study of compressed histories would be recorded."""
    path = tmp_path / "compression.json"
    monkeypatch.setattr("cache.records.COMPRESSION", path)
    records.compression_record.clear()
    yield path
    records.compression_record.clear()


def test_a_recorded_study_of_compressed_histories_is_shown_as_recorded(app: Open, record: Path) -> None:
    rows = [
        CompressionRow(
            run="mixed/any", backbone="any", preset="fixed", kept="state" if old else "dropped", old_events=old,
            bytes_of_user=100 * old, metrics={"HR@10": 0.2, "NDCG@10": 0.1},
            intervals={"HR@10": (0.1, 0.3), "NDCG@10": (0.05, 0.15)},
            gain={name: Difference(mean=0.01, low=0.0, high=0.02) for name in ("HR@10", "NDCG@10")},
        )
        for old in (0, 40)
    ]  # fmt: skip
    study = CompressionStudy(log="a-log", fingerprint="0", protocol="recbole", part="test", users=5, targets=5,
                             recent=4, rows=tuple(rows), matches=())  # fmt: skip
    place = {"device": "a-machine", "commit": "abcdef012345", "date": "2026-01-02T03:04:05+00:00"}
    record.write_text(json.dumps({**study.as_dict(), **place}), encoding="utf-8")
    at = app("compare", compressed="HR@10")
    assert not at.exception
    assert not at.error
    said = shown(at)
    assert (
        "Recorded, not measured here: 2026-01-02, on a-machine, commit abcdef0; a-log, test, protocol recbole" in said
    )
    assert "What is lost when the old part of a history is compressed?" in said
    assert figures.compression(json.loads(record.read_text()), "HR@10").answer in said


@pytest.mark.parametrize("text", [None, "{", "[]", '{"rows": [{}]}'], ids=["none", "cut", "a list", "no rows"])
def test_without_a_readable_study_nothing_is_said_of_compression(app: Open, record: Path, text: str | None) -> None:
    if text is not None:
        record.write_text(text, encoding="utf-8")
    at = app("compare")
    assert not at.exception
    assert not at.error
    assert "is compressed" not in shown(at)
