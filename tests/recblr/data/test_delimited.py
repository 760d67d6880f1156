from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recblr.data.collect import collect_events
from recblr.data.columns import Columns
from recblr.data.delimited import DelimitedFile, sniff

from .conftest import EVENTS

TIME = 1577872801
COLUMNS = Columns(user="user", item="item", time="time")


def read_cells(table: DelimitedFile) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for batch in table.batches(table.column_names):
        rows += zip(*(batch.columns[name].to_pylist() for name in table.column_names), strict=True)
    return rows


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|", " "])
def test_the_delimiter_is_found(write, delimiter: str):
    rows = [("user", "item", "time"), *((user, item, str(time)) for user, item, time in EVENTS)]
    table = sniff(write("log.txt", "\n".join(delimiter.join(row) for row in rows)))
    assert table.delimiter == delimiter
    assert read_cells(table) == rows[1:]


def test_commas_and_blanks_inside_cells_do_not_mislead(write):
    text = "user\titem\ttime\n1\tOne, two\t2020-01-01 10:00\n2\tThree, four\t2020-01-01 10:00\n"
    assert sniff(write("log.tsv", text)).delimiter == "\t"
    assert sniff(write("log.csv", "1,2,2020-01-01 10:00:00\n3,4,2020-01-01 10:00:01\n")).delimiter == ","


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("user,item\n1,2\n", ("user", "item")),
        ("u,i\nann,tea\n", ("column1", "column2")),
        ("who,what\n1,2\n", ("who", "what")),
        ("1,2,1577872801\n1,3,1577872802\n", ("column1", "column2", "column3")),
        ("ann,tea\nbob,milk\n", ("column1", "column2")),
        ("\n\nuser,item\n1,2\n", ("user", "item")),
    ],
)
def test_a_header_is_told_from_a_first_row(write, text: str, names: tuple[str, ...]):
    assert sniff(write("log.csv", text)).column_names == names


def rows_with_bad_ones(n: int) -> str:
    """Every 7th row has no number for a time, every 11th is ragged, every 13th is followed by a blank line."""
    lines = ["user,item,time"]
    for number in range(n):
        lines.append(f"u{number % 5},i{number}" + ("" if number % 11 == 0 else ",x" if number % 7 == 0 else f",{TIME}"))
        lines += [""] * (number % 13 == 0)
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("block_bytes", [1, 16, 100, 1000, 1 << 20])
def test_lines_of_bad_rows_do_not_depend_on_the_size_of_blocks(write, block_bytes: int):
    text = rows_with_bad_ones(60)
    table = DelimitedFile(path=write("log.csv", text), block_bytes=block_bytes)
    raw = collect_events(table, COLUMNS)
    lines = text.splitlines()
    expected = [
        number + 1
        for number, line in enumerate(lines)
        if number and line and (line.count(",") < 2 or line.endswith("x"))
    ]
    assert [int(bad.place.rpartition(":")[2]) for bad in raw.bad_rows] == expected[:20]
    assert raw.n_bad == len(expected)
    assert raw.rows_in == 60


cell = st.text(st.sampled_from('ab,"\n é;'), max_size=6)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(cell, cell, cell), min_size=1, max_size=6), block_bytes=st.sampled_from([1, 20, 10_000]))
def test_quoted_cells_survive_any_size_of_blocks(tmp_path: Path, rows: list[tuple[str, str, str]], block_bytes: int):
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([("user", "item", "time"), *rows])
    path = tmp_path / "log.csv"
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    assert read_cells(DelimitedFile(path=path, block_bytes=block_bytes)) == rows


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252", "utf-8-sig"])
@pytest.mark.parametrize("block_bytes", [1, 5, 1000])
def test_other_encodings_survive_any_size_of_blocks(write, encoding: str, block_bytes: int):
    rows = [("é", "b", "c"), ("dü", "e", "fß")]
    text = "user,item,time\n" + "".join(",".join(row) + "\n" for row in rows)
    path = write("log.csv", text.encode(encoding))
    assert read_cells(DelimitedFile(path=path, encoding=encoding, block_bytes=block_bytes)) == rows


def test_inches_do_not_open_a_quote(write):
    path = write("log.csv", 'user,item,time\n1,3.5" disk,5\n2,5.25" disk,6\n3,disk,7\n')
    assert read_cells(DelimitedFile(path=path, block_bytes=1)) == [
        ("1", '3.5" disk', "5"),
        ("2", '5.25" disk', "6"),
        ("3", "disk", "7"),
    ]


def test_old_mac_line_ends_are_read(write):
    assert read_cells(DelimitedFile(path=write("log.csv", "user,item\r1,a\r2,b\r"))) == [("1", "a"), ("2", "b")]


def test_the_number_of_rows_is_guessed_from_the_size_of_the_file(write):
    table = DelimitedFile(path=write("log.csv", "user,item\n" + "12345,6789\n" * 50_000))
    assert table.estimated_rows == pytest.approx(50_000, rel=0.01)


def test_ids_of_many_batches_become_one_vocabulary(write, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("recblr.data.collect._COMPACT_WORDS", 3)
    rows = [(f"u{number % 17}", f"i{number % 23}") for number in range(500)]
    path = write("log.csv", "user,item\n" + "".join(f"{user},{item}\n" for user, item in rows))
    raw = collect_events(DelimitedFile(path=path, block_bytes=64), Columns(user="user", item="item"))
    assert len(raw.users.names) == 17
    assert len(raw.items.names) == 23
    pairs = zip(raw.users.names[raw.users.codes].tolist(), raw.items.names[raw.items.codes].tolist(), strict=True)
    assert list(pairs) == rows


def test_ids_that_differ_by_blanks_around_them_are_one(write):
    path = write("log.csv", "user,item\n1, 10\n1,10\n 1,10 \n")
    raw = collect_events(DelimitedFile(path=path), Columns(user="user", item="item"))
    assert raw.items.names.tolist() == ["10"]
    assert raw.users.codes.tolist() == [0, 0, 0]
