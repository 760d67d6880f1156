"""The command line as a whole: help, exit codes, and where messages go."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import recblr
from recblr.backbones import REGISTRY
from recblr.cli import COMMANDS, find_command, main
from recblr.cli.command import Command

FIELDS = {
    "simulate": ["--out", "--all", "--n-users", "--causes", "Shortest history"],
    "download": ["name", "--root", "ml-latest-small"],
    "inspect-log": ["--columns.user", "Column of the user id", "--k-core", "Least events of a user"],
    "evaluate": ["--protocol", "--part", "--every-position", "Bootstrap draws"],
    "recommend": ["--history", "-k", "How many items", "--keep-seen"],
    "trace": ["--history", "--layer", "Only this layer"],
    "backbones": ["--n-items", "those of ML-1M"],
    "leaderboard": ["--only", "--minutes", "--list", "Begin no further cell"],
    "compression-study": ["--runs", "--old", "--recent", "always read as they are"],
}


def test_every_command_has_a_module_that_defines_it() -> None:
    for name in COMMANDS:
        assert isinstance(find_command(name), Command)


@pytest.mark.parametrize("name", FIELDS)
def test_the_help_of_a_command_names_its_options_and_what_they_mean(cli, name: str) -> None:
    answer = cli(name, "--help")
    text = " ".join(answer.out.split())
    assert answer.code == 0
    for words in [*FIELDS[name], "--json"]:
        assert words in text


@pytest.mark.parametrize("name", list(REGISTRY))
def test_the_help_of_training_shows_the_settings_of_that_backbone(cli, name: str) -> None:
    answer = cli("train", name, "--help")
    assert answer.code == 0
    assert "--train.epochs" in answer.out
    assert "--model.max_len" in answer.out
    assert "n_items" not in answer.out
    assert ("--model.decay_init" in answer.out) == (name == "recblr")


def test_training_without_a_backbone_lists_them(cli) -> None:
    answer = cli("train", "--help")
    assert answer.code == 0
    assert all(name in answer.out for name in REGISTRY)


def test_without_a_command_the_commands_are_listed(cli) -> None:
    assert cli().code == 2
    answer = cli("--help")
    assert answer.code == 0
    assert all(name in answer.out for name in COMMANDS)


def test_the_version_is_told(cli) -> None:
    assert cli("--version").out.strip() == f"recblr {recblr.__version__}"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian"], "did you mean 'train'?"),
        (["train", "sasrek", "--data", "x"], "did you mean 'sasrec'?"),
        (["train", "recblr", "--data", "x", "--out", "y", "--model.conf", "3"], "did you mean '--model.conv'?"),
        (["train", "recblr", "--data", "x", "--out", "y", "--train.epoch", "3"], "did you mean '--train.epochs'?"),
        (["train", "recblr", "--data", "x", "--out", "y", "--model.d", "wide"], "model.d: must be int, not wide"),
        (["train", "recblr", "--data", "x", "--out", "y", "--model.d", "0"], "d is 0: it must be at least 1"),
        (["train", "recblr", "--data", "x", "--out", "y", "--train.lr", "-1"], "train.lr is -1"),
        (["train", "recblr", "--data", "x", "--out", "y", "--preset", "fxed"], "no preset 'fxed'"),
        (["train", "recblr", "--data", "x"], "--out must be given"),
        (["recommend", "--history", "a"], "run must be given"),
        (["recommend", "x", "--histroy", "a"], "did you mean '--history'?"),
        (["backbones", "extra"], "unrecognized arguments: extra"),
        (["simulate"], "give one of --out FOLDER"),
        (["simulate", "--all", "x", "--seed", "3"], "leave out --seed"),
        (["simulate", "--out", "x", "--n_users", "0"], "n_users is 0"),
        (["simulate", "--out", "x", "--causes", "taste,luck"], "'luck' is no cause"),
        (["download", "ml-2m"], "no log 'ml-2m' to download"),
    ],
)
def test_a_command_line_that_cannot_be_read_is_one_clear_line(cli, arguments: list[str], words: str) -> None:
    if "--model.d" in arguments and "0" in arguments:
        Path("x").write_text("user,item\na,b\na,c\na,d\n")
        arguments = [*arguments[:3], "x.csv", *arguments[4:]]
        Path("x").rename("x.csv")
    cli.refused(arguments, words)


def test_ctrl_c_is_no_traceback(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("recblr.cli.backbones._row", lambda *_: interrupt(None))
    answer = cli("backbones")
    assert (answer.code, answer.out, answer.err) == (130, "", "stopped\n")


def test_a_full_disk_is_one_clear_line(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "place")

    monkeypatch.setattr("recblr.cli.backbones._row", full)
    cli.refused(["backbones"], "place: No space left on device")


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    code = "import sys; from recblr.cli import main; sys.exit(main(['--help']))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    complaint = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 141
    assert complaint == b""


def test_the_list_of_commands_needs_no_torch() -> None:
    code = "import sys; from recblr.cli import main; main(['--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, timeout=60).returncode == 0


def test_arguments_come_from_the_command_line_when_none_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["recblr", "--version"])
    assert main() == 0
