"""The JSON of all rows: what goes in comes out, and no writer loses another's rows."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from recblr.errors import DataError
from recblr.leaderboard.rows import Row, locked, merge, read_rows

ADD = """
import sys
from pathlib import Path
from dataclasses import replace
from recblr.leaderboard.rows import merge, read_rows
path, first = Path(sys.argv[1]), int(sys.argv[2])
row = next(iter(read_rows(path).values()))
for seed in range(first, first + 12):
    merge(path, [replace(row, seed=seed)])
"""


def test_rows_are_read_as_they_were_written(table: Path, made: Callable[..., Row]) -> None:
    rows = [made(), made(seed=1, training=None, objective="counts"), made(commit="abc", ndcg=0.3, seed=2)]
    merge(table, rows)
    assert list(read_rows(table).values()) == rows


def test_no_file_is_no_rows(table: Path) -> None:
    assert read_rows(table) == {}


def test_a_row_takes_the_place_of_the_one_of_its_cell_and_leaves_the_others(
    table: Path, made: Callable[..., Row]
) -> None:
    merge(table, [made(), made(seed=1)])
    held = merge(table, [made(ndcg=0.25)])
    assert {cell.seed: row.metrics["NDCG@10"] for cell, row in held.items()} == {0: 0.25, 1: 0.2}


def test_rows_stand_in_the_order_of_the_page_and_the_file_is_the_same_whatever_came_first(
    tmp_path: Path, made: Callable[..., Row]
) -> None:
    rows = [made(), made(log="beauty"), made(log="ml-1m-recbole", protocol="recbole"), made(backbone="gru4rec")]
    merge(tmp_path / "one.json", rows)
    for row in reversed(rows):
        merge(tmp_path / "other.json", [row])
    assert (tmp_path / "one.json").read_text() == (tmp_path / "other.json").read_text()
    assert [row.log for row in read_rows(tmp_path / "one.json").values()] == [
        "ml-1m-recbole",
        "ml-1m",
        "ml-1m",
        "beauty",
    ]


def test_two_processes_that_write_at_once_lose_no_row(table: Path, made: Callable[..., Row]) -> None:
    merge(table, [made()])
    both = [subprocess.Popen([sys.executable, "-c", ADD, str(table), first]) for first in ("1", "101")]
    assert [one.wait(timeout=60) for one in both] == [0, 0]
    assert sorted(cell.seed for cell in read_rows(table)) == [*range(13), *range(101, 113)]
    assert [path.name for path in table.parent.iterdir()] == [table.name]


def test_a_lock_that_is_taken_is_not_waited_for_on_request(tmp_path: Path) -> None:
    with locked(tmp_path) as first, locked(tmp_path, wait=False) as second:
        assert first
        assert not second
    with locked(tmp_path, wait=False) as free:
        assert free


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": 1, "rows": [{"log": "x"}]}', '{"rows": []}'])
def test_a_damaged_table_is_named_and_never_overwritten(table: Path, made: Callable[..., Row], text: str) -> None:
    table.parent.mkdir()
    table.write_text(text)
    with pytest.raises(DataError, match=r"leaderboard\.json is not a table of results"):
        merge(table, [made()])
    assert table.read_text() == text


def test_a_value_of_another_type_and_an_unknown_name_are_refused(table: Path, made: Callable[..., Row]) -> None:
    merge(table, [made()])
    held = json.loads(table.read_text())
    for name, value in (("parameters", "many"), ("speed", 3)):
        table.write_text(json.dumps(held | {"rows": [held["rows"][0] | {name: value}]}))
        with pytest.raises(DataError, match=name):
            read_rows(table)


def test_another_format_is_refused(table: Path) -> None:
    table.parent.mkdir()
    table.write_text('{"format": 2, "rows": [{"something": "else"}]}')
    with pytest.raises(DataError, match="format is 2, this version reads 1"):
        read_rows(table)
