"""A small simulated log and a run trained on nothing, for commands called in process."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from recblr.backbones import backbone, make_config
from recblr.checkpoint import save_run
from recblr.cli import main
from recblr.data.read import read_log
from recblr.data.simulator import SimulatorConfig, simulate, write_sample
from recblr.training import build

_HOMES = ("XDG_DATA_HOME", "XDG_CACHE_HOME")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Cli:
    """Calls the command line in process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *arguments: str | Path) -> Answer:
        self.capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = self.capsys.readouterr()
        return Answer(code=code, out=out, err=err)

    def refused(self, arguments: Sequence[str | Path], *words: str) -> str:
        """The one line of an error that must come."""
        answer = self(*arguments)
        assert answer.code == 2, answer
        assert answer.out == ""
        last = answer.err.strip().splitlines()[-1]
        assert last.startswith("error: ")
        assert "Traceback" not in answer.err
        for word in words:
            assert word in last, last
        return last


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


@pytest.fixture(scope="session")
def log_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("logs") / "shop"
    config = SimulatorConfig(n_users=30, causes=("taste", "echo"), shares={"echo": 0.2}, mean_length=24)
    write_sample(folder, simulate(config))
    return folder


@pytest.fixture(scope="session")
def any_run(tmp_path_factory: pytest.TempPathFactory, log_folder: Path) -> Callable[[str], Path]:
    """A run of a backbone by its name, with weights as they were drawn."""
    log, _ = read_log(log_folder)
    data = {"name": log.name, "fingerprint": log.fingerprint, "n_users": log.n_users, "n_events": log.n_events}
    root = tmp_path_factory.mktemp("runs") / "shop"

    def make(name: str) -> Path:
        if not (root / name).exists():
            cls = backbone(name)
            sizes = {"d": 8, "n_layers": 2} if cls.learns else {}
            model = build(name, make_config(cls, n_items=log.catalog.n_items, max_len=20, **sizes), seed=0)
            save_run(root / name, model, log.catalog, train={"protocol": "lrurec"}, data=data, metrics={})
        return root / name

    return make


@pytest.fixture(scope="session")
def run_folder(any_run: Callable[[str], Path]) -> Path:
    return any_run("recblr")


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read from or left in the home of who runs the tests."""
    for variable in _HOMES:
        monkeypatch.setenv(variable, str(tmp_path / "home"))
    for variable in ("RECBLR_DATA", "RECBLR_RUNS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
