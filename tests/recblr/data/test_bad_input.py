"""Input that a stranger brings: each gives a clear error with the way out, or an answer that the report names."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recblr.data import memory
from recblr.data.columns import Columns
from recblr.data.read import read_log
from recblr.errors import DataError

from .conftest import sequences

TIME = 1577872801


def bad_lines(report) -> list[str]:
    return [str(bad) for bad in report.bad_rows]


# Columns


def test_a_misnamed_column_is_named_with_the_nearest_one_and_the_option(write):
    path = write("log.csv", "usr_id,item,time\n1,a,5\n")
    with pytest.raises(DataError) as caught:
        read_log(path)
    assert "log.csv, line 1: no column for the user among 'usr_id', 'item', 'time'" in str(caught.value)
    assert "the nearest is 'usr_id': pass --columns.user usr_id" in str(caught.value)


def test_a_missing_column_is_named_with_the_columns_there_are(write):
    path = write("log.csv", "user,colour,time\n1,a,5\n")
    with pytest.raises(DataError, match=r"no column for the item among 'user', 'colour', 'time'; pass --columns\.item"):
        read_log(path)


def test_a_mapped_column_that_is_not_there_is_named_with_the_nearest_one(write):
    path = write("log.csv", "who,what,when\n1,a,5\n")
    with pytest.raises(DataError, match=r"no column 'wo' for the user; it has .* pass --columns\.user who"):
        read_log(path, columns=Columns(user="wo", item="what"))


def test_one_column_cannot_play_two_roles(write):
    with pytest.raises(DataError, match="one column cannot play two roles"):
        read_log(write("log.csv", "a,b\n1,2\n"), columns=Columns(user="a", item="a"))


def test_two_columns_of_the_mapped_name_are_refused(write):
    with pytest.raises(DataError, match="several columns named 'user'"):
        read_log(write("log.csv", "user,user,item\n1,2,3\n"), columns=Columns(user="user"))


def test_a_table_of_one_column_is_refused(write):
    with pytest.raises(DataError, match=r"log\.csv, line 1: one column only \('user'\)"):
        read_log(write("log.csv", "user\n1\n2\n"))


# Nothing in it


@pytest.mark.parametrize("content", ["", "\n\n", "  \n"])
def test_an_empty_log_is_said_so(write, content: str):
    with pytest.raises(DataError, match=r"log\.csv is empty: there is not one event"):
        read_log(write("log.csv", content))


@pytest.mark.parametrize("content", ["user,item,time", "user,item,time\n", "user,item,time\r\n\r\n"])
def test_a_header_alone_is_said_so(write, content: str):
    with pytest.raises(DataError, match="a header and no rows"):
        read_log(write("log.csv", content))


def test_an_empty_parquet_file_is_said_so(tmp_path: Path):
    pq.write_table(pa.table({"user": pa.array([], pa.string()), "item": []}), tmp_path / "log.parquet")
    with pytest.raises(DataError, match="no rows"):
        read_log(tmp_path / "log.parquet")


def test_users_with_one_event_are_kept_and_counted(write):
    log, report = read_log(write("log.csv", f"user,item,time\n1,a,{TIME}\n2,a,{TIME}\n2,b,{TIME}\n"))
    assert log.n_users == 2
    assert report.one_event_users == 1
    assert "users: 2 (1 with a single event)" in report.lines()


# Rows


def test_a_time_that_is_no_number_drops_its_row_and_names_the_line(write):
    log, report = read_log(write("log.csv", f"user,item,time\n1,a,{TIME}\n1,b,noon\n1,c,{TIME}\n1,d,\n"))
    assert [item for item, _ in sequences(log)["1"]] == ["a", "c"]
    assert bad_lines(report) == ["log.csv:3: the time 'noon' is not a number", "log.csv:5: the time is missing"]
    assert (report.rows_in, report.n_bad, report.rows_out) == (4, 2, 2)


def test_ragged_rows_are_dropped_and_named(write):
    text = f"user,item,time\n1,a,{TIME}\n1,b\n1,c,{TIME},extra\n1,d,{TIME}\n"
    _, report = read_log(write("log.csv", text))
    assert bad_lines(report) == [
        "log.csv:3: 2 cells where the table has 3",
        "log.csv:4: 4 cells where the table has 3",
    ]
    assert report.rows_out == 2


@pytest.mark.parametrize("blank", ["", "   ", '""'])
def test_missing_users_and_items_are_dropped_and_named(write, blank: str):
    text = f"user,item,time\n{blank},a,{TIME}\n1,{blank},{TIME}\n{blank},{blank},\n1,b,{TIME}\n"
    _, report = read_log(write("log.csv", text))
    assert bad_lines(report) == [
        "log.csv:2: the user is missing",
        "log.csv:3: the item is missing",
        "log.csv:4: the user is missing; the item is missing; the time is missing",
    ]


def test_missing_cells_of_a_parquet_file_are_named_by_row(tmp_path: Path):
    table = pa.table({"user": [1.0, None, 3.0], "item": ["a", "b", None], "time": [TIME, TIME, TIME]})
    pq.write_table(table, tmp_path / "log.parquet")
    log, report = read_log(tmp_path / "log.parquet")
    assert bad_lines(report) == ["log.parquet row 1: the user is missing", "log.parquet row 2: the item is missing"]
    assert log.users.tolist() == ["1"]  # a whole number that was kept as a float because others are missing


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_line_numbers_count_blank_lines_and_breaks_inside_quotes(write, ending: str):
    lines = ["user,item,title,time", "", f'1,a,"two{ending}lines",{TIME}', "", f"1,b,x,{TIME}", "1,c,x,soon", "1,d", ""]
    _, report = read_log(write("log.csv", ending.join(lines)))
    assert bad_lines(report) == [
        "log.csv:7: the time 'soon' is not a number",
        "log.csv:8: 2 cells where the table has 4",
    ]
    assert report.rows_in == 4


def test_a_quote_that_never_closes_is_named_with_the_lines_it_swallows(write):
    text = f'user,item,time\n1,a,{TIME}\n1,"b,{TIME}\n1,c,{TIME}\n'
    _, report = read_log(write("log.csv", text))
    assert report.n_bad == 1
    assert "log.csv:3: 2 cells where the table has 3; a double quote opens here and runs over 1 lines" in bad_lines(
        report
    )


def test_at_most_twenty_bad_rows_are_listed_and_all_are_counted(write):
    rows = "".join(f"1,i{number},{'x' if number % 2 else TIME}\n" for number in range(100))
    _, report = read_log(write("log.csv", "user,item,time\n" + rows))
    assert report.n_bad == 50
    assert bad_lines(report)[0] == "log.csv:3: the time 'x' is not a number"
    assert len(report.bad_rows) == 20
    assert "  and 30 more" in report.lines()


def test_a_log_without_one_usable_row_is_refused_with_the_first_reason(write):
    with pytest.raises(DataError) as caught:
        read_log(write("log.csv", "user,item,time\n1,a,x\n2,b,y\n"))
    message = str(caught.value)
    assert (
        "not one of 2 rows is usable; the first: log.csv:2: the time 'x' is neither a number nor an ISO 8601" in message
    )
    assert "--columns.time ''" in message


def test_a_wrong_time_column_can_be_mapped_away(write):
    log, report = read_log(write("log.csv", "user,item,time\n1,b,x\n1,a,y\n"), columns=Columns(time=""))
    assert not log.has_times
    assert [item for item, _ in sequences(log)["1"]] == ["b", "a"]
    assert report.time == "none; each user's events are kept in the order of the file"


# Encodings and binary files


def test_a_byte_that_is_not_utf8_is_named_with_its_line_and_the_option(write):
    path = write("log.csv", "user,item,time\n1,a,5\n1,café,6\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"log\.csv, line 3: byte 0xE9 is not UTF-8: pass encoding='latin-1'"):
        read_log(path)
    log, _ = read_log(path, encoding="latin-1")
    assert log.catalog.ids.tolist() == ["", "a", "café"]


def test_utf16_is_recognised_by_its_mark_and_read_when_asked(write):
    path = write("log.csv", f"user,item,time\nü,a,{TIME}\nü,b,x\n".encode("utf-16"))
    with pytest.raises(DataError, match=r"line 1: UTF-16 text, not UTF-8: pass encoding='utf-16'"):
        read_log(path)
    log, report = read_log(path, encoding="utf-16")
    assert log.users.tolist() == ["ü"]
    assert bad_lines(report) == ["log.csv:3: the time 'x' is not a number"]


def test_utf16_without_a_mark_is_named_by_its_nul_bytes(write):
    path = write("log.csv", "user,item\n1,a\n".encode("utf-16-le"))
    with pytest.raises(DataError, match="a NUL byte, so this is not UTF-8 text"):
        read_log(path)
    assert read_log(path, encoding="utf-16-le")[0].n_events == 1


def test_bytes_that_the_given_encoding_lacks_are_named(write):
    path = write("log.csv", b"user,item\n1,a\n1,\xff\n")
    with pytest.raises(DataError, match=r"log\.csv, line 3: not ascii text"):
        read_log(path, encoding="ascii")


def test_an_encoding_that_does_not_exist_is_refused(write):
    with pytest.raises(DataError, match="there is no encoding 'latin-99': try 'utf-8'"):
        read_log(write("log.csv", "user,item\n1,a\n"), encoding="latin-99")


def test_a_byte_order_mark_is_no_part_of_the_first_column(write):
    log, _ = read_log(write("log.csv", b"\xef\xbb\xbfuser,item\n1,a\n"))
    assert log.n_events == 1


def zipped() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("log.csv", "user,item\n1,a\n")
    return data.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PAR1\x15\x04", "a Parquet file: rename it to .parquet"),
        (zipped(), "a zip archive: unpack it first"),
        (gzip.compress(b"user,item\n1,a\n"), "compressed with gzip: unpack it first"),
        (b"\x7fELF\x02\x01\x01\x00\x00", "a NUL byte, so this is not UTF-8 text: a binary file under this name"),
        (b"user,item\n1,a\n2,\x00\n", "line 3: a NUL byte"),
    ],
    ids=["Parquet", "zip", "gzip", "ELF", "NUL"],
)
def test_a_binary_file_called_csv_is_said_so(write, content: bytes, said: str):
    with pytest.raises(DataError) as caught:
        read_log(write("log.csv", content))
    assert said in str(caught.value)


def test_a_nul_byte_far_into_the_file_is_named_with_its_line(write):
    path = write("log.csv", b"user,item\n" + b"1,a\n" * 100_000 + b"1,\x00\n")
    with pytest.raises(DataError, match=r"log\.csv, line 100002: a NUL byte"):
        read_log(path)


@pytest.mark.parametrize("content", [b"user,item\n1,a\n", b"PAR1PAR1", b""])
def test_a_text_file_called_parquet_is_said_so(write, content: bytes):
    with pytest.raises(DataError, match=r"log\.parquet is not a Parquet file, or a damaged one"):
        read_log(write("log.parquet", content))


def test_a_truncated_parquet_file_is_said_so(write, tmp_path: Path):
    pq.write_table(pa.table({"user": np.arange(5000), "item": np.arange(5000)}), tmp_path / "whole.parquet")
    content = (tmp_path / "whole.parquet").read_bytes()
    middle = bytearray(content)
    middle[100:4000] = b"\xff" * 3900
    for broken in (content[:-200], bytes(middle)):
        with pytest.raises(DataError, match="damaged"):
            read_log(write("log.parquet", broken))


def test_a_column_of_lists_is_no_id(tmp_path: Path):
    pq.write_table(pa.table({"user": [[1], [2]], "item": ["a", "b"]}), tmp_path / "log.parquet")
    with pytest.raises(DataError, match=r"column 'user' holds list<.*which is no id"):
        read_log(tmp_path / "log.parquet")


# Size


def test_a_file_too_large_for_memory_is_refused_before_it_is_read(write, monkeypatch: pytest.MonkeyPatch):
    path = write("log.csv", "user,item,time\n" + f"1,a,{TIME}\n" * 1000)
    monkeypatch.setattr(memory, "available_memory", lambda: 50_000)
    with pytest.raises(DataError, match=r"log\.csv: about 1,0\d\d events need about 0\.1 MB of memory and 0\.1 MB are"):
        read_log(path)
    monkeypatch.setattr(memory, "available_memory", lambda: 100_000)
    assert read_log(path)[0].n_events == 1000


def test_a_sparse_file_of_three_gigabytes_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "log.csv"
    with path.open("wb") as file:
        file.write(b"user,item,time\n" + b"12345,678,1577872801\n" * 5000)
        file.truncate(3 << 30)
    monkeypatch.setattr(memory, "available_memory", lambda: 4 << 30)
    with pytest.raises(DataError, match=r"about 15\d,\d{3},\d{3} events need about 11\.\d GB of memory and 4\.3 GB"):
        read_log(path)


def test_memory_that_shrinks_while_a_log_is_read_ends_in_a_clear_error(write, monkeypatch: pytest.MonkeyPatch):
    path = write("log.csv", "user,item,time\n" + f"1,a,{TIME}\n" * 1000)
    answers = iter([1 << 30])
    monkeypatch.setattr(memory, "available_memory", lambda: next(answers, 1000))
    with pytest.raises(DataError, match="use a machine with more memory, or a smaller part of the log"):
        read_log(path)


def test_ids_too_many_and_too_long_for_memory_are_refused(write, monkeypatch: pytest.MonkeyPatch):
    path = write(
        "log.csv", "user,item\n" + "".join(f"{number},i{number}\n" for number in range(500)) + f"1,{'x' * 9000}\n"
    )
    monkeypatch.setattr(memory, "available_memory", lambda: 1_000_000)
    with pytest.raises(DataError, match=r"501 ids of up to 9000 letters need about 18\.1 MB"):
        read_log(path)


def test_an_item_file_too_large_for_memory_is_refused(write, monkeypatch: pytest.MonkeyPatch):
    write("ratings.csv", "userId,movieId,rating,timestamp\n1,9,5,1577872801\n")
    path = write("movies.csv", "movieId,title,genres\n" + "9,Nine,Drama\n" * 1000).parent
    monkeypatch.setattr(memory, "available_memory", lambda: 20_000)
    with pytest.raises(DataError, match=r"movies\.csv: the item texts need about 0\.1 MB"):
        read_log(path)


def test_a_file_that_may_not_be_read_is_said_so(write, monkeypatch: pytest.MonkeyPatch):
    path = write("log.csv", "user,item\n1,a\n")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"log\.csv cannot be read: Permission denied"):
        read_log(path)
