from __future__ import annotations

import json

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recblr.data
from recblr.data.columns import Columns
from recblr.data.read import from_frame, read_log
from recblr.data.report import LoadReport
from recblr.errors import ConfigError, DataError

from .conftest import EVENTS, EXPECTED, sequences

TIME = 1577872801
EVENT_LISTS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 6), st.integers(TIME, TIME + 8)), min_size=1, max_size=60
)


def frame_of(events) -> pa.Table:
    users, items, times = zip(*events, strict=True)
    return pa.table({"user": users, "item": items, "time": times})


# Order and ids


@settings(max_examples=30)
@given(EVENT_LISTS)
def test_each_user_has_their_events_by_time_and_then_by_row(events):
    log, _ = from_frame(frame_of(events))
    expected = {}
    for user, item, time in sorted(events, key=lambda event: event[2]):
        expected.setdefault(str(user), []).append((str(item), time))
    assert sequences(log) == expected


def test_internal_ids_follow_whole_numbers_in_numeric_order(write):
    log, _ = read_log(write("log.csv", "user,item\n10,100\n9,20\n2,3\n2,020\n"))
    assert log.catalog.ids.tolist() == ["", "3", "020", "20", "100"]
    assert log.users.tolist() == ["2", "9", "10"]


def test_internal_ids_follow_text_in_text_order(write):
    log, _ = read_log(write("log.csv", "user,item\nu10,100\nu9,20\nu2,3x\n"))
    assert log.catalog.ids.tolist() == ["", "100", "20", "3x"]
    assert log.users.tolist() == ["u10", "u2", "u9"]


def test_the_same_events_in_another_order_of_rows_give_the_same_ids():
    distinct_times = [(user, item, TIME + number) for number, (user, item, _) in enumerate(EVENTS)]
    forward, _ = from_frame(frame_of(distinct_times))
    backward, _ = from_frame(frame_of(distinct_times[::-1]))
    assert forward.fingerprint == backward.fingerprint


def test_items_of_bad_rows_alone_are_not_in_the_catalogue(write):
    log, _ = read_log(write("log.csv", f"user,item,time\n1,2,{TIME}\n1,ghost,x\n"))
    assert log.catalog.ids.tolist() == ["", "2"]


def test_arrays_have_the_types_of_the_contract():
    log, _ = from_frame(frame_of(EVENTS))
    assert (log.items.dtype, log.times.dtype, log.offsets.dtype) == (np.int32, np.int64, np.int64)
    assert log.items.min() == 1


# Columns


@pytest.mark.parametrize(
    "header", ["userId,movieId,timestamp", "Customer ID;Product-ID;Date", "uid,asin,unixReviewTime"]
)
def test_usual_names_are_recognised_and_said(write, header: str):
    delimiter = ";" if ";" in header else ","
    log, report = read_log(write("log.csv", f"{header}\n" + delimiter.join(["1", "a", str(TIME)]) + "\n"))
    assert sequences(log) == {"1": [("a", TIME)]}
    names = dict(zip(("user", "item", "time"), header.split(delimiter), strict=True))
    assert report.columns == names
    assert report.guessed == ("user", "item", "time")
    assert any("guessed: user, item, time; --columns.ROLE NAME overrides" in line for line in report.lines())


def test_given_columns_win_over_names_and_are_not_called_guessed(write):
    path = write("log.csv", f"user,item,time,buyer,seen\nx,1,5,1,{TIME}\n")
    log, report = read_log(path, columns=Columns(user="buyer", time="seen"))
    assert sequences(log) == {"1": [("1", TIME)]}
    assert report.guessed == ("item",)


def test_a_time_column_of_an_odd_name_is_recognised_by_its_cells(write):
    _, report = read_log(write("log.csv", f"user,item,score,moment\n1,a,5,{TIME}\n1,b,4,{TIME + 1}\n"))
    assert report.columns["time"] == "moment"
    _, report = read_log(write("log.csv", "user,item,score,moment\n1,a,5,2020-01-01\n1,b,4,2020-01-02\n"))
    assert report.columns["time"] == "moment"


def test_a_table_without_times_keeps_the_order_of_the_file(write):
    log, report = read_log(write("log.csv", "user,item,rating\n1,b,5\n2,b,1\n1,a,3\n"))
    assert not log.has_times
    assert sequences(log)["1"] == [("b", 0), ("a", 0)]
    assert report.span_days is None
    assert "times: none; each user's events are kept in the order of the file" in report.lines()


