"""The commands explain and trust: what a reader sees, what JSON holds, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from recblr.cli.trust import read_record
from recblr.recommender import load


@pytest.fixture(scope="module")
def ids(any_run: Callable[[str], Path]) -> list[str]:
    return [str(one) for one in load(any_run("recblr")).run.catalog.ids[1:]]


def _history(ids: list[str], n: int = 6) -> str:
    return ",".join(ids[:n])


def test_explain_shows_each_event_and_the_sum(cli, run_folder: Path, ids: list[str]) -> None:
    answer = cli("explain", run_folder, "--history", _history(ids), "--item", ids[8], "--contrast", ids[9])
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert "held gates (exact with gates held)" in lines[0]
    assert " and not " in lines[0]
    assert [line.split()[1] for line in lines[2:8]] == ids[:6]
    assert lines[8].startswith("events ")
    assert "the model's difference of logits" in lines[8]


def test_explain_as_json_adds_up_in_external_ids(cli, run_folder: Path, ids: list[str]) -> None:
    found = cli("explain", run_folder, "--history", _history(ids), "--item", ids[8], "--json").json
    assert found["target"] == ids[8]
    assert found["contrast"] is None
    assert [event["item"] for event in found["events"]] == ids[:6]
    total = sum(event["value"] for event in found["events"]) + found["remainder"]
    assert total == pytest.approx(found["logit"], abs=1e-4)


def test_explain_keeps_the_largest_contributions_in_their_order(cli, run_folder: Path, ids: list[str]) -> None:
    asked = ["explain", run_folder, "--history", _history(ids), "--item", ids[8]]
    values = {event["item"]: event["value"] for event in cli(*asked, "--json").json["events"]}
    largest = sorted(values, key=lambda item: -abs(values[item]))[:2]
    lines = cli(*asked, "--top", "2").out.splitlines()
    assert [line.split()[1] for line in lines[2:4]] == [item for item in ids[:6] if item in largest]
    assert lines[4].startswith("4 smaller ones: ")


def test_explain_takes_the_counts_of_a_baseline(cli, any_run: Callable[[str], Path], ids: list[str]) -> None:
    answer = cli("explain", any_run("markov"), "--history", _history(ids), "--item", ids[8])
    assert "by counts (exact)" in answer.out
    assert "reads the last event alone" in answer.out


def test_explain_by_removal_with_times(cli, run_folder: Path, ids: list[str]) -> None:
    found = cli(
        "explain", run_folder, "--history", _history(ids, 3), "--times", "10,20,30", "--item", ids[8],
        "--method", "removal", "--json",
    ).json  # fmt: skip
    assert found["exactness"] == "intervention"
    assert [event["time"] for event in found["events"]] == [10, 20, 30]


def test_explain_refuses_what_has_no_answer(
    cli, run_folder: Path, any_run: Callable[[str], Path], ids: list[str]
) -> None:
    asked = ["explain", run_folder, "--history", _history(ids), "--item"]
    cli.refused([*asked, "nothing"], "target 'nothing' is not in the catalogue", repr(ids[0]))
    cli.refused([*asked, ids[8], "--contrast", "nothing"], "contrast 'nothing' is not in the catalogue")
    cli.refused([*asked, ids[8], "--contrast", ids[8]], "target and contrast are both item")
    cli.refused([*asked, ids[0]], "is already in the history", "cannot be recommended")
    cli.refused([*asked, ids[8], "--method", "magic"], "no explanation method 'magic'", "held_gates")
    cli.refused([*asked, ids[8], "--top", "0"], "--top is 0")
    cli.refused(["explain", run_folder, "--history", "", "--item", ids[8]], "the history is empty")
    cli.refused(["explain", run_folder, "--history", ids[0]], "--item must be given")
    one = ["explain", run_folder, "--history", ids[0], "--item", ids[8], "--method", "removal"]
    cli.refused(one, "the history has one event", "at least two")
    markov = ["explain", any_run("markov"), "--history", _history(ids), "--item", ids[8], "--method", "held_gates"]
    cli.refused(markov, "held_gates cannot explain markov", "counts")


def test_an_item_of_the_history_is_explained_on_request(cli, run_folder: Path, ids: list[str]) -> None:
    answer = cli("explain", run_folder, "--history", _history(ids), "--item", ids[0], "--keep-seen")
    assert answer.code == 0, answer.err
    assert "is already in the history; its score is explained as if" in answer.out


def test_trust_shows_hits_by_cause_and_what_needs_no_cause(cli, run_folder: Path, log_folder: Path) -> None:
    answer = cli(
        "trust", run_folder, "--data", log_folder, "--events", "2", "--users", "1", "--methods", "held_gates,removal",
        "--draws", "2",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert "does the deciding event come first?" in answer.out
    rows = [line.split()[:2] for line in answer.out.splitlines() if line.startswith("echo")]
    assert rows == [["echo", "held_gates"], ["echo", "removal"], ["echo", "last"], ["echo", "chance"]]
    assert "deletion beats the band at every k" in answer.out
    assert "normalised AOPC" in answer.out


def test_trust_records_several_runs_in_one_file(
    cli, any_run: Callable[[str], Path], log_folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "results" / "trust.json"
    asked = ["--data", log_folder, "--events", "1", "--users", "0", "--out", file]
    markov, popularity = any_run("markov"), any_run("popularity")
    assert cli("trust", f"{markov},{popularity}", *asked).code == 0
    first = read_record(file)
    assert sorted(first) == ["markov", "popularity"]
    assert {"pointing", "device", "versions", "commit", "date", "fingerprint"} <= set(first["markov"])
    again = cli("trust", markov, *asked, "--seed", "3", "--json")
    assert list(again.json["runs"]) == ["markov"]
    second = read_record(file)
    assert second["markov"]["seed"] == 3
    assert second["popularity"] == first["popularity"]


def test_trust_refuses_before_it_works(cli, any_run: Callable[[str], Path], log_folder: Path, tmp_path: Path) -> None:
    markov = any_run("markov")
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"format": 9}))
    cli.refused(["trust", markov, "--data", log_folder, "--out", other], "no scoreboards of format 1")
    other.write_text("{")
    cli.refused(["trust", markov, "--data", log_folder, "--out", other], "not readable JSON")
    cli.refused(["trust", ",", "--data", log_folder], "no run is named")
    cli.refused(["trust", markov, "--data", log_folder, "--methods", "held_gates"], "held_gates cannot explain markov")
    cli.refused(["trust", markov, "--data", log_folder, "--events", "-1"], "none below 0")
    cli.refused(["trust", markov, "--data", log_folder, "--contrast", "x"], "contrast")
