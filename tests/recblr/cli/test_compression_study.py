"""``recblr compression-study``: runs of three kinds on one log, as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from recblr.figures.compression import curves


def test_runs_of_every_kind_are_compared_and_the_result_is_written(
    cli, any_run: Callable[[str], Path], log_folder: Path, tmp_path: Path
) -> None:
    runs = [str(any_run(name)) for name in ("persrec", "recblr", "sasrec")]  # of 20 events, 4 a segment
    asked = ["compression-study", "--runs", ",".join(runs), "--data", log_folder, "--old", "4,8", "--recent", "4"]
    answer = cli(*asked, "--draws", "5", "--out", "study.json")
    assert answer.code == 0, answer.err
    for word in ("tokens", "state", "cache", "dropped", "tokens - state"):
        assert word in answer.out
    result = json.loads((tmp_path / "study.json").read_text())
    assert {"format", "set", "device", "versions", "commit", "date", "protocol", "log", "rows"} <= result.keys()
    assert result["set"] == "compression"
    assert len(result["rows"]) == 9
    assert str(log_folder.anchor) not in {row["run"][0] for row in result["rows"]}
    assert [line["old"] for line in curves(result["rows"])] == [[0, 4, 8]] * 3
    again = cli(*asked, "--draws", "5", "--json").json
    assert [row["metrics"] for row in again["rows"]] == [row["metrics"] for row in result["rows"]]


def test_what_cannot_be_compared_is_refused_before_anything_is_measured(
    cli, any_run: Callable[[str], Path], log_folder: Path
) -> None:
    run = any_run("persrec")
    asked = ["compression-study", "--runs", run, "--data", log_folder, "--recent", "4"]
    cli.refused([*asked, "--old", "4,x"], "--old is 4,x", "whole numbers")
    cli.refused([*asked, "--old", "6"], "segments of 4 events", "not 6")
    cli.refused([*asked, "--old", "4", "--out", "nowhere/study.json"], "folder does not exist")
    cli.refused([*asked, "--old", "4", "--draws", "0"], "--draws")
    cli.refused([*asked[:2], f"{run},{run}", *asked[3:], "--old", "4"], "twice")
    cli.refused(["compression-study", "--runs", "no-such-run", "--data", log_folder], "no-such-run")
