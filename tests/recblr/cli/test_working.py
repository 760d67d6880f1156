"""simulate, download, inspect-log, train and evaluate, one after the other as a user would."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from recblr.checkpoint import load_run
from recblr.data.simulator import SAMPLES, read_manifest
from recblr.recommender import load

SMALL = ["--model.d", "8", "--model.n-layers", "1", "--model.max_len", "16", "--train.epochs", "2"]


def test_a_simulated_log_is_written_and_described(cli, tmp_path: Path) -> None:
    answer = cli("simulate", "--out", "shop", "--n-users", "20", "--causes", "taste,echo", "--seed", "4", "--json")
    (one,) = answer.json
    assert one["n_users"] == 20
    assert one["config"]["causes"] == ["taste", "echo"]
    assert read_manifest(tmp_path / "shop")["config"]["seed"] == 4
    assert "echo" in cli("simulate", "--out", "shop", "--n-users", "20").out
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary").write_text("")
    cli.refused(["simulate", "--out", "mine", "--n-users", "5"], "choose another folder")


def test_the_gap_of_recalls_is_given_as_two_numbers(cli, tmp_path: Path) -> None:
    assert cli("simulate", "--out", "near", "--n-users", "20", "--recall-gap", "3,6").code == 0
    assert json.loads((tmp_path / "near" / "simulator.json").read_text())["config"]["recall_gap"] == [3, 6]
    for wrong in ("3", "3,6,9", "a,b"):
        cli.refused(["simulate", "--out", "other", "--recall-gap", wrong], "two whole numbers with a comma between")


def test_all_shipped_logs_are_written_below_a_folder(cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def write_all(folder: Path) -> list[Path]:
        asked.append(folder)
        return []

    monkeypatch.setattr("recblr.cli.simulate.write_all", write_all)
    assert cli("simulate", "--all", tmp_path / "samples").code == 0
    assert asked == [tmp_path / "samples"]


def test_a_log_is_inspected_by_path(cli, log_folder: Path) -> None:
    answer = cli("inspect-log", log_folder)
    assert answer.code == 0
    assert "users: 30" in answer.out
    told = cli("inspect-log", log_folder / "events.parquet", "--k-core", "5", "--json").json
    assert told["k_core"] == 5
    assert told["rows_in"] >= told["rows_out"]


def test_a_log_is_inspected_by_name(cli, log_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECBLR_DATA", str(log_folder.parent))
    assert cli("inspect-log", "shop", "--json").json["n_users"] == 30
    for name in SAMPLES:
        assert cli("inspect-log", name).code in (0, 2)


def test_columns_can_be_mapped(cli, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("who,what,when\nann,tea,1700000000\nann,jam,1700000100\nbob,tea,1700000200\n")
    cli.refused(["inspect-log", "log.csv"], "--columns.user")
    answer = cli("inspect-log", "log.csv", "--columns.user", "who", "--columns.item", "what", "--json").json
    assert answer["rows_out"] == 3
    cli.refused(["inspect-log", "log.csv", "--columns.user", "whom"], "no column 'whom'")
    cli.refused(["inspect-log", "log.csv", "--columns.usr", "who"], "did you mean '--columns.user'?")


@pytest.mark.parametrize("text", ["", "user,item\n", "user,item,time\na,b,soon\n"])
def test_a_log_without_events_is_one_clear_line(cli, tmp_path: Path, text: str) -> None:
    (tmp_path / "log.csv").write_text(text)
    cli.refused(["inspect-log", "log.csv"], "log.csv")
    cli.refused(["train", "recblr", "--data", "log.csv", "--out", "run"], "log.csv")


def test_a_log_that_is_not_there_is_answered_with_those_there_are(cli, run_folder: Path) -> None:
    for arguments in (
        ["inspect-log", "mixd"],
        ["train", "recblr", "--data", "mixd", "--out", "run"],
        ["evaluate", run_folder, "--data", "mixd"],
    ):
        cli.refused(arguments, "no log 'mixd' (did you mean 'mixed'?)", "recblr download")
    cli.refused(["inspect-log", "../mixed"], "no log '../mixed'")


def test_a_run_is_trained_saved_and_asked(cli, log_folder: Path, tmp_path: Path) -> None:
    answer = cli("train", "recblr", "--data", log_folder, "--out", "runs/a", *SMALL, "--train.lr", "0.01", "--json")
    assert answer.code == 0, answer.err
    assert len(answer.json["curve"]) == 2
    assert {"valid", "test"} <= set(answer.json)
    run = load_run(tmp_path / "runs" / "a")
    assert run.model.config.d == 8
    assert run.model.config.max_len == 16
    assert run.config["train"]["lr"] == 0.01
    assert run.config["data"]["name"] == "shop"
    assert str(tmp_path) not in (tmp_path / "runs" / "a" / "config.yaml").read_text()
    assert str(tmp_path) not in (tmp_path / "runs" / "a" / "metrics.json").read_text()
    assert len(load("a").recommend(["i001"], k=3)) == 3
    assert "echo" in json.dumps(answer.json["test"]["per_cause"])

    cli.refused(["train", "recblr", "--data", log_folder, "--out", "runs/a", *SMALL], "holds a run already")
    again = cli("train", "popularity", "--data", log_folder, "--out", "runs/a", "--replace", "--no-titles")
    assert again.code == 0, again.err
    assert "saved in runs/a" in again.out
    assert load("a").run.model.name == "popularity"
    assert load("a").run.catalog.titles is None


def test_a_place_that_is_taken_is_said_before_the_training(cli, log_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "diary").write_text("")
    message = cli.refused(["train", "recblr", "--data", log_folder, "--out", "notes", *SMALL], "is no run folder")
    assert "notes" in message


def test_options_come_from_a_file_and_those_beside_it_win(cli, log_folder: Path, tmp_path: Path) -> None:
    options = {
        "data": str(log_folder),
        "out": "runs/b",
        "preset": "reference",
        "model": {"d": 8, "n_layers": 1, "max_len": 16},
        "train": {"epochs": 1, "seed": 3},
    }
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(options))
    answer = cli("train", "recblr", "--config", "train.yaml", "--train.seed", "5")
    assert answer.code == 0, answer.err
    config = load_run(tmp_path / "runs" / "b").config
    assert config["preset"] == "reference"
    assert config["model"]["pad_class"] is True
    assert config["model"]["d"] == 8
    assert config["seed"] == 5

    (tmp_path / "train.yaml").write_text(yaml.safe_dump({**options, "model": {"widht": 8}}))
    cli.refused(["train", "recblr", "--config", "train.yaml"], "widht")
    (tmp_path / "train.yaml").write_text(yaml.safe_dump({**options, "spede": 1}))
    cli.refused(["train", "recblr", "--config", "train.yaml"], "spede")
    (tmp_path / "train.yaml").write_text("a: [")
    cli.refused(["train", "recblr", "--config", "train.yaml"])
    cli.refused(["train", "recblr", "--config", "nowhere.yaml"], "nowhere.yaml")


def test_a_setting_beside_a_preset_wins(cli, log_folder: Path, tmp_path: Path) -> None:
    arguments = ["--preset", "reference", "--model.pad-class", "false", *SMALL, "--train.epochs", "1"]
    answer = cli("train", "recblr", "--data", log_folder, "--out", "runs/c", *arguments)
    assert answer.code == 0, answer.err
    config = load_run(tmp_path / "runs" / "c").config
    assert config["preset"] == "custom"
    assert config["model"]["decay_init"] == "linspace"
    assert config["model"]["pad_class"] is False


def test_an_evaluation_names_its_protocol_and_shows_causes(cli, run_folder: Path, log_folder: Path) -> None:
    answer = cli("evaluate", run_folder, "--data", log_folder, "--draws", "20")
    assert answer.code == 0, answer.err
    assert "protocol lrurec: 30 targets of 30 users" in answer.out
    assert "NDCG@10" in answer.out
    assert "false alarms" in answer.out
    told = cli("evaluate", run_folder, "--data", log_folder, "--protocol", "recbole", "--part", "valid", "--json").json
    assert told["protocol"]["name"] == "recbole"
    assert told["part"] == "valid"
    assert set(told["intervals"]) == set(told["metrics"])
    users = ["--protocol", "users", "--every-position", "--draws", "0", "--max-users", "2", "--json"]
    assert cli("evaluate", run_folder, "--data", log_folder, *users).json["users"] == 2


def test_an_evaluation_that_cannot_be_made_is_one_clear_line(
    cli, run_folder: Path, log_folder: Path, tmp_path: Path
) -> None:
    rows = "\n".join(f"u{user},x{item},{1_700_000_000 + item}" for user in range(4) for item in range(5))
    (tmp_path / "other.csv").write_text(f"user,item,time\n{rows}\n")
    cli.refused(["evaluate", run_folder, "--data", "other.csv"], "a checkpoint of another catalogue")
    cli.refused(["evaluate", run_folder, "--data", log_folder, "--protocol", "best"], "no protocol 'best'")
    cli.refused(["evaluate", run_folder, "--data", log_folder, "--part", "tset"], "part")
    cli.refused(["evaluate", run_folder, "--data", log_folder, "--batch-size", "0"], "--batch-size")
    cli.refused(["evaluate", run_folder, "--data", log_folder, "--max-users", "0"], "max_users is 0")


def test_an_evaluation_says_when_the_log_is_not_that_of_the_training(
    cli, run_folder: Path, log_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert cli("evaluate", run_folder, "--data", log_folder, "--draws", "0").code == 0
    assert "trained on" not in caplog.text
    answer = cli("evaluate", run_folder, "--data", log_folder, "--draws", "0", "--k-core", "4")
    assert answer.code == 0, answer.err
    assert "trained on" in caplog.text


def test_a_download_shows_the_licence_and_where_the_log_is(
    cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(name: str, root: Path, *, progress) -> Path:
        progress(5, 10)
        progress(10, 10)
        (root / name).mkdir(parents=True)
        (root / name / "README").write_text("You may use these data for research.\n")
        return root / name

    monkeypatch.setattr("recblr.cli.download.download", fetch)
    answer = cli("download", "ml-100k", "--root", tmp_path / "data")
    assert answer.code == 0
    assert answer.out.startswith("You may use these data for research.")
    assert "recblr inspect-log" in answer.out
    assert "research use" in answer.err
