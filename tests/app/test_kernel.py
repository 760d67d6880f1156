"""The Kernel live page: one run at a time, in a process of its own, with its last result always in sight."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import live
import pytest
from cache import records
from live import INTERPRETER, Run, Runner, why_not
from streamlit.testing.v1 import AppTest
from tests_app import figures, shown, told

from recblr.errors import RecblrError

Open = Callable[..., AppTest]
SMALL = {"B": "2", "T": "5", "D": "8"}
CASE = {"operator": "linear", "batch": 2, "time": 5, "channels": 8, "dtype": "float32", "direction": "forward"}
SHAPE = {"job": "shape", "case": CASE, "backends": ["torch"], "device": "cpu"}
LONG = {**SHAPE, "case": {**CASE, "batch": 64, "time": 4000, "channels": 32}, "backends": ["reference"]}


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    """A fresh one in place of the server's, without a spare process."""
    fresh = Runner()
    monkeypatch.setattr(records, "kernel_runs", lambda: fresh)
    monkeypatch.setattr(fresh, "prepare", lambda: None)
    yield fresh
    if fresh.current is not None:
        fresh.cancel(fresh.current.owner)
        fresh.wait(30)


def test_a_run_on_the_cpu_shows_times_errors_and_bandwidth_that_are_the_processs_own(app: Open, runner: Runner) -> None:
    at = app("kernel", operator="linear", **SMALL)
    assert "Nothing was measured yet" in shown(at)
    at.button(key="run_shape").click().run()
    runner.wait(100)
    at.run()
    run = runner.current
    assert run is not None
    assert run.failed is None
    rows = {row["peer"]: row for row in run.rows}
    assert {"copy", "lrscan torch"} <= set(rows)
    text = shown(at)
    assert "differs from float64 by at most" in text
    assert "of the bandwidth of a copy" in text
    assert "Measured on this machine, CPU, one thread: linear forward+backward, float32, B = 2, T = 5, D = 8." in text
    bars = figures(at)[0]["data"][0]
    assert len(bars["y"]) == len(rows) - 1
    assert all("error" in label for label in bars["text"])
    assert "Does memory or arithmetic limit it?" in text
    assert max(row["error"] for row in rows.values() if "error" in row) < 1e-5


def test_an_operator_whose_channels_come_in_heads_is_measured_too(app: Open, runner: Runner) -> None:
    at = app("kernel", operator="delta rule", **SMALL | {"D": "32"})
    assert "erases before it writes" in shown(at)
    at.button(key="run_shape").click().run()
    runner.wait(100)
    assert runner.current is not None
    assert runner.current.failed is None
    errors = {row["peer"]: row["error"] for row in runner.current.rows if "error" in row}
    assert "lrscan torch" in errors
    assert max(errors.values()) < 1e-5


def test_a_changed_control_keeps_the_last_result_and_says_whose_it_is(app: Open, runner: Runner) -> None:
    at = app("kernel", operator="linear", **SMALL)
    finished(runner, at, {**SHAPE, "case": {**CASE, "direction": "both"}})
    at.run()
    before = figures(at)
    at.number_input(key="T").set_value(9).run()
    assert figures(at) == before
    assert "The controls have changed since" in shown(at)


def finished(runner: Runner, at: AppTest, request: dict[str, Any]) -> Run:
    """A run of the page's reader that is over, as if it had been measured."""
    at.session_state["_kernel_owner"] = "reader"
    run = Run(request={**request, "seconds": 60}, owner="reader", finished=time.monotonic(), ceiling=1e11)
    common = {"reason": None, "low_ms": 0.9, "high_ms": 1.2, "best_ms": 0.9, "repeats": 50, "bytes": 10**6}
    for peer, ms, error in (("copy", 0.5, None), ("lrscan native", 1.0, 1e-7), ("lrscan torch", 2.0, 2e-7)):
        row = {**common, **request["case"], "peer": peer, "median_ms": ms, "to_copy": 2 * ms, "gb_per_second": 1 / ms}
        run.rows.append({**row, "operations": 2 * 10**5, "ours": peer != "copy", "error": error})
    runner._done[id(run)] = run
    return run


def test_while_a_run_is_under_way_the_last_result_stays_and_it_can_be_cancelled(app: Open, runner: Runner) -> None:
    at = app("kernel", operator="linear", **SMALL)
    finished(runner, at, SHAPE)
    runner.start(LONG, "reader")
    at.run()
    assert "Measuring:" in shown(at)
    assert len(figures(at)) == 2
    assert at.button(key="run_shape").disabled
    at.button(key="cancel").click().run()
    runner.wait(30)
    at.run()
    assert "Cancelled after" in shown(at)
    assert len(figures(at)) == 2
    assert not at.button(key="run_shape").disabled


def test_another_readers_run_is_waited_for_and_cannot_be_cancelled(app: Open, runner: Runner) -> None:
    at = app("kernel", operator="linear", **SMALL)
    run = runner.start(LONG, "somebody else")
    at.run()
    assert "Another reader is measuring; one at a time" in shown(at)
    assert not any(button.key == "cancel" for button in at.button)
    with pytest.raises(RecblrError, match="under way"):
        runner.start(SHAPE, "reader")
    runner.cancel("reader")
    assert run.under_way
    runner.cancel("somebody else")
    runner.wait(30)
    assert run.cancelled
    assert not run.under_way


