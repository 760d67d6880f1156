"""Cells trained in pieces: done is skipped, interrupted goes on, failed is reported, the rest goes on."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from recblr.data.log import InteractionLog
from recblr.errors import DataError
from recblr.leaderboard import grid as grid_module
from recblr.leaderboard import work as work_module
from recblr.leaderboard.adopt import finished_runs, new_rows, row_of
from recblr.leaderboard.cells import Cell, Track
from recblr.leaderboard.rows import read_rows
from recblr.leaderboard.work import Outcome, claimed, is_complete, work
from recblr.training import Report

Work = Callable[..., Outcome]


def cell_of(backbone: str, preset: str = "fixed", seed: int = 0) -> Cell:
    return Cell(log="ring", protocol="recbole", backbone=backbone, preset=preset, seed=seed)


MINGRU, MARKOV, POPULARITY = cell_of("mingru"), cell_of("markov"), cell_of("popularity")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def call(toy_track: Track, toy_log: InteractionLog, runs: Path, table: Path) -> Work:
    def worked(*cells: Cell, **options: object) -> Outcome:
        return work(cells, lambda track: toy_log, runs, table, device="cpu", **options)  # type: ignore[arg-type]

    return worked


def test_a_cell_leaves_a_run_folder_and_a_row_with_what_it_cost(call: Work, runs: Path, table: Path) -> None:
    outcome = call(MINGRU, POPULARITY)
    assert outcome.trained == [MINGRU, POPULARITY]
    assert is_complete(MINGRU.folder(runs))
    assert sorted(path.name for path in (runs / "ring" / "recbole").iterdir()) == [
        "mingru-fixed-s0",
        "popularity-fixed-s0",
    ]
    learned, counted = read_rows(table)[MINGRU], read_rows(table)[POPULARITY]
    metrics = json.loads((MINGRU.folder(runs) / "metrics.json").read_text())
    assert learned.metrics == metrics["test"]["metrics"]
    assert learned.parameters == metrics["n_parameters"] > 0
    assert learned.training is not None
    assert learned.training.epochs == 2
    assert learned.training.fastest <= learned.training.seconds_per_epoch <= learned.training.slowest
    assert learned.training.machine.endswith(("thread", "threads"))
    assert learned.objective == "all"
    assert counted.training is None
    assert counted.objective == "counts"


def test_a_preset_that_is_not_causal_trains_on_prefixes(call: Work, table: Path) -> None:
    cell = cell_of("tisasrec", "reference")
    assert call(cell).trained == [cell]
    row = read_rows(table)[cell]
    assert (row.objective, row.causal, row.default, row.asking.step_ms) == ("last", False, False, None)


def test_no_cell_begins_after_the_time_is_up(call: Work) -> None:
    moments = iter([0.0, 1.0, 61.0])
    outcome = call(POPULARITY, MARKOV, minutes=1, clock=lambda: next(moments))
    assert outcome.trained == [POPULARITY]
    assert outcome.left == [MARKOV]


def test_a_cell_that_fails_is_reported_and_the_rest_goes_on(
    call: Work, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = work_module.train

    def train(name: str, *arguments: object, **options: object) -> Path:
        if name == "markov":
            raise RuntimeError("out of\n memory")
        return trained(name, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(work_module, "train", train)
    told = []
    outcome = call(MARKOV, POPULARITY, fail=lambda cell, why: told.append((cell, why)))
    assert outcome.failed == {MARKOV: "RuntimeError: out of memory"} == dict(told)
    assert outcome.trained == [POPULARITY]
    assert list(read_rows(table)) == [POPULARITY]


def test_a_log_of_another_size_is_refused(call: Work, monkeypatch: pytest.MonkeyPatch, toy_track: Track) -> None:
    monkeypatch.setattr("recblr.leaderboard.cells.TRACKS", (dataclasses.replace(toy_track, n_events=361),))
    assert "'ring' has 360 events, that of the table 361" in call(POPULARITY).failed[POPULARITY]


def test_an_interrupted_cell_goes_on_where_it_stopped(call: Work, runs: Path, table: Path) -> None:
    seen = []

    def stop(report: Report) -> None:
        seen.append(report.epoch)
        if report.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call(MINGRU, progress=stop)
    assert not is_complete(MINGRU.folder(runs))
    assert (runs / "ring" / "recbole" / ".mingru-fixed-s0.training" / "state.safetensors").exists()
    seen.clear()
    assert call(MINGRU, progress=lambda report: seen.append(report.epoch)).trained == [MINGRU]
    assert set(seen) == {2}
    assert list(read_rows(table)) == [MINGRU]


def test_a_cell_that_another_call_trains_is_left_to_it(call: Work, runs: Path) -> None:
    with claimed(POPULARITY.folder(runs)) as free:
        assert free
        assert call(POPULARITY, MARKOV).elsewhere == [POPULARITY]
    assert call(POPULARITY).trained == [POPULARITY]


def test_a_finished_folder_is_adopted_without_training_and_only_once(call: Work, runs: Path, table: Path) -> None:
    call(MINGRU, POPULARITY, MARKOV)
    rows = read_rows(table)
    found = finished_runs([runs])
    assert found == {cell: cell.folder(runs) for cell in (MINGRU, POPULARITY, MARKOV)}
    assert list(new_rows(rows, found)) == []
    adopted = {row.cell: row for row in new_rows({}, found, machine="a mill", beside_other_work=True)}
    assert adopted[MINGRU].metrics == rows[MINGRU].metrics
    assert adopted[MINGRU].training is not None
    assert (adopted[MINGRU].training.machine, adopted[MINGRU].training.beside_other_work) == ("a mill", True)
    assert call(MINGRU).trained == []


def test_asking_again_keeps_what_is_known_of_the_training(call: Work, runs: Path, table: Path) -> None:
    call(MINGRU)
    held = read_rows(table)
    (row,) = new_rows(held, finished_runs([runs]), again=True, beside_other_work=True)
    assert row.training == held[MINGRU].training
    assert row.asking.beside_other_work
    assert not held[MINGRU].asking.beside_other_work


def test_a_later_training_of_the_same_cell_takes_the_place_of_the_row(call: Work, runs: Path, table: Path) -> None:
    call(POPULARITY)
    held = read_rows(table)
    older = {POPULARITY: dataclasses.replace(held[POPULARITY], date="2020-01-01T00:00:00+00:00")}
    assert [row.date for row in new_rows(older, finished_runs([runs]))] == [held[POPULARITY].date]


def test_of_two_runs_of_one_cell_the_later_one_counts(call: Work, runs: Path, tmp_path: Path) -> None:
    call(POPULARITY)
    copy = tmp_path / "copied" / "popularity"
    shutil.copytree(POPULARITY.folder(runs), copy)
    config = yaml.safe_load((copy / "config.yaml").read_text())
    for date, expected in (("2020", POPULARITY.folder(runs)), ("2999", copy)):
        (copy / "config.yaml").write_text(yaml.safe_dump(config | {"date": f"{date}-01-01T00:00:00+00:00"}))
        assert finished_runs([tmp_path / "copied", runs]) == {POPULARITY: expected}


def test_a_run_by_another_recipe_is_passed_over_with_the_reason(
    call: Work, runs: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    call(MINGRU)
    monkeypatch.setattr(grid_module, "RECIPE", dataclasses.replace(grid_module.RECIPE, lr=0.1))
    with caplog.at_level(logging.WARNING):
        assert finished_runs([runs]) == {}
    assert "train.lr is 0.003, the recipe's is 0.1" in caplog.text
    assert "holds a run of another recipe: move it away" in call(MINGRU).failed[MINGRU]


def test_a_broken_folder_is_passed_over_and_trained_anew(
    call: Work, runs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    call(POPULARITY)
    (POPULARITY.folder(runs) / "metrics.json").unlink()
    with caplog.at_level(logging.WARNING):
        assert finished_runs([runs]) == {}
    assert "metrics.json is missing" in caplog.text
    assert call(POPULARITY).trained == [POPULARITY]


def test_a_run_of_no_table_makes_no_row(call: Work, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call(POPULARITY)
    monkeypatch.setattr("recblr.leaderboard.cells.TRACKS", ())
    assert finished_runs([runs]) == {}
    with pytest.raises(DataError, match="not a finished run of the table"):
        row_of(POPULARITY.folder(runs))
