"""Time-decay BD-LRU and minGRU by command: trained, measured, traced and asked, with times and without."""

from __future__ import annotations

from pathlib import Path

import pytest

from recblr.recommender import load

SMALL = ["--model.d", "8", "--model.n-layers", "1", "--model.max-len", "16", "--train.epochs", "1"]
CASES = [("tbdlru", "fixed"), ("mingru", "fixed"), ("mingru", "positive")]


@pytest.mark.parametrize(("name", "preset"), CASES)
def test_a_run_is_trained_measured_traced_and_asked(cli, log_folder: Path, name: str, preset: str) -> None:
    answer = cli("train", name, "--preset", preset, "--data", log_folder, "--out", "run", *SMALL)
    assert answer.code == 0, answer.err
    for how in ([], ["--every-position"]):
        told = cli("evaluate", "run", "--data", log_folder, "--draws", "0", "--json", *how)
        assert told.code == 0, told.err
    history = ",".join(load("run").run.catalog.ids[1:5].tolist())
    asked = ["trace", "run", "--history", history, "--times", "0,60,90000,90060"]
    (layer,) = cli(*asked, "--json").json["layers"]
    assert len(layer["decay"]) == len(layer["write"]) == len(layer["half_life"]) == 4
    assert len(layer["decay"][0]) == 16
    timed = name == "tbdlru"
    assert (layer["half_life_days"] is not None) == timed
    assert ("half-life in days" in cli(*asked).out) == timed
    assert len(cli("recommend", "run", "--history", history, "-k", "3", "--json").json["rows"]) == 3


def test_a_log_without_times_is_learnt_ranked_and_traced(cli, tmp_path: Path) -> None:
    rows = "\n".join(f"u{user},i{(user + step) % 7}" for user in range(12) for step in range(6))
    (tmp_path / "log.csv").write_text(f"user,item\n{rows}\n")
    answer = cli("train", "tbdlru", "--data", "log.csv", "--out", "run", *SMALL)
    assert answer.code == 0, answer.err
    assert cli("evaluate", "run", "--data", "log.csv", "--draws", "0").code == 0
    told = cli("trace", "run", "--history", "i1,i2,i3").out
    assert "note: The history has no times" in told
    assert "half-life in days" not in told
    assert "half-life in days" not in cli("trace", "run", "--history", "i1", "--times", "5").out
