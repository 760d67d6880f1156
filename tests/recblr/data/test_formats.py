from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recblr.data.formats import FORMATS, find_format
from recblr.data.read import read_log
from recblr.errors import DataError

from .conftest import EVENTS, EXPECTED, GENRES, TITLES, sequences


def make_recbole(folder: Path) -> Path:
    rows = "".join(f"{user}\t{item}\t3\t{time}\n" for user, item, time in EVENTS)
    (folder / f"{folder.name}.inter").write_text(f"user_id:token\titem_id:token\trating:float\ttimestamp:float\n{rows}")
    items = "".join(f"{item}\t{TITLES[item]}\t{GENRES[item].replace('|', ' ')}\n" for item in TITLES)
    (folder / f"{folder.name}.item").write_text(
        f"item_id:token\tmovie_title:token_seq\tgenre:token_seq\n{items}", encoding="utf-8"
    )
    return folder / f"{folder.name}.inter"


def make_dat(folder: Path) -> Path:
    (folder / "ratings.dat").write_text("".join(f"{user}::{item}::5::{time}\n" for user, item, time in EVENTS))
    movies = "".join(f"{item}::{TITLES[item]}::{GENRES[item]}\n" for item in TITLES)
    (folder / "movies.dat").write_text(movies, encoding="latin-1")
    return folder / "ratings.dat"


def make_csv(folder: Path) -> Path:
    rows = "".join(f"{user},{item},4.5,{time}\n" for user, item, time in EVENTS)
    (folder / "ratings.csv").write_text(f"userId,movieId,rating,timestamp\n{rows}")
    movies = "".join(f'{item},"{TITLES[item]}",{GENRES[item]}\n' for item in TITLES)
    (folder / "movies.csv").write_text(f"movieId,title,genres\n{movies}", encoding="utf-8")
    return folder / "ratings.csv"


def make_100k(folder: Path) -> Path:
    (folder / "u.data").write_text("".join(f"{user}\t{item}\t5\t{time}\n" for user, item, time in EVENTS))
    flags = {"9": {5, 8}, "10": {1}, "30": {18}}
    items = "".join(
        f"{item}|{TITLES[item]}|01-Jan-1995||http://x/?a=b|{'|'.join('01'[n in flags[item]] for n in range(19))}\n"
        for item in TITLES
    )
    (folder / "u.item").write_text(items, encoding="latin-1")
    return folder / "u.data"


def make_sample(folder: Path) -> Path:
    users, items, times = zip(*EVENTS, strict=True)
    pq.write_table(pa.table({"user": users, "item": items, "timestamp": times}), folder / "events.parquet")
    names = list(TITLES)
    genres = [GENRES[name].replace("|", " ") for name in names]
    table = pa.table({"id": names, "title": [TITLES[name] for name in names], "genre": genres})
    pq.write_table(table, folder / "items.parquet")
    return folder / "events.parquet"


def make_parquet(folder: Path) -> Path:
    users, items, times = zip(*EVENTS, strict=True)
    table = pa.table({"visitor": [int(one) for one in users], "asin": items, "ts": pa.array(times, pa.timestamp("s"))})
    pq.write_table(table, folder / "clicks.parquet")
    return folder / "clicks.parquet"


def make_delimited(folder: Path) -> Path:
    rows = "".join(f"{time};{user};{item}\n" for user, item, time in EVENTS)
    (folder / "clicks.csv").write_text(f"when;user;item\n{rows}")
    return folder / "clicks.csv"


MAKERS = {
    "recbole": make_recbole,
    "sample": make_sample,
    "movielens-dat": make_dat,
    "movielens-csv": make_csv,
    "movielens-100k": make_100k,
    "parquet": make_parquet,
    "delimited": make_delimited,
}
WITH_ITEMS = ["recbole", "sample", "movielens-dat", "movielens-csv", "movielens-100k"]


def test_every_format_of_the_registry_has_a_log_here():
    assert [one.name for one in FORMATS] == list(MAKERS)


@pytest.mark.parametrize("name", MAKERS)
def test_the_same_events_are_read_from_every_format(name: str, tmp_path: Path):
    log, report = read_log(MAKERS[name](tmp_path))
    assert report.format == name
    assert sequences(log) == EXPECTED
    assert log.catalog.ids.tolist() == ["", "9", "10", "30"]
    assert (report.rows_in, report.rows_out, report.n_bad) == (6, 6, 0)


@pytest.mark.parametrize("name", MAKERS)
def test_a_folder_and_the_events_file_inside_it_give_the_same_log(name: str, tmp_path: Path):
    events = MAKERS[name](tmp_path)
    by_folder, report = read_log(tmp_path)
    assert report.format == name
    assert by_folder.fingerprint == read_log(events)[0].fingerprint


@pytest.mark.parametrize("name", WITH_ITEMS)
def test_item_files_give_titles_with_their_accents_and_genres(name: str, tmp_path: Path):
    log, report = read_log(MAKERS[name](tmp_path))
    assert [log.catalog.title(item) for item in (1, 2, 3)] == [TITLES["9"], TITLES["10"], TITLES["30"]]
    assert log.catalog.columns["genre"].tolist() == ["", "Comedy Drama", "Action", "Western"]
    assert report.items_without_text == 0


