from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from recblr.data.read import read_log
from recblr.data.times import TimeColumn, recognise_unit, whole_seconds
from recblr.errors import DataError

from .conftest import sequences

SECONDS = 1577872801  # 2020-01-01T10:00:01Z


def parsed(*cells: object, type: pa.DataType | None = None) -> tuple[list, list[bool], TimeColumn]:
    column = TimeColumn()
    values, bad = column.parse(pa.array(list(cells), type), column="time", source="toy")
    return values.tolist(), bad.tolist(), column


@pytest.mark.parametrize(
    ("cell", "how"),
    [
        ("1577872801", "unix seconds, recognised by magnitude"),
        ("1577872801.0", "unix seconds, recognised by magnitude"),
        ("1.577872801e9", "unix seconds, recognised by magnitude"),
        ("1577872801999", "unix milliseconds, recognised by magnitude"),
        ("1577872801999999", "unix microseconds, recognised by magnitude"),
        ("1577872801999999999", "unix nanoseconds, recognised by magnitude"),
        ("2020-01-01T10:00:01Z", "dates; those without a zone are read as UTC"),
        ("2020-01-01 10:00:01", "dates; those without a zone are read as UTC"),
        ("2020-01-01T12:00:01+02:00", "dates; those without a zone are read as UTC"),
        ("2020-01-01T10:00:01.999999999", "dates; those without a zone are read as UTC"),
    ],
)
def test_every_usual_way_to_write_a_time_gives_unix_seconds_and_is_said(write, cell: str, how: str):
    log, report = read_log(write("log.csv", f"user,item,time\nu,i,{cell}\n"))
    assert log.times.tolist() == [SECONDS]
    assert report.time == how
    assert f"times: {how}; 2020-01-01 to 2020-01-01 (0.0 days)" in report.lines()


def test_calendar_days_written_as_numbers_are_dates_not_seconds(write):
    log, report = read_log(write("log.csv", "user,item,date\nu,i,20200101\nu,j,20191231\n"))
    assert log.times.tolist() == [1577750400, 1577836800]
    assert report.time == "dates written YYYYMMDD"


def test_zones_may_differ_from_row_to_row(write):
    rows = "u,a,2020-01-01T10:00:00Z\nu,b,2020-01-01T10:00:00+02:00\nu,c,2020-01-01T09:00:00\n"
    log, _ = read_log(write("log.csv", "user,item,time\n" + rows))
    assert [item for item, _ in sequences(log)["u"]] == ["b", "c", "a"]


@pytest.mark.parametrize("unit", [10**3, 10**6, 10**9])
def test_order_is_by_time_at_full_resolution_before_seconds_are_cut(write, unit: int):
    start = SECONDS * unit
    log, _ = read_log(write("log.csv", f"user,item,time\nu,late,{start + 2}\nu,early,{start + 1}\n"))
    assert sequences(log)["u"] == [("early", SECONDS), ("late", SECONDS)]


def test_order_is_by_the_fraction_of_a_second(write):
    log, _ = read_log(write("log.csv", "user,item,time\nu,late,1577872801.7\nu,early,1577872801.2\n"))
    assert sequences(log)["u"] == [("early", SECONDS), ("late", SECONDS)]


def test_events_of_one_moment_keep_the_order_of_the_file(write):
    items = [f"i{number}" for number in np.random.default_rng(0).permutation(50)]
    log, report = read_log(write("log.csv", "user,item,time\n" + "".join(f"u,{item},{SECONDS}\n" for item in items)))
    assert [item for item, _ in sequences(log)["u"]] == items
    assert report.ties == 1.0


def test_a_unit_that_is_given_is_not_guessed(write):
    path = write("log.csv", "user,item,time\nu,i,5000\n")
    assert read_log(path, time_unit="ms")[0].times.tolist() == [5]
    assert read_log(path, time_unit="ms")[1].time == "unix milliseconds, as given"
    assert read_log(path)[0].times.tolist() == [5000]


def test_a_unit_for_dates_is_refused(write):
    with pytest.raises(DataError, match="its times are dates: leave it out"):
        read_log(write("log.csv", "user,item,time\nu,i,2020-01-01\n"), time_unit="s")


def test_times_outside_of_living_memory_raise_a_doubt(write):
    _, report = read_log(write("log.csv", "user,item,time\nu,i,12\nu,j,2015\n"))
    assert "outside 1971-2100: is this the time column" in report.notes[0]
    _, report = read_log(write("log.csv", f"user,item,time\nu,i,{SECONDS}\n"))
    assert report.notes == ()


@pytest.mark.parametrize(
    ("type", "value", "seconds"),
    [
        (pa.timestamp("s"), SECONDS, SECONDS),
        (pa.timestamp("ns"), SECONDS * 10**9 + 5, SECONDS),
        (pa.timestamp("us", tz="Europe/Berlin"), SECONDS * 10**6, SECONDS),
        (pa.date32(), 18262, 1577836800),
        (pa.date64(), 18262 * 86_400_000, 1577836800),
    ],
)
def test_typed_dates_keep_their_own_unit(type: pa.DataType, value: int, seconds: int):
    column = TimeColumn()
    values, bad = column.parse(pa.array([value, None], type), column="time", source="toy")
    assert bad.tolist() == [False, True]
    assert whole_seconds(values[:1], column.unit).tolist() == [seconds]


def test_times_before_1970_round_down():
    assert whole_seconds(np.array([-1, -1000, -1001]), "ms").tolist() == [-1, -1, -2]
    assert whole_seconds(np.array([-0.5]), "s").tolist() == [-1]


@pytest.mark.parametrize("cell", ["", "  ", "abc", "nan", "inf", "1e300", "12:30", "1,5", "--5"])
def test_a_cell_that_is_no_number_among_numbers_is_bad_alone(cell: str):
    values, bad, column = parsed("1577872801", cell, "1577872802")
    assert column.kind == "numbers"
    assert bad == [False, True, False]
    assert (values[0], values[2]) == (SECONDS, SECONDS + 1)


@pytest.mark.parametrize("cell", ["", "soon", "2020-13-45", "0001-01-01", "31.12.2020", "17"])
def test_a_cell_that_is_no_date_among_dates_is_bad_alone(cell: str):
    values, bad, column = parsed("2020-01-01T10:00:01", cell, "2020-01-01")
    assert column.kind == "text"
    assert bad == [False, True, False]
    assert values[0] == SECONDS * 10**9


def test_nanoseconds_keep_their_last_digit_beside_a_bad_cell():
    values, bad, _ = parsed("1577872801999999999", "x", "1577872801999999998")
    assert bad == [False, True, False]
    assert (values[0], values[2]) == (1577872801999999999, 1577872801999999998)


def test_the_kind_of_the_first_batch_holds_for_the_next():
    column = TimeColumn()
    column.parse(pa.array(["1577872801"]), column="time", source="toy")
    _, bad = column.parse(pa.array(["2020-01-01"]), column="time", source="toy")
    assert bad.tolist() == [True]
    assert column.reason("2020-01-01") == "the time '2020-01-01' is not a number"


def test_a_column_of_lists_is_no_time():
    with pytest.raises(DataError, match=r"column 'time' holds list<.*which is no time"):
        parsed([1, 2])


def test_one_broken_clock_does_not_change_the_unit_of_all_others():
    moments = np.array([SECONDS * 1000 + step for step in range(99)] + [10**18])
    assert recognise_unit(moments)[0] == "ms"
