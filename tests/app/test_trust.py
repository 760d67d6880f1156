"""The Trust page: measured here beside recorded, and who is behind a cell."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import trust_runs as trust_measurements
import trust_work
from cache import records, sources
from streamlit.testing.v1 import AppTest
from tests_app import figures, shown, told
from trust_runs import Measured, Place, Request, TrustRunner

from recblr.errors import RecblrError
from recblr.runs import SAMPLE_ROOT

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
    monkeypatch.setattr(records, "TRUST", path)
    records.trust_records.clear()
    yield path
    records.trust_records.clear()


@pytest.fixture(scope="module")
def measured() -> None:
    """One measurement, which every test of it looks at."""
    records.trust_runs.clear()


def measured_here() -> Measured | None:
    return next(reversed(records.trust_runs()._done.values()), None)


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
    assert "**Recorded**: 500 events of each cause; explained is its own score." in shown(at)
    at.session_state["recorded_faithfulness_numbers"] = True
    at.run()
    assert '["runs"]["mixed/recblr"]' in at.code[-1].value
    assert "Nothing for this run" in shown(app("trust", run="mixed/gru4rec"))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"runs": []}', '{"runs": {"mixed/recblr": 3}}'])
def test_a_damaged_record_is_no_record(app: Open, record: Path, text: str) -> None:
    record.write_text(text, encoding="utf-8")
    records.trust_records.clear()
    at = app("trust", **CHOSEN)
    assert not at.exception
    assert "Nothing for this run" in shown(at)


def test_a_measurement_fills_the_board_and_names_the_users_behind_each_cell(app: Open, measured: None) -> None:
    at = press(app("trust", **CHOSEN), "Measure")
    assert not at.exception
    records.trust_runs().wait(120)
    at.run()
    assert "**Measured here**" in shown(at)
    found = measured_here()
    assert found.failed is None
    rows = {(row["cause"], row["method"]): row for row in found.rows}
    drawn = figures(at)[0]["data"][1]
    assert len(drawn["text"]) == 4 * len({cause for cause, _ in rows})
    assert "Who is behind Held gates, " in shown(at)
    assert "- **recall**: a pass, many events later “Redeem a pass” (the cue)" in shown(at)
    assert "each explained by every method; explained is its own score" in shown(at)
    for (cause, method), row in rows.items():
        of_cell = [case.hits[method] for case in found.cases if case.cause == cause and method in case.hits]
        if of_cell:
            assert sum(of_cell) / len(of_cell) == pytest.approx(row["hit@1"])
    links = [one.proto for one in at.get("page_link")]
    case = next(one for one in found.cases if one.cause == found.rows[0]["cause"])
    assert any(f"user={case.user}" in one.query_string and f"step={case.position}" in one.query_string for one in links)


def test_a_chosen_cell_is_looked_behind(app: Open, measured: None) -> None:
    if measured_here() is None:
        press(app("trust", **CHOSEN), "Measure")
        records.trust_runs().wait(120)
    cause = measured_here().rows[-1]["cause"]
    at = app("trust", behind="Gradient × input", cause=cause, **CHOSEN)
    assert f"Who is behind Gradient × input, {cause}?" in shown(at)
    at.session_state["live_board_numbers"] = True
    at.run()
    names: dict[str, Any] = {}
    exec(at.code[0].value, names)
    assert names["view"].table["hit@1"].tolist() == [row["hit@1"] for row in measured_here().rows]


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
    assert "“7” is no choice of “Events of each cause” here: there is 5, 10, 25, 50. Taken is “10”." in told(at)


def here(truth: bool = True) -> tuple[Request, Place]:
    """A tiny request that the shipped run can answer."""
    opened = sources.run_log(sources.runs()["mixed/recblr"])
    place = Place(run=str(SAMPLE_ROOT / "mixed/recblr"), log=str(SAMPLE_ROOT.parent / opened.name), truth=truth)
    request = Request(run="mixed/recblr", state=("", 0, 0), methods=("held_gates",), events=1, contrast="none")
    return request, place


def test_a_log_without_causes_is_measured_against_the_model_itself() -> None:
    request, place = here(truth=False)
    run, log, truth = trust_work.opened(place)
    assert truth is None
    found = trust_work.work(request, run, log, truth, lambda said, done, total: None)
    assert [row["method"] for row in found["faithfulness"]] == ["held_gates"]
    assert found["faithfulness"][0]["completeness error"] < 1e-4
    measured = Measured(request=request, owner="me")
    measured.take(json.loads(json.dumps(found, default=float)))
    assert not measured.rows
    assert measured.faithfulness[0]["users"] == 1


def test_a_log_without_causes_shows_what_needs_no_truth_in_a_table_that_its_python_makes_again(
    app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = replace(sources.run_log(sources.runs()["mixed/recblr"]), truth=None)
    monkeypatch.setattr(sources, "run_log", lambda info: opened)
    request = replace(here()[0], state=sources.run_state("mixed/recblr"), events=5)
    row = {"method": "held_gates", "exactness": "exact with gates held", "users": 5, "ms": 2.25, "sensitivity": None,
           "deletion beats the mean of random up to half": 0.8}  # fmt: skip
    runner = TrustRunner()
    runner._done[request] = Measured(request=request, owner="me", started=0.0, finished=3.0, faithfulness=[row])
    monkeypatch.setattr(records, "trust_runs", lambda: runner)
    at = app("trust", run="mixed/recblr", methods=["Held gates"])
    assert not at.exception
    assert not told(at)
    assert "Nobody knows what truly decided the events of this log" in shown(at)
    assert "for 80 % of the users." in shown(at)
    assert "**Measured here** in 3 s: means over 5 users of the test part." in shown(at)
    table = at.dataframe[0].value
    assert table["Held gates"].tolist() == ["2.25", "–", "0.8"]
    at.session_state["live_faithfulness_numbers"] = True
    at.run()
    code = at.code[0].value
    assert "users=5" in code
    names: dict[str, Any] = {}
    exec(code.replace("users=5", "users=1"), names)
    assert names["table"].columns.tolist() == ["held_gates"]


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """script(lines) -> measurements run these lines instead; `tell(...)` writes, and `go` is a file to wait for."""

    def write(body: str) -> None:
        path = tmp_path / "work.py"
        path.write_text(
            "import json, os, pathlib, sys, threading\n"
            f"go = pathlib.Path({str(tmp_path / 'go')!r})\n"
            "asked = json.loads(sys.stdin.readline())\n"
            "threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()\n"
            "tell = lambda **message: print(json.dumps(message), flush=True)\n"
            "wait = threading.Event().wait\n" + body,
            encoding="utf-8",
        )
        monkeypatch.setattr(trust_measurements, "SCRIPT", path)

    return write


REQUEST = Request(run="a", state=("", 0, 0), methods=("held_gates",), events=5, contrast="none")
PLACE = Place(run="nowhere", log="nowhere", truth=True)
LOOP = "tell(said='explanations', done=1, total=9)\nwhile not go.exists(): wait(0.01)\ntell(rows=[{'cause': 'x'}])\n"


def until(what: Callable[[], bool]) -> None:
    """Wait, at most half a minute."""
    for _ in range(3000):
        if what():
            return
        threading.Event().wait(0.01)
    pytest.fail("it did not come to that in half a minute")


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_second_reader_waits_in_line_and_neither_disturbs_the_other(
    script: Callable[[str], None], tmp_path: Path
) -> None:
    script(LOOP)
    runner = TrustRunner()
    mine = runner.start(REQUEST, "me", PLACE)
    yours = runner.start(replace(REQUEST, events=10), "you", PLACE)
    until(lambda: mine.done == 1)
    assert (runner.ahead(mine), runner.ahead(yours)) == (0, 1)
    assert runner.of("me") is mine
    assert runner.of("you") is yours
    assert yours.started is None
    with pytest.raises(RecblrError, match="wait for its end, or cancel it"):
        runner.start(REQUEST, "me", PLACE)
    (tmp_path / "go").touch()
    runner.wait(10)
    assert mine.succeeded
    assert yours.succeeded
    assert runner.found(REQUEST) is mine
    assert yours.rows == [{"cause": "x"}]


def test_cancelling_ends_the_readers_own_process_at_once_and_nobody_elses(
    script: Callable[[str], None], tmp_path: Path
) -> None:
    script(LOOP)
    runner = TrustRunner()
    mine, yours = runner.start(REQUEST, "me", PLACE), runner.start(replace(REQUEST, events=10), "you", PLACE)
    theirs = runner.start(replace(REQUEST, events=25), "they", PLACE)
    until(lambda: mine.done == 1)
    process = runner._process.pid
    runner.cancel("you")  # in line
    assert mine.under_way
    assert not yours.under_way
    assert yours.started is None
    runner.cancel("me")
    assert not alive(process)
    (tmp_path / "go").touch()
    runner.wait(10)
    assert mine.finished is not None
    assert mine.failed is None
    assert runner.found(REQUEST) is None
    assert theirs.succeeded
    again = runner.start(REQUEST, "me", PLACE)
    runner.wait(10)
    assert runner.found(REQUEST) is again


def test_who_asks_the_same_while_waiting_is_given_the_same_answer(
    script: Callable[[str], None], tmp_path: Path
) -> None:
    script(LOOP + "(go.parent / 'count').open('a').write('x')\n")
    runner = TrustRunner()
    mine, yours = runner.start(REQUEST, "me", PLACE), runner.start(REQUEST, "you", PLACE)
    (tmp_path / "go").touch()
    runner.wait(10)
    assert yours.succeeded
    assert yours.rows == mine.rows
    assert (tmp_path / "count").read_text() == "x"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("tell(failed='the log is empty: choose another')", "^the log is empty: choose another$"),
        ("raise ValueError('what a model says')", "^ValueError: what a model says$"),
        ("os.kill(os.getpid(), 9)", "ended from outside .signal 9., perhaps for want of memory"),
        ("sys.exit(3)", "^its process ended with status 3$"),
    ],
)
def test_a_measurement_that_fails_says_why_and_leaves_the_next_one_free(
    script: Callable[[str], None], body: str, says: str
) -> None:
    script(body)
    runner = TrustRunner()
    run = runner.start(REQUEST, "me", PLACE)
    runner.wait(10)
    assert run.failed is not None
    assert re.search(says, run.failed)
    assert runner.found(REQUEST) is None
    script("print('a library that prints')\ntell(rows=[])")
    again = runner.start(REQUEST, "me", PLACE)
    runner.wait(10)
    assert again.succeeded
    with pytest.raises(RecblrError, match="at least one method"):
        runner.start(replace(REQUEST, methods=()), "me", PLACE)


def test_a_measurement_that_takes_too_long_is_ended(
    script: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust_measurements, "SECONDS", 0.3)
    script(LOOP)
    runner = TrustRunner()
    run = runner.start(REQUEST, "me", PLACE)
    runner.wait(10)
    assert run.failed == "it took longer than 0.3 s; choose fewer events or methods"


def test_the_line_has_an_end(script: Callable[[str], None], tmp_path: Path) -> None:
    script(LOOP)
    runner = TrustRunner()
    first = runner.start(REQUEST, "first", PLACE)
    until(lambda: first.done == 1)
    for number in range(trust_measurements.WAITING):
        runner.start(REQUEST, f"reader {number}", PLACE)
    with pytest.raises(RecblrError, match="wait in line already"):
        runner.start(REQUEST, "one too many", PLACE)
    (tmp_path / "go").touch()
    runner.wait(10)


@pytest.mark.slow
def test_the_process_ends_when_the_server_is_gone(tmp_path: Path) -> None:
    """The real script, whose server dies before it could end anything."""
    request, place = here()
    request = replace(request, methods=("shapley", "integrated_gradients"), events=10)  # much work
    asked = json.dumps({"request": asdict(request), "place": asdict(place)})
    server = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess, sys, threading\n"
            f"one = subprocess.Popen([sys.executable, {str(trust_measurements.SCRIPT)!r}], stdin=subprocess.PIPE,"
            f" stdout=open({str(tmp_path / 'said')!r}, 'w'), text=True)\n"
            f"one.stdin.write({asked!r} + chr(10)); one.stdin.flush()\n"
            "print(one.pid, flush=True)\n"
            "threading.Event().wait()\n",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    process = int(server.stdout.readline())
    until(lambda: "explanations" in (tmp_path / "said").read_text())
    server.kill()
    server.wait()
    server.stdout.close()
    until(lambda: not alive(process))