@pytest.mark.parametrize("name", WITH_ITEMS)
def test_a_log_without_its_item_file_shows_ids(name: str, tmp_path: Path):
    events = MAKERS[name](tmp_path)
    for other in tmp_path.iterdir():
        if other != events:
            other.unlink()
    log, _ = read_log(events)
    assert log.catalog.title(2) == "10"


def test_items_that_the_item_file_lacks_are_counted(tmp_path: Path):
    make_csv(tmp_path)
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n9,Nine,Drama\n77,Never seen,Drama\n")
    log, report = read_log(tmp_path)
    assert log.catalog.titles.tolist() == ["", "Nine", "", ""]
    assert report.items_without_text == 2
    assert log.catalog.n_items == 3


def test_a_recbole_log_without_times_keeps_its_order_field(write):
    path = write("toy.inter", "user_id:token\titem_id:token\torder:float\n1\ta\t2\n1\tb\t0\n1\tc\t10\n2\ta\t0\n")
    log, report = read_log(path)
    assert not log.has_times
    assert [item for item, _ in sequences(log)["1"]] == ["b", "a", "c"]
    assert log.times.tolist() == [0, 0, 0, 0]
    assert report.time == "none; each user's events are ordered by 'order'"
    assert report.duplicates is None


def test_a_position_that_is_no_number_drops_its_row_and_names_the_line(write):
    path = write("toy.inter", "user_id:token\titem_id:token\torder:float\n1\ta\t0\n1\tb\tlast\n1\tc\t\n")
    _, report = read_log(path)
    assert [str(bad) for bad in report.bad_rows] == [
        "toy.inter:3: the position 'last' is not a number",
        "toy.inter:4: the position is missing",
    ]


def test_a_recbole_header_without_types_is_refused_with_the_line(write):
    path = write("toy.inter", "user_id\titem_id\n1\ta\n")
    with pytest.raises(DataError, match=r"toy\.inter, line 1: 'user_id' is not a RecBole field: write 'name:type'"):
        read_log(path)


def test_a_folder_with_several_recbole_logs_asks_for_one(write, tmp_path: Path):
    header = "user_id:token\titem_id:token\n1\ta\n"
    write("one.inter", header), write("two.inter", header)
    with pytest.raises(DataError, match=r"several logs: give one file of one\.inter, two\.inter"):
        read_log(tmp_path)
    assert read_log(tmp_path / "two.inter")[1].name == "two"


def test_double_quotes_are_ordinary_letters_in_atomic_and_dat_files(write):
    write("toy.inter", 'user_id:token\titem_id:token\ttimestamp:float\n1\t"a\t5\n1\tb"\t6\n')
    log, report = read_log(write("toy.item", 'item_id:token\ttitle:token_seq\n"a\tThe "best\nb"\tother\n').parent)
    assert report.n_bad == 0
    assert log.catalog.title(log.catalog.index['"a']) == 'The "best'


def test_a_ratings_csv_of_another_make_is_read_as_any_table(write):
    path = write("ratings.csv", "user,item,time\n1,a,1000000000\n")
    assert read_log(path)[1].format == "delimited"


def test_a_format_can_be_asked_for_by_name(write):
    path = write("clicks.log", "user,item,time\n1,a,1000000000\n")
    with pytest.raises(DataError, match="of no known kind: pass format="):
        read_log(path)
    assert read_log(path, format="delimited")[0].n_events == 1


def test_an_unknown_format_is_refused_with_the_known_ones(write):
    path = write("clicks.csv", "user,item\n1,a\n")
    with pytest.raises(DataError, match="there is no format 'excel': choose one of recbole, sample"):
        read_log(path, format="excel")


def test_a_format_that_does_not_fit_the_path_is_refused(write):
    path = write("clicks.csv", "user,item\n1,a\n")
    with pytest.raises(DataError, match="is no log of the format 'recbole'"):
        read_log(path, format="recbole")


def test_a_missing_path_is_said_so(tmp_path: Path):
    with pytest.raises(DataError, match="nowhere does not exist: check the path, or see `recblr download`"):
        read_log(tmp_path / "nowhere")


def test_a_folder_without_a_log_lists_what_it_has(write, tmp_path: Path):
    write("photo.png", b"\x89PNG"), write("notes.md", "# notes")
    with pytest.raises(DataError, match=r"no log is recognised in .*; it has notes\.md, photo\.png"):
        read_log(tmp_path)


def test_a_folder_with_two_tables_asks_for_the_file(write, tmp_path: Path):
    write("a.csv", "user,item\n1,a\n"), write("b.csv", "user,item\n1,a\n")
    with pytest.raises(DataError, match="give the path of the events file"):
        read_log(tmp_path)


def test_looking_for_a_format_does_not_read_the_events(write):
    path = write("huge.csv", b"\xff\x00" * 10)
    assert find_format(path).name == "delimited"