def test_a_table_without_a_header_is_read_by_position(write):
    log, report = read_log(write("log.txt", f"7 a {TIME}\n7 b {TIME - 1}\n"))
    assert sequences(log) == {"7": [("b", TIME - 1), ("a", TIME)]}
    assert report.columns == {"user": "column1", "item": "column2", "time": "column3"}
    log, _ = read_log(write("log.txt", "7 a\n7 b\n"), columns=Columns(user="column2", item="column1"))
    assert log.users.tolist() == ["a", "b"]


def test_titles_may_stand_in_the_events(write):
    text = "user,item,title\n1,a,\n1,b,Bread\n2,a,Apple\n2,a,Apple again\n"
    log, _ = read_log(write("log.csv", text))
    assert [log.catalog.title(item) for item in (1, 2)] == ["Apple", "Bread"]


# Duplicates


def test_exact_duplicates_are_counted_and_kept_unless_asked():
    events = [("1", "a", TIME), ("1", "b", TIME), ("1", "a", TIME), ("1", "a", TIME + 1), ("2", "a", TIME)]
    kept, report = from_frame(frame_of(events))
    assert (report.duplicates, kept.n_events) == (1, 5)
    assert "exact duplicates (user, item, time): 1, kept" in report.lines()
    dropped, report = from_frame(frame_of(events), drop_duplicates=True)
    assert sequences(dropped)["1"] == [("a", TIME), ("b", TIME), ("a", TIME + 1)]
    assert (report.duplicates, report.rows_out) == (1, 4)


@settings(max_examples=30)
@given(EVENT_LISTS)
def test_duplicates_are_counted_as_python_counts_them(events):
    _, report = from_frame(frame_of(events))
    assert report.duplicates == len(events) - len(set(events))
    log, _ = from_frame(frame_of(events), drop_duplicates=True)
    assert log.n_events == len(set(events))


def test_times_that_differ_by_less_than_a_second_are_no_duplicates():
    _, report = from_frame(frame_of([("1", "a", TIME * 1000), ("1", "a", TIME * 1000 + 1)]))
    assert (report.duplicates, report.ties) == (0, 0.0)


def test_duplicates_cannot_be_dropped_without_times():
    frame = pa.table({"user": ["1", "1"], "item": ["a", "a"]})
    with pytest.raises(DataError, match="cannot be told from repeats without times"):
        from_frame(frame, drop_duplicates=True)
    assert from_frame(frame)[1].duplicates is None


# Report


def test_the_report_accounts_for_every_row(write):
    rows = [
        *(
            f"{user},{item},{TIME + number}"
            for number, (user, item) in enumerate([(u, i) for u in "ab" for i in "xyz"])
        ),
        f"a,x,{TIME}",  # a duplicate
        f"c,rare,{TIME}",  # under the core, with its user and its item
        "a,x,soon",  # bad
        "a",  # ragged
    ]
    path = write("log.csv", "user,item,time\n" + "\n".join(rows))
    log, report = read_log(path, k_core=2, drop_duplicates=True)
    assert (report.rows_in, report.n_bad, report.duplicates, report.rows_under_core, report.rows_out) == (
        10,
        2,
        1,
        1,
        6,
    )
    assert report.rows_in - report.n_bad - report.duplicates - report.rows_under_core == report.rows_out == log.n_events
    assert (report.users_under_core, report.items_under_core, report.n_users, report.n_items) == (1, 1, 2, 3)
    assert "2-core (iterative): 1 users, 1 items and 1 rows under it dropped" in report.lines()


def test_the_share_of_ties_is_over_neighbouring_events_of_a_user():
    events = [("1", "a", TIME), ("1", "b", TIME), ("1", "c", TIME + 1), ("2", "a", TIME + 1), ("2", "b", TIME + 2)]
    assert from_frame(frame_of(events))[1].ties == pytest.approx(1 / 3)


