from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from recblr.data import cache
from recblr.data.cache import open_log
from recblr.data.columns import Columns
from recblr.data.read import read_log
from recblr.errors import DataError

HEADER = "userId,movieId,rating,timestamp\n"
ROWS = "1,20,5,1577872801\n1,10,5,1577872800\n2,20,5,1577872801\n1,30,5,x\n"


@pytest.fixture(autouse=True)
def cache_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "recblr" / "logs"


@pytest.fixture
def folder(write) -> Path:
    write("shop/movies.csv", 'movieId,title,genres\n10,Ten,Drama\n20,"Zwölf",Crime\n')
    return write("shop/ratings.csv", HEADER + ROWS).parent


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Paths that were really read."""
    done: list[Path] = []

    def counted(path: Path, **options: object):
        done.append(path)
        return read_log(path, **options)

    monkeypatch.setattr(cache, "read_log", counted)
    return done


def same(first, second) -> None:
    (one, report), (other, other_report) = first, second
    assert one.fingerprint == other.fingerprint
    assert (one.name, one.has_times, one.users.tolist()) == (other.name, other.has_times, other.users.tolist())
    assert one.catalog.titles.tolist() == other.catalog.titles.tolist()
    assert {name: column.tolist() for name, column in one.catalog.columns.items()} == {
        name: column.tolist() for name, column in other.catalog.columns.items()
    }
    assert report == other_report


def test_the_second_time_gives_the_same_log_without_reading_it(folder: Path, reads: list[Path]):
    same(open_log(folder), read_log(folder))
    same(open_log(folder), read_log(folder))
    assert len(reads) == 1


def test_a_log_without_times_titles_or_columns_is_kept_too(write, reads: list[Path]):
    path = write("log.csv", "user,item\n1,b\n1,a\n")
    first, second = open_log(path)[0], open_log(path)[0]
    assert first.fingerprint == second.fingerprint
    assert (second.has_times, second.catalog.titles, second.catalog.columns) == (False, None, {})
    assert len(reads) == 1


def test_a_change_of_any_source_file_is_seen(folder: Path, reads: list[Path]):
    open_log(folder)
    (folder / "ratings.csv").write_text(HEADER + ROWS + "3,10,5,1577872801\n")
    assert open_log(folder)[0].n_users == 3
    (folder / "movies.csv").write_text("movieId,title,genres\n10,Tenth,Drama\n")
    assert open_log(folder)[0].catalog.title(1) == "Tenth"
    (folder / "movies.csv").unlink()
    assert open_log(folder)[0].catalog.title(1) == "10"
    assert len(reads) == 4


def test_a_change_that_keeps_the_size_is_seen_by_its_time(folder: Path, reads: list[Path]):
    open_log(folder)
    ratings = folder / "ratings.csv"
    before = ratings.stat()
    ratings.write_text((HEADER + ROWS).replace("2,20", "2,10"))
    os.utime(ratings, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert open_log(folder)[0].items.tolist() == [1, 2, 1]


def test_other_options_are_another_log(folder: Path, reads: list[Path]):
    assert open_log(folder)[0].n_events == 3
    assert open_log(folder, columns=Columns(user="movieId", item="userId"))[0].n_users == 2
    assert open_log(folder, name="other")[0].name == "other"
    assert open_log(folder)[0].name == "shop"
    assert len(reads) == 3


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "other"])
def test_a_damaged_copy_is_made_again(damage: str, folder: Path, reads: list[Path], cache_in: Path, caplog):
    first = open_log(folder)
    (kept,) = cache_in.iterdir()
    content = kept.read_bytes()
    middle = content.find(b"items.npy") + 200
    kept.write_bytes(
        {
            "cut": content[: len(content) // 2],
            "flipped": content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :],
            "emptied": b"",
            "other": b"not an archive at all",
        }[damage]
    )
    same(open_log(folder), first)
    assert "is damaged" in caplog.text
    same(open_log(folder), first)
    assert len(reads) == 2


def test_a_copy_that_holds_pickles_is_never_loaded(folder: Path, cache_in: Path, reads: list[Path]):
    open_log(folder)
    (kept,) = cache_in.iterdir()
    with np.load(kept) as arrays:
        content = dict(arrays)
    content["users"] = np.array([{"a": 1}, {"b": 2}], dtype=object)
    with kept.open("wb") as file:
        np.savez(file, **content)
    assert open_log(folder)[0].users.tolist() == ["1", "2"]
    assert len(reads) == 2


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(folder: Path, tmp_path: Path, reads: list[Path], caplog):
    (tmp_path / "cache").write_text("in the way")
    same(open_log(folder), read_log(folder))
    same(open_log(folder), read_log(folder))
    assert "cannot be kept" in caplog.text
    assert len(reads) == 2


def test_nothing_half_written_stays_behind(folder: Path, cache_in: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert open_log(folder)[0].n_events == 3
    assert list(cache_in.iterdir()) == []


def test_a_log_that_cannot_be_read_leaves_nothing_in_the_cache(write, cache_in: Path):
    path = write("log.csv", "user,item\n")
    with pytest.raises(DataError, match="no rows"):
        open_log(path)
    with pytest.raises(DataError, match="does not exist"):
        open_log(path.parent / "nowhere")
    assert not cache_in.exists()
