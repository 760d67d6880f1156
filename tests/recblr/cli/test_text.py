"""A backbone that reads texts, by command: trained, measured, traced and asked; without texts and offline."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest

from recblr.recommender import load

SMALL = ["--model.d", "8", "--model.n-layers", "1", "--model.max-len", "16", "--train.epochs", "1"]


@pytest.mark.parametrize(("preset", "text"), [("fixed", "title"), ("reference", "title,aisle")])
def test_a_run_is_trained_measured_traced_and_asked(cli, log_folder: Path, preset: str, text: str) -> None:
    train = ["train", "hllm", "--preset", preset, "--data", log_folder, "--out", "run", "--model.text", text, *SMALL]
    answer = cli(*train)
    assert answer.code == 0, answer.err
    told = cli("evaluate", "run", "--data", log_folder, "--draws", "0", "--json")
    assert told.code == 0, told.err
    assert told.json["preset"] == preset
    assert cli("evaluate", "run", "--data", log_folder, "--draws", "0", "--every-position").code == 0
    run = load("run").run
    history = ",".join(run.catalog.ids[1:5].tolist())
    traced = cli("trace", "run", "--history", history, "--json").json
    (layer,) = traced["layers"]
    assert len(layer["mix"][0]) == 4
    assert not any("read no catalogue" in note for note in traced["notes"])
    rows = cli("recommend", "run", "--history", history, "-k", "3", "--json").json["rows"]
    assert len(rows) == 3


def test_the_same_command_gives_the_same_weights(cli, log_folder: Path) -> None:
    train = ["train", "hllm", "--data", log_folder, "--out", "run", *SMALL]
    assert cli(*train).code == 0
    first = load("run").run
    assert cli(*train, "--replace").code == 0
    assert load("run").run.config["sha256"]["model.safetensors"] == first.config["sha256"]["model.safetensors"]


def test_a_log_without_texts_is_refused_and_its_ids_are_read_where_asked_for(cli, tmp_path: Path) -> None:
    rows = "\n".join(f"u{user},i{(user + step) % 7}" for user in range(12) for step in range(6))
    (tmp_path / "log.csv").write_text(f"user,item\n{rows}\n")
    train = ["train", "hllm", "--data", "log.csv", "--out", "run", *SMALL]
    cli.refused(train, "no 'title'", "ids alone", "--model.text id")
    answer = cli(*train, "--model.text", "id")
    assert answer.code == 0, answer.err
    assert "".join(load("run").run.model.words(1)).startswith("i")  # type: ignore[operator]


def test_titles_that_the_weights_hold_cannot_be_left_out(cli, log_folder: Path) -> None:
    train = ["train", "hllm", "--data", log_folder, "--out", "run", "--no-titles", *SMALL]
    cli.refused(train, "--no-titles", "--model.item_weights frozen")
    assert cli(*train, "--model.item_weights", "frozen").code == 0


def test_a_hub_name_without_a_network_is_one_clear_line(cli, log_folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    train = ["train", "hllm", "--data", log_folder, "--out", "run", "--model.user-llm", "someone/some-model", *SMALL]
    cli.refused(train, "user_llm 'someone/some-model'", "pass its folder", "choose tiny")
