"""Backbones with a state space, by command: trained, measured, traced and asked, with times and without."""

from __future__ import annotations

from pathlib import Path

import pytest

from recblr.recommender import load

SMALL = ["--model.d", "8", "--model.n-layers", "1", "--model.max-len", "16", "--train.epochs", "1"]
CASES = [(name, preset) for name in ("mamba4rec", "ssd4rec", "tim4rec") for preset in ("fixed", "reference")]
CASES += [("deltanet", "fixed"), ("deltanet", "ungated")]
NOT_CAUSAL = [("ssd4rec", "reference"), ("tim4rec", "reference")]


@pytest.mark.parametrize(("name", "preset"), CASES)
def test_a_run_is_trained_measured_traced_and_asked(cli, log_folder: Path, name: str, preset: str) -> None:
    causal = (name, preset) not in NOT_CAUSAL
    train = ["train", name, "--preset", preset, "--data", log_folder, "--out", "run", *SMALL]
    if not causal:
        cli.refused(train, "not causal", "--train.objective last")
    answer = cli(*train, *([] if causal else ["--train.objective", "last"]))
    assert answer.code == 0, answer.err
    told = cli("evaluate", "run", "--data", log_folder, "--draws", "0", "--json")
    assert told.code == 0, told.err
    assert 0 <= told.json["metrics"]["NDCG@10"] <= 1
    each = ["evaluate", "run", "--data", log_folder, "--draws", "0", "--every-position"]
    if causal:
        assert cli(*each).code == 0
    else:
        cli.refused(each, "not causal")
    history = ",".join(load("run").run.catalog.ids[1:5].tolist())
    traced = cli("trace", "run", "--history", history, "--times", "0,60,90000,90060", "--json").json
    first = traced["layers"][0]
    assert len(first["decay"]) == len(first["write"]) == 4
    assert len(first["decay"][0]) == len(first["state"][0]) == len(first["half_life"][0])
    assert len(traced["layers"]) == 1 + ((name, preset) == ("ssd4rec", "reference"))
    assert any("Not causal" in note for note in traced["notes"]) == (not causal)
    fades = "nothing fades" if preset == "ungated" else "half-life in steps"
    assert fades in cli("trace", "run", "--history", history).out
    assert len(cli("recommend", "run", "--history", history, "-k", "3", "--json").json["rows"]) == 3


@pytest.mark.parametrize("name", ["ssd4rec", "tim4rec"])
def test_a_log_without_times_is_learnt_ranked_and_traced(cli, tmp_path: Path, name: str) -> None:
    rows = "\n".join(f"u{user},i{(user + step) % 7}" for user in range(12) for step in range(6))
    (tmp_path / "log.csv").write_text(f"user,item\n{rows}\n")
    answer = cli("train", name, "--data", "log.csv", "--out", "run", *SMALL)
    assert answer.code == 0, answer.err
    assert cli("evaluate", "run", "--data", "log.csv", "--draws", "0").code == 0
    told = cli("trace", "run", "--history", "i1,i2,i3").out
    assert ("note: The history has no times" in told) == (name == "tim4rec")
