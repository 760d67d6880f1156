"""PerSRec by command: every preset is trained, measured, traced and asked, for histories of all lengths."""

from __future__ import annotations

from pathlib import Path

import pytest

from recblr.backbones.persrec import PerSRec
from recblr.recommender import load

SMALL = ["--model.d", "8", "--model.max-len", "15", "--model.tokens", "2", "--train.epochs", "1"]


@pytest.mark.parametrize("preset", PerSRec.presets)
def test_a_run_is_trained_measured_traced_and_asked(cli, log_folder: Path, preset: str) -> None:
    answer = cli("train", "persrec", "--preset", preset, "--data", log_folder, "--out", "run", *SMALL)
    assert answer.code == 0, answer.err
    for how in ([], ["--every-position"]):
        told = cli("evaluate", "run", "--data", log_folder, "--draws", "0", "--json", *how)
        assert told.code == 0, told.err
    ids = load("run").run.catalog.ids[1:].tolist()
    history = ",".join((ids * 3)[:14])
    layers = cli("trace", "run", "--history", history, "--json").json["layers"]
    for layer in layers:
        assert (layer["token_mix"] is None) == (preset == "recblr")
        if layer["token_mix"] is not None:
            after = [3, 3, 6, 6, 9, 9, 12, 12]
            assert layer["token_after"] == after
            assert len(layer["token_mix"][0]) == 14
            assert len(layer["token_read"][0]) == len(after)
    assert "note: " in cli("trace", "run", "--history", history).out
    for short in (ids[0], ",".join(ids[:4])):
        assert len(cli("recommend", "run", "--history", short, "-k", "3", "--json").json["rows"]) == 3


def test_settings_of_the_wrapped_backbone_are_given_by_name_and_kept(cli, log_folder: Path) -> None:
    asked = ["train", "persrec", "--data", log_folder, "--out", "run", *SMALL]
    answer = cli(*asked, "--model.inner", "sasrec", "--model.inner_config.heads", "4", "--model.segment", "5",
                 "--model.segments", "2")  # fmt: skip
    assert answer.code == 0, answer.err
    config = load("run").run.model.config
    assert (config.inner, config.inner_config, config.segment) == ("sasrec", {"heads": 4}, 5)
    cli.refused([*asked, "--replace", "--model.inner_config.width", "4"], "hstu has no setting 'width'")
    cli.refused([*asked, "--replace", "--model.inner", "bert"], "inner is 'bert'", "sasrec")
    cli.refused([*asked, "--replace", "--model.segment", "9"], "segment is 9", "max_len 15")


def test_a_log_without_times_is_learnt_ranked_and_traced(cli, tmp_path: Path) -> None:
    rows = "\n".join(f"u{user},i{(user + step) % 7}" for user in range(12) for step in range(9))
    (tmp_path / "log.csv").write_text(f"user,item\n{rows}\n")
    answer = cli("train", "persrec", "--data", "log.csv", "--out", "run", *SMALL)
    assert answer.code == 0, answer.err
    assert cli("evaluate", "run", "--data", "log.csv", "--draws", "0").code == 0
    assert "note: The history has no times" in cli("trace", "run", "--history", "i1,i2,i3,i4,i5").out
    assert "nothing is compressed" in cli("trace", "run", "--history", "i1,i2,i3").out
