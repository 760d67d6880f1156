"""The Trust page: measured here beside recorded, and who is behind a cell."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cache
import pytest
import trust_work
from streamlit.testing.v1 import AppTest
from tests_app import figures, shown, told
from trust_runs import Measured, Request, TrustRunner

from recblr.errors import RecblrError

Open = Callable[..., AppTest]
CHOSEN = {"run": "mixed/recblr", "methods": ["Held gates", "Gradient × input"], "events": "5"}


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file of records with one of a run."""
    path = tmp_path / "trust.json"
    hits = {"held_gates": 0.95, "gradient_input": 0.4, "chance": 0.03}
    rows = [
        {"cause": cause, "method": method, "events": 500, "hit@1": hit, "hit@1 where ranked first": None}
        for cause in ("recall", "echo")
        for method, hit in hits.items()
    ]
    board = {
        "pointing": rows,
        "faithfulness": [{"method": "held_gates", "exactness": "exact with gates held", "ms": 2}],
        "users": 20,
        "device": "a machine of 2025",
        "date": "2025-01-02T03:04:05",
        "commit": "abc1234",
    }
    path.write_text(json.dumps({"format": 1, "runs": {"mixed/recblr": board}}), encoding="utf-8")
    monkeypatch.setattr(cache, "TRUST", path)
    cache.trust_records.clear()
    yield path
    cache.trust_records.clear()


@pytest.fixture(scope="module")
def measured() -> None:
    """One measurement, which every test of it looks at."""
    cache.trust_runs.clear()


def press(at: AppTest, label: str) -> AppTest:
    next(one for one in at.button if one.label == label).click().run()
    return at


def test_nothing_is_measured_until_the_reader_asks(app: Open, record: Path) -> None:
    at = app("trust", **CHOSEN)
    assert not at.exception
    assert "Nothing was measured yet" in shown(at)
    assert not list(at.get("progress"))


def test_the_record_is_marked_as_recorded_with_machine_date_and_commit(app: Open, record: Path) -> None:
    at = app("trust", **CHOSEN)
    assert "Recorded on a machine of 2025, 2025-01-02, commit abc1234. Not measured now." in shown(at)
    assert "Held gates does best, 95 % over all causes; Gradient × input does worst, 40 %" in shown(at)
    assert "**Recorded**: 500 events of each cause." in shown(at)
    assert "Nothing for this run" in shown(app("trust", run="mixed/gru4rec"))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"runs": []}', '{"runs": {"mixed/recblr": 3}}'])
def test_a_damaged_record_is_no_record(app: Open, record: Path, text: str) -> None:
    record.write_text(text, encoding="utf-8")
    cache.trust_records.clear()
    at = app("trust", **CHOSEN)
    assert not at.exception
    assert "Nothing for this run" in shown(at)


def test_a_measurement_fills_the_board_and_names_the_users_behind_each_cell(app: Open, measured: None) -> None:
    at = press(app("trust", **CHOSEN), "Measure")
    assert not at.exception
    cache.trust_runs().wait(120)
    at.run()
    assert "**Measured here**" in shown(at)
    found = cache.trust_runs().current
    assert found.failed is None
    rows = {(row["cause"], row["method"]): row for row in found.rows}
    drawn = figures(at)[0]["data"][1]
    assert len(drawn["text"]) == 4 * len({cause for cause, _ in rows})
    assert "Who is behind Held gates, " in shown(at)
    for (cause, method), row in rows.items():
        of_cell = [case.hits[method] for case in found.cases if case.cause == cause and method in case.hits]
        if of_cell:
            assert sum(of_cell) / len(of_cell) == pytest.approx(row["hit@1"])
    links = [one.proto for one in at.get("page_link")]
    case = next(one for one in found.cases if one.cause == found.rows[0]["cause"])
    assert any(f"user={case.user}" in one.query_string and f"step={case.position}" in one.query_string for one in links)


def test_a_chosen_cell_is_looked_behind(app: Open, measured: None) -> None:
    if cache.trust_runs().current is None:
        press(app("trust", **CHOSEN), "Measure")
        cache.trust_runs().wait(120)
    cause = cache.trust_runs().current.rows[-1]["cause"]
    at = app("trust", behind="Gradient × input", cause=cause, **CHOSEN)
    assert f"Who is behind Gradient × input, {cause}?" in shown(at)
    at.session_state["live_board_numbers"] = True
    at.run()
    names: dict[str, Any] = {}
    exec(at.code[0].value, names)
    assert names["view"].table["hit@1"].tolist() == [row["hit@1"] for row in cache.trust_runs().current.rows]


@pytest.mark.parametrize("run", ["elsewhere/recblr", "broken/truncated"])
def test_a_run_that_cannot_be_measured_says_why(app: Open, run: str) -> None:
    at = app("trust", run=run)
    assert not at.exception
    assert "not on this machine" in shown(at) or "model.safetensors" in told(at)


def test_no_method_chosen_is_no_fault(app: Open) -> None:
    at = app("trust", run="mixed/recblr")
    at.get("button_group")[0].set_value([]).run()
    assert not at.exception
    assert next(one for one in at.button if one.label == "Measure").disabled


def test_methods_and_counts_that_are_not_offered_are_named(app: Open) -> None:
    at = app("trust", run="mixed/markov", methods=["Held gates"], events="7")
    assert not at.exception
    assert "“Held gates” is no choice of “Methods” here: there is Removal, Counts. Taken is “Removal”" in told(at)
    assert "“7” is no choice of “Events of each cause” here: there is 10, 5, 25, 50. Taken is “10”." in told(at)


def test_a_log_without_causes_is_measured_against_the_model_itself() -> None:
    opened = cache.run_log(cache.runs()["mixed/recblr"])
    run = cache.open_run("mixed/recblr").run
    request = Request(run="mixed/recblr", state=("", 0, 0), methods=("held_gates",), events=1, contrast="none")
    measured = Measured(request=request, owner="me")
    trust_work.work(measured, run, opened.log, None)
    assert not measured.rows
    assert [row["method"] for row in measured.faithfulness] == ["held_gates"]
    assert measured.faithfulness[0]["completeness error"] < 1e-4


REQUEST = Request(run="a", state=("", 0, 0), methods=("held_gates",), events=5, contrast="none")


def test_one_measurement_runs_at_a_time_and_its_owner_can_cancel_it() -> None:
    runner, going = TrustRunner(), threading.Event()

    def work(run: Measured) -> None:
        going.wait(10)
        for done in range(1000):
            run.tell("x", done, 1000)

    run = runner.start(REQUEST, "me", work)
    with pytest.raises(RecblrError, match="one run at a time"):
        runner.start(REQUEST, "you", work)
    runner.cancel("you")
    assert not run.cancelled
    runner.cancel("me")
    going.set()
    runner.wait(10)
    assert run.finished is not None
    assert run.done == 0
    assert runner.found(REQUEST) is None
    again = runner.start(REQUEST, "you", lambda run: run.tell("x", 1, 2))
    runner.wait(10)
    assert again.failed is None
    assert runner.found(REQUEST) is again


def test_a_measurement_that_fails_says_why_and_leaves_the_next_one_free() -> None:
    runner = TrustRunner()

    def refuse(run: Measured) -> None:
        raise RecblrError("the log is empty: choose another")

    run = runner.start(REQUEST, "me", refuse)
    runner.wait(10)
    assert run.failed == "the log is empty: choose another"
    assert not run.under_way
    with pytest.raises(RecblrError, match="at least one method"):
        runner.start(Request(run="a", state=("", 0, 0), methods=(), events=5, contrast="none"), "me", refuse)
