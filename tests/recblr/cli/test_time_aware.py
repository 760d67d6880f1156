"""Backbones that read the time, by command: trained, measured, traced and asked, with times and without."""

from __future__ import annotations

from pathlib import Path

import pytest

from recblr.recommender import load

SMALL = ["--model.d", "8", "--model.n-layers", "1", "--model.max-len", "16", "--train.epochs", "1"]
CASES = [(name, preset) for name in ("hstu", "tisasrec") for preset in ("fixed", "reference")]


@pytest.mark.parametrize(("name", "preset"), CASES)
def test_a_run_is_trained_measured_traced_and_asked(cli, log_folder: Path, name: str, preset: str) -> None:
    objective = ["--train.objective", "last"] if (name, preset) == ("tisasrec", "reference") else []
    train = ["train", name, "--preset", preset, "--data", log_folder, "--out", "run", *SMALL]
    if objective:
        cli.refused(train, "not causal", "--train.objective last")
    answer = cli(*train, *objective)
    assert answer.code == 0, answer.err
    told = cli("evaluate", "run", "--data", log_folder, "--draws", "0", "--json")
    assert told.code == 0, told.err
    assert 0 <= told.json["metrics"]["NDCG@10"] <= 1
    each = ["evaluate", "run", "--data", log_folder, "--draws", "0", "--every-position"]
    if objective:
        cli.refused(each, "not causal")
    else:
        assert cli(*each).code == 0
    ids = load("run").run.catalog.ids
    history = ",".join(ids[1:5].tolist())
    traced = cli("trace", "run", "--history", history, "--times", "0,60,90000,90060", "--json").json
    (layer,) = traced["layers"]
    assert len(layer["mix"][0]) == len(layer["score_time"][0]) == 4
    assert len(layer["time_curve"][0]) == len(layer["time_edges"])
    assert cli("trace", "run", "--history", history).out.count("note: The history has no times") == 1
    rows = cli("recommend", "run", "--history", history, "-k", "3", "--json").json["rows"]
    assert len(rows) == 3


@pytest.mark.parametrize("name", ["hstu", "tisasrec", "sasrec"])
def test_a_log_without_times_is_learnt_and_ranked_and_said_to_have_none(cli, tmp_path: Path, name: str) -> None:
    rows = "\n".join(f"u{user},i{(user + step) % 7}" for user in range(12) for step in range(6))
    (tmp_path / "log.csv").write_text(f"user,item\n{rows}\n")
    answer = cli("train", name, "--data", "log.csv", "--out", "run", *SMALL)
    assert answer.code == 0, answer.err
    said = [line for line in answer.err.splitlines() if "no times" in line]
    told = cli("recommend", "run", "--history", "i1,i2").out
    if name == "sasrec":
        assert said == []
        assert "no times" not in told
    else:
        assert len(said) == 1
        assert said[0].startswith("note: ")
        assert " has no times: every gap counts as 0 seconds" in said[0]
        assert told.count("note: The history has no times: every gap counts as 0 seconds") == 1
    assert cli("evaluate", "run", "--data", "log.csv", "--draws", "0").code == 0
