from __future__ import annotations

import os
from pathlib import Path

import pytest

from recblr.data.locate import cache_folder, data_roots, download_root, find_log, is_plain_name, list_logs

LOG = "user,item\n1,a\n"


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir(), second.mkdir()
    monkeypatch.setenv("RECBLR_DATA", os.pathsep.join([str(first), str(second)]))
    return first, second


def test_logs_are_looked_for_in_the_named_folders_in_order(roots: tuple[Path, Path]):
    first, second = roots
    assert data_roots() == [first, second]
    assert download_root() == first
    (second / "shop.csv").write_text(LOG)
    assert find_log("shop.csv") == second / "shop.csv"
    (first / "shop.csv").write_text(LOG)
    assert find_log("shop.csv") == first / "shop.csv"
    assert find_log("none") is None


def test_without_a_name_the_data_folder_of_the_user_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("RECBLR_DATA", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert data_roots() == [tmp_path / "recblr"]
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_roots() == [tmp_path / ".local" / "share" / "recblr"]
    assert find_log("ml-1m") is None
    assert list_logs() == {}


def test_parsed_logs_are_kept_in_the_cache_folder_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "recblr" / "logs"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "recblr" / "logs"


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\\b", "/etc/passwd", ".hidden", "C:x", "a\0b"])
def test_no_name_leads_out_of_the_folders(name: str, roots: tuple[Path, Path]):
    (roots[0].parent / "x").mkdir()
    assert not is_plain_name(name)
    assert find_log(name) is None


def test_only_what_a_format_recognises_is_listed(roots: tuple[Path, Path]):
    first, second = roots
    (first / "shop.csv").write_text(LOG)
    (first / "notes.md").write_text("no log")
    (first / ".hidden.csv").write_text(LOG)
    (first / "empty").mkdir()
    (second / "shop.csv").write_text(LOG)
    (second / "toy").mkdir()
    (second / "toy" / "toy.inter").write_text("user_id:token\titem_id:token\n1\ta\n")
    assert list_logs() == {"shop.csv": first / "shop.csv", "toy": second / "toy"}
