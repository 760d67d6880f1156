"""``recblr leaderboard``: in pieces, from the list of cells to the page."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from recblr.backbones import REGISTRY
from recblr.leaderboard import cells, grid
from recblr.leaderboard.cells import Track

RING = Track(log="ring", protocol="recbole", n_events=200, max_len=12, what="A ring of items.")
COUNTING = "ring recbole popularity,ring recbole markov"


@pytest.fixture(autouse=True)
def ring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only table is of a ring of items whose log lies in data/ring; a training is two short epochs."""
    monkeypatch.setattr(cells, "TRACKS", (RING,))
    monkeypatch.setattr(grid, "RECIPE", dataclasses.replace(grid.RECIPE, epochs=2, eval_every=2))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    folder = tmp_path / "data" / "ring"
    folder.mkdir(parents=True)
    events = [f"u{user}\ti{(user + step) % 8}\t{1_000_000 + 60 * step}" for user in range(20) for step in range(10)]
    (folder / "ring.inter").write_text("\n".join(["user_id:token\titem_id:token\ttimestamp:float", *events]))
    return folder


def board(cli, *arguments: str | Path):
    return cli("leaderboard", "--data", "data", "--runs", "runs", "--results", "results", *arguments)


def test_the_list_shows_every_cell_and_writes_nothing(cli, tmp_path: Path) -> None:
    answer = board(cli, "--list", "--json")
    assert answer.code == 0
    listed = answer.json
    assert {one["backbone"] for one in listed} == set(REGISTRY)
    assert {one["state"] for one in listed} == {"missing"}
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "home") == ["data"]
    assert f"0 of {len(listed)} cells are done" in board(cli, "--list").out


def test_chosen_cells_are_trained_into_the_table_and_the_page_and_then_skipped(cli, tmp_path: Path) -> None:
    answer = board(cli, "--only", COUNTING, "--beside-other-work")
    assert answer.code == 0
    assert "training ring/recbole/markov-fixed-s0 (1 of 2)" in answer.err
    assert "2 of 2 cells are done" in answer.out
    rows = json.loads((tmp_path / "results" / "leaderboard.json").read_text())["rows"]
    assert [row["backbone"] for row in rows] == ["markov", "popularity"]
    assert rows[0]["asking"]["beside_other_work"]
    page = (tmp_path / "results" / "README.md").read_text()
    assert "| Popularity | fixed |" in page
    assert "Not trained yet: recblr fixed" in page
    assert "training" not in board(cli, "--only", COUNTING).err
    assert {one["state"] for one in board(cli, "--list", "--only", COUNTING, "--json").json} == {"done"}


def test_finished_runs_are_taken_in_without_training(cli, tmp_path: Path) -> None:
    board(cli, "--only", "ring * popularity")
    (tmp_path / "results" / "leaderboard.json").unlink()
    listed = board(cli, "--list", "--only", COUNTING, "--json").json
    assert {one["backbone"]: one["state"] for one in listed} == {"popularity": "finished", "markov": "missing"}
    answer = board(cli, "--no-train")
    assert "taken into the table: ring/recbole/popularity-fixed-s0" in answer.err
    assert f"1 of {len(REGISTRY)} cells are done" in answer.out
    (tmp_path / "runs").rename(tmp_path / "elsewhere")
    (tmp_path / "results" / "leaderboard.json").unlink()
    assert "taken into the table" in board(cli, "--no-train", "--adopt", "elsewhere").err


def test_the_page_is_made_again_from_the_table_alone(cli, tmp_path: Path) -> None:
    board(cli, "--only", "ring * popularity")
    page = tmp_path / "results" / "README.md"
    text = page.read_text()
    page.write_text("scribble")
    (tmp_path / "data").rename(tmp_path / "gone")
    (tmp_path / "runs").rename(tmp_path / "gone too")
    assert board(cli, "--write").code == 0
    assert page.read_text() == text


def test_a_cell_that_fails_is_named_after_the_others_are_done(cli, tmp_path: Path) -> None:
    (tmp_path / "runs" / "ring" / "recbole" / "markov-fixed-s0").mkdir(parents=True)
    (tmp_path / "runs" / "ring" / "recbole" / "markov-fixed-s0" / "diary.txt").write_text("mine")
    last = cli.refused(
        ["leaderboard", "--data", "data", "--runs", "runs", "--results", "results", "--only", COUNTING],
        "1 of the cells failed, the others are in the table: ring/recbole/markov-fixed-s0",
        "is no run folder",
    )
    assert "popularity" not in last
    assert "| Popularity | fixed |" in (tmp_path / "results" / "README.md").read_text()


def test_a_folder_without_the_log_is_one_clear_line(cli, tmp_path: Path) -> None:
    (tmp_path / "data" / "ring").rename(tmp_path / "data" / "circle")
    cli.refused(
        ["leaderboard", "--data", "data", "--results", "results", "--only", "ring * popularity"], "data holds no ring"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "ml-2m"], "'ml-2m' names no cell"),
        (["--minutes", "-1"], "--minutes is -1.0: it must not be negative"),
        (["--list", "--write"], "pass either"),
        (["--only", "ring", "--seed", "1"], "did you mean '--seeds'?"),
    ],
)
def test_wrong_options_are_one_clear_line(cli, arguments: list[str], words: str) -> None:
    cli.refused(["leaderboard", "--data", "data", "--results", "results", *arguments], words)


def test_a_damaged_table_stops_the_call_before_anything_is_trained(cli, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "leaderboard.json").write_text("{")
    cli.refused(["leaderboard", "--data", "data", "--results", "results"], "leaderboard.json is not a table of results")
    assert not (tmp_path / "runs").exists()
