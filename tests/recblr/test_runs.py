"""Finding runs: what is listed, what a name opens, and that no name leads outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from recblr.errors import CheckpointError
from recblr.runs import FILES, SAMPLE_ROOT, list_runs, resolve_run, run_name, run_roots


def make_run(folder: Path, backbone: str = "recblr") -> Path:
    """A folder that looks like a run to everything that reads no weights."""
    folder.mkdir(parents=True)
    config = {
        "format": 1,
        "backbone": backbone,
        "preset": "fixed",
        "model": {"n_items": 12},
        "train": {},
        "data": {"name": "toy"},
        "catalog": {},
        "seed": 0,
        "versions": {},
        "commit": None,
        "date": "2026-01-01T00:00:00+00:00",
        "sha256": {},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "metrics.json").write_text(json.dumps({"test": {"ndcg@10": 0.2}}))
    (folder / "model.safetensors").write_bytes(b"never read")
    (folder / "items.parquet").write_bytes(b"never read")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_run(tmp_path / "root" / "mixed" / "recblr")
    make_run(tmp_path / "root" / "mixed" / "sasrec", "sasrec")
    make_run(tmp_path / "root" / "ml-1m" / "recblr")
    make_run(tmp_path / "secret" / "run")
    return tmp_path / "root"


def test_runs_are_named_by_their_path_below_the_root(root: Path) -> None:
    found = list_runs([root])
    assert [info.name for info in found] == ["mixed/recblr", "mixed/sasrec", "ml-1m/recblr"]
    assert [info.backbone for info in found] == ["recblr", "sasrec", "recblr"]
    assert found[0].metrics == {"test": {"ndcg@10": 0.2}}
    assert found[0].n_items == 12
    assert found[0].error is None


@pytest.mark.parametrize("file", FILES)
def test_a_broken_folder_is_listed_with_its_error(root: Path, file: str) -> None:
    (root / "mixed" / "recblr" / file).unlink()
    broken, whole, _ = list_runs([root])
    assert broken.name == "mixed/recblr"
    assert f"{file} is missing" in str(broken.error)
    assert whole.error is None


def test_unreadable_configurations_are_listed_with_their_error(root: Path) -> None:
    (root / "mixed" / "recblr" / "config.yaml").write_text("a: [")
    (root / "mixed" / "sasrec" / "config.yaml").write_text("speed: 1")
    first, second, _ = list_runs([root])
    assert "not readable YAML" in str(first.error)
    assert "unknown key 'speed'" in str(second.error)


def test_folders_without_runs_and_hidden_folders_are_left_out(root: Path) -> None:
    (root / "notes").mkdir()
    (root / "notes" / "items.parquet").write_bytes(b"a catalogue is no run")
    make_run(root / ".draft.tmp")
    assert len(list_runs([root])) == 3


def test_the_same_name_in_two_roots_stays_apart(root: Path, tmp_path: Path) -> None:
    make_run(tmp_path / "runs" / "mixed" / "recblr", "lrurec")
    roots = [root, tmp_path / "runs"]
    found = {info.name: info.backbone for info in list_runs(roots)}
    assert found["mixed/recblr"] == "recblr"
    assert found["runs/mixed/recblr"] == "lrurec"
    for info in list_runs(roots):
        assert resolve_run(info.name, roots) == info.folder


def test_a_root_that_is_a_run_itself_is_found_by_its_name(root: Path) -> None:
    one = root / "mixed" / "recblr"
    assert [info.name for info in list_runs([one])] == ["recblr"]
    assert resolve_run("recblr", [one]) == one.resolve()


def test_a_root_that_does_not_exist_is_listed_with_its_error(root: Path, tmp_path: Path) -> None:
    assert "no such folder" in str(list_runs([tmp_path / "typo"])[0].error)


def test_roots_come_from_the_environment_and_the_working_folder(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    monkeypatch.setenv("RECBLR_RUNS", os.pathsep.join([str(root), "", str(tmp_path / "more")]))
    assert [one for one in run_roots() if one != SAMPLE_ROOT] == [tmp_path / "runs", root, tmp_path / "more"]


def test_a_name_opens_its_folder(root: Path) -> None:
    assert resolve_run("mixed/recblr", [root]) == (root / "mixed" / "recblr").resolve()
    assert run_name(root / "mixed" / "recblr", [root]) == "mixed/recblr"
    assert run_name(root / "mixed" / "recblr", []) == "recblr"


def test_an_absolute_path_inside_the_roots_opens_its_folder(root: Path) -> None:
    assert resolve_run(root / "mixed" / "recblr", [root]) == (root / "mixed" / "recblr").resolve()


@pytest.mark.parametrize(
    "name",
    [
        "../secret/run",
        "mixed/../../secret/run",
        "..\\secret\\run",
        "mixed/recblr/..",
        "~/run",
        "",
        "  ",
        ".",
        "a\0b",
        "x" * 5000,
        "file:///secret/run",
        "nowhere",
        "mixed",
        "mixed/recblr/config.yaml",
    ],
)
def test_no_name_leads_outside_the_roots(root: Path, name: str) -> None:
    with pytest.raises(CheckpointError):
        resolve_run(name, [root])


def test_an_absolute_path_outside_the_roots_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="allowed folders"):
        resolve_run(str(tmp_path / "secret" / "run"), [root])


def test_a_link_that_leads_outside_is_neither_listed_nor_opened(root: Path, tmp_path: Path) -> None:
    (root / "link").symlink_to(tmp_path / "secret" / "run")
    (root / "loop").symlink_to(root / "loop")
    for name in ("link", "loop"):
        with pytest.raises(CheckpointError):
            resolve_run(name, [root])
    assert len(list_runs([root])) == 3


def test_a_root_may_be_a_link_itself(root: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(root)
    assert resolve_run("mixed/recblr", [tmp_path / "alias"]) == (root / "mixed" / "recblr").resolve()
    assert len(list_runs([tmp_path / "alias"])) == 3


def test_an_unknown_name_is_answered_with_those_there_are(root: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no run 'mixed/rec'.*mixed/recblr, mixed/sasrec"):
        resolve_run("mixed/rec", [root])


def test_listing_runs_needs_no_torch() -> None:
    code = "import sys, recblr; recblr.list_runs(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_the_front_door_opens_at_once() -> None:
    code = "import time; t = time.process_time(); import recblr; print(time.process_time() - t)"
    times = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(times) < 0.05