def test_the_span_is_from_the_first_to_the_last_event():
    _, report = from_frame(frame_of([("1", "a", TIME), ("2", "b", TIME + 86400 * 3 // 2)]))
    assert report.span_days == 1.5
    assert "2020-01-01 to 2020-01-02 (1.5 days)" in "\n".join(report.lines())


def test_a_report_survives_json(write):
    _, report = read_log(write("log.csv", f"user,item,time\n1,a,{TIME}\n1,b,x\n"))
    plain = json.loads(json.dumps(report.as_dict()))
    assert plain["span_days"] == 0.0
    assert plain["bad_rows"] == [{"place": "log.csv:3", "reason": "the time 'x' is not a number"}]
    assert LoadReport.from_dict(plain) == report


# Names


def test_a_log_is_named_after_its_file_or_folder(write):
    text = f"user,item,time\n1,a,{TIME}\n"
    assert read_log(write("clicks.csv", text))[0].name == "clicks"
    assert read_log(write("shop/events.csv", text))[0].name == "shop"
    assert read_log(write("shop/events.csv", text).parent)[0].name == "shop"
    assert read_log(write("clicks.csv", text), name="other")[0].name == "other"


# Frames


@pytest.mark.parametrize("kind", ["pandas", "polars", "polars lazy", "pyarrow", "pandas categories"])
def test_every_kind_of_data_frame_gives_the_same_log(kind: str):
    table = frame_of(EVENTS)
    frame = {
        "pandas": lambda: table.to_pandas(),
        "polars": lambda: pl.from_arrow(table),
        "polars lazy": lambda: pl.from_arrow(table).lazy(),
        "pyarrow": lambda: table,
        "pandas categories": lambda: table.to_pandas().astype({"user": "category", "item": "category"}),
    }[kind]()
    log, report = from_frame(frame)
    assert sequences(log) == EXPECTED
    assert (report.format, report.sources) == ("frame", ("frame",))


def test_a_pandas_frame_with_dates_and_missing_cells_names_its_rows():
    frame = pd.DataFrame(
        {
            "user": [1, 1, None, 2],
            "item": ["a", "b", "c", None],
            "time": pd.to_datetime(["2020-01-01 10:00:01", None, "2020-01-01", "2020-01-01"], format="ISO8601"),
        }
    )
    log, report = from_frame(frame, name="mine")
    assert sequences(log) == {"1": [("a", TIME)]}
    assert [str(bad) for bad in report.bad_rows] == [
        "frame row 1: the time is missing",
        "frame row 2: the user is missing",
        "frame row 3: the item is missing",
    ]
    assert log.name == "mine"


def test_a_frame_whose_column_mixes_types_is_refused_with_the_column():
    with pytest.raises(DataError, match=r"frame: not a table of plain columns .*column user"):
        from_frame(pd.DataFrame({"user": ["a", 1], "item": ["a", "b"]}, dtype=object))


def test_missing_numbers_of_polars_are_missing():
    frame = pl.DataFrame({"user": [1.0, float("nan")], "item": [7, 8], "time": [TIME, TIME]})
    log, report = from_frame(frame)
    assert log.users.tolist() == ["1"]
    assert report.n_bad == 1


def test_a_frame_of_items_gives_titles():
    items = pd.DataFrame({"item_id": [9, 10], "name": ["Nine", "Ten"], "aisle": ["x", "y"]})
    log, report = from_frame(frame_of(EVENTS), items=items)
    assert log.catalog.titles.tolist() == ["", "Nine", "Ten", ""]
    assert log.catalog.columns["aisle"].tolist() == ["", "x", "y", ""]
    assert report.items_without_text == 1


def test_a_frame_of_items_without_an_id_is_refused():
    with pytest.raises(DataError, match="items, line 1: no item id among its columns 'colour'"):
        from_frame(frame_of(EVENTS), items=pd.DataFrame({"colour": ["red"]}))


def test_an_empty_frame_is_refused():
    with pytest.raises(DataError, match="no rows"):
        from_frame(pd.DataFrame({"user": [], "item": []}))


@pytest.mark.parametrize("thing", [[1, 2], {"user": [1]}, "log.csv", None])
def test_what_is_no_data_frame_is_refused(thing: object):
    with pytest.raises(DataError, match="is no data frame: give a pandas, polars or pyarrow table"):
        from_frame(thing)


def test_options_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="k_core is -1"):
        from_frame(frame_of(EVENTS), k_core=-1)
    with pytest.raises(ConfigError, match="choose one of iterative, one-pass"):
        from_frame(frame_of(EVENTS), k_core=2, k_core_mode="twice")
    with pytest.raises(ConfigError, match="time_unit is 'h': choose one of s, ms, us, ns"):
        from_frame(frame_of(EVENTS), time_unit="h")


# The package


def test_every_public_name_can_be_imported():
    for name in recblr.data.__all__:
        assert getattr(recblr.data, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        recblr.data.nothing  # noqa: B018