def test_a_run_that_ends_badly_says_why(app: Open, runner: Runner) -> None:
    run = runner.start({**SHAPE, "case": {**CASE, "operator": "nonsense"}}, "reader")
    runner.wait(100)
    assert "operator must be one of" in str(run.failed)
    assert not run.under_way
    at = app("kernel")
    at.session_state["_kernel_owner"] = "reader"
    at.run()
    assert "The measurement failed: operator must be one of" in told(at)
    assert not at.exception


def test_the_spare_process_is_used_once_and_answers_as_a_new_one_does() -> None:
    runner = Runner()
    runner.prepare()
    spare = runner._spare
    assert spare is not None
    runner.prepare()
    assert runner._spare is spare
    run = runner.start(SHAPE, "reader")
    assert runner._process is spare[0]
    assert runner._spare is None
    runner.wait(100)
    assert run.succeeded, run.failed
    assert [row["peer"] for row in run.rows] == ["copy", "lrscan torch"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch": 4096, "time": 4096}, "more than the"),
        ({"batch": 64}, None),
    ],
)
def test_a_size_beyond_the_bound_is_refused_with_the_way_out(changes: dict[str, int], said: str | None) -> None:
    refused = why_not({**SHAPE, "case": {**CASE, **changes}})
    assert refused is None if said is None else said in str(refused)


def test_the_interpreter_is_bounded_by_its_events() -> None:
    slow = {**SHAPE, "backends": [INTERPRETER], "case": {**CASE, "batch": 64, "time": 200}}
    assert "B = 2 and T = 50" in str(why_not(slow))
    assert why_not({**slow, "case": {**CASE, "batch": 2, "time": 50}}) is None


def test_a_page_asked_for_too_much_says_so_and_offers_no_run(app: Open, runner: Runner) -> None:
    at = app("kernel", B="4096", T="4096", D="1024")
    assert "more than the" in told(at)
    assert at.button(key="run_shape").disabled


@pytest.mark.parametrize(
    "parameters",
    [
        {"operator": "nonsense", "B": "-3", "T": "x", "part": "nowhere"},
        {"type": "int8", "direction": "sideways", "backends": ["nobody"]},
        {"arch": "sm_1", "code": "?", "part": "Compiled kernel"},
        {"along": "nothing", "part": "Curves"},
        {"part": "Recorded"},
    ],
)
def test_nonsense_in_the_address_opens_the_page_at_its_defaults(
    app: Open, runner: Runner, parameters: dict[str, Any]
) -> None:
    at = app("kernel", **parameters)
    assert not at.exception
    assert not at.error
    assert at.header[0].value == "How fast is the scan, and is it right?"


def test_without_a_record_of_a_gpu_the_page_says_not_measured_and_how_to(
    app: Open, runner: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    records.kernel_records.clear()
    text = shown(app("kernel", part="Recorded"))
    assert "GPU: not measured." in text
    assert "python -m bench --set gpu --json" in text
    records.kernel_records.clear()


def test_a_record_is_shown_as_recorded_with_device_date_and_commit_and_a_damaged_one_is_named(
    app: Open, runner: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bar = {"device": "gpu", "goal": "a goal", "bound": 0.85, "at_least": True, "measured": 0.9, "holds": True}
    made = {
        "set": "gpu",
        "device": "A GPU",
        "date": "2026-01-02 03:04 UTC",
        "commit": "abc1234",
        "versions": {"torch": "2.13.0"},
        "rows": [{"peer": "copy"}],
        "bars": [bar],
    }
    (tmp_path / "gpu-a.json").write_text(json.dumps(made))
    (tmp_path / "gpu-b.json").write_text("{")
    (tmp_path / "cpu-c.json").write_text("[]")
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    records.kernel_records.clear()
    at = app("kernel", part="Recorded")
    assert "Recorded on A GPU, 2026-01-02 03:04 UTC, commit `abc1234`" in shown(at).replace("**", "")
    assert at.dataframe[0].value["measured"].tolist() == [0.9]
    assert "gpu-b.json cannot be read" in told(at)
    assert "cpu-c.json cannot be read" in told(at)
    records.kernel_records.clear()


def test_the_python_under_a_result_measures_the_same_case(app: Open, runner: Runner) -> None:
    at = app("kernel", operator="linear", **SMALL)
    finished(runner, at, SHAPE)
    at.session_state["speeds_numbers"] = True
    at.run()
    names: dict[str, Any] = {}
    exec(at.code[0].value, names)
    assert [result.backend for result in names["found"]] == ["torch"]
    assert names["found"][0].case.time == 5
    assert at.dataframe[0].value["program"].tolist() == ["copy", "native", "torch"]


def test_a_process_that_is_silent_for_too_long_is_ended(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(live.SECONDS, "shape", 1)
    run = runner.start(LONG, "reader")
    runner.wait(60)
    assert not run.under_way
    assert re.search("too long|status", str(run.failed))
