"""A run folder: what goes in comes out, and everything that is wrong with one is said."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import recblr
from recblr.backbones import REGISTRY, SequentialBackbone, backbone, make_config
from recblr.checkpoint import check_place, load_run, save_run
from recblr.data.log import Catalog, InteractionLog
from recblr.errors import CheckpointError
from recblr.runs import FILES

N_ITEMS = 12
DATA = {"name": "toy", "fingerprint": "0" * 12, "n_users": 3, "n_events": 9}


def catalog(n_items: int = N_ITEMS, first: int = 1) -> Catalog:
    numbers = range(first, first + n_items)
    return Catalog(
        ids=np.array(["", *(f"i{n:03d}" for n in numbers)]),
        titles=np.array(["", *(f"Thing {n}" for n in numbers)]),
        columns={"aisle": np.array(["", *("odd" if n % 2 else "even" for n in numbers)])},
    )


def tiny(name: str = "recblr", n_items: int = N_ITEMS) -> SequentialBackbone:
    torch.manual_seed(3)
    cls = backbone(name)
    sizes = {"max_len": 6, "d": 8, "n_layers": 1} if cls.learns else {"max_len": 6}
    model = cls(make_config(cls, n_items=n_items, **sizes))
    if not cls.learns:
        model.fit(toy_log(), np.array([5, 9]))  # type: ignore[operator]
    return model


def toy_log() -> InteractionLog:
    return InteractionLog(
        name="toy",
        items=np.array([1, 2, 3, 4, 5, 1, 2, 1, 2], dtype=np.int32),
        times=np.arange(9, dtype=np.int64),
        offsets=np.array([0, 5, 9], dtype=np.int64),
        users=np.array(["a", "b"]),
        catalog=catalog(),
    )


def saved(folder: Path, **changes: Any) -> Path:
    about: dict[str, Any] = {"train": {"seed": 7, "lr": 1e-3}, "data": DATA, "metrics": {"test": {"ndcg@10": 0.25}}}
    return save_run(folder, tiny(), catalog(), **{**about, **changes})


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "config.yaml"
    config = yaml.safe_load(path.read_text())
    change(config)
    path.write_text(yaml.safe_dump(config, sort_keys=False))


def forge(folder: Path, file: str, content: bytes) -> None:
    """Put other bytes in place of a file and record their hash, as who wants to get past the hash would."""
    (folder / file).write_bytes(content)
    rewrite(folder, lambda config: config["sha256"].update({file: hashlib.sha256(content).hexdigest()}))


def refused(folder: Path, *words: str) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_run(folder)
    for word in words:
        assert word in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", list(REGISTRY))
def test_a_saved_run_comes_back_with_the_same_outputs(tmp_path: Path, name: str) -> None:
    model = tiny(name).eval()
    run = load_run(save_run(tmp_path / "run", model, catalog(), train={}, data=DATA, metrics={}))
    batch = recblr_batch([[1, 2, 3, 4], [5, 6, 0, 0]])
    with torch.no_grad():  # not bitwise: a GRU takes another kernel where no weight asks for a gradient
        torch.testing.assert_close(run.model.scores(run.model(batch)), model.scores(model(batch)))
    for key, tensor in model.state_dict().items():
        assert torch.equal(run.model.state_dict()[key], tensor), key
    assert run.model.config == model.config
    assert type(run.model) is type(model)


def recblr_batch(rows: list[list[int]]) -> Any:
    items = torch.tensor(rows)
    return recblr.backbones.Batch(items=items, times=torch.zeros_like(items))


def test_an_opened_run_is_in_evaluation_mode_and_asks_for_no_gradient(tmp_path: Path) -> None:
    model = load_run(saved(tmp_path / "run")).model
    assert not any(part.training for part in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_the_catalogue_comes_back_whole(tmp_path: Path) -> None:
    found = load_run(saved(tmp_path / "run")).catalog
    assert found.fingerprint == catalog().fingerprint
    assert found.title(2) == "Thing 2"
    assert list(found.columns["aisle"][1:3]) == ["odd", "even"]


def test_titles_can_be_left_out(tmp_path: Path) -> None:
    folder = saved(tmp_path / "run", save_titles=False)
    assert "title" not in pd.read_parquet(folder / "items.parquet")
    assert load_run(folder).catalog.title(2) == "i002"


def test_the_configuration_says_how_the_run_was_made(tmp_path: Path) -> None:
    config = load_run(saved(tmp_path / "run")).config
    assert config["backbone"] == "recblr"
    assert config["preset"] == "fixed"
    assert config["model"]["d"] == 8
    assert config["train"] == {"seed": 7, "lr": 1e-3}
    assert config["seed"] == 7
    assert config["data"] == DATA
    assert config["versions"]["recblr"] == recblr.__version__
    assert set(config["sha256"]) == {"model.safetensors", "items.parquet"}


def test_the_version_is_that_of_the_package_file() -> None:
    about = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert recblr.__version__ == about["project"]["version"]


def test_metrics_take_arrays_and_write_nan_as_null(tmp_path: Path) -> None:
    metrics = {"curve": [{"loss": np.float32(0.5)}, {"loss": float("nan")}], "hits": np.array([1, 2])}
    run = load_run(saved(tmp_path / "run", metrics=metrics))
    assert run.metrics == {"curve": [{"loss": 0.5}, {"loss": None}], "hits": [1, 2]}


def test_the_four_files_and_nothing_else_are_written(tmp_path: Path) -> None:
    folder = saved(tmp_path / "runs" / "deep" / "run")
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert [path.name for path in folder.parent.iterdir()] == ["run"]


def test_saving_again_replaces_the_run(tmp_path: Path) -> None:
    saved(tmp_path / "run")
    folder = saved(tmp_path / "run", metrics={"second": 1})
    assert load_run(folder).metrics == {"second": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_nothing_half_written_stays_when_saving_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved(tmp_path / "run", metrics={"first": 1})

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("recblr.checkpoint.yaml.safe_dump", full)
    with pytest.raises(OSError, match="No space"):
        saved(folder, metrics={"second": 1})
    with pytest.raises(OSError, match="No space"):
        saved(tmp_path / "other")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert load_run(folder).metrics == {"first": 1}


def test_an_older_run_comes_back_when_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved(tmp_path / "run", metrics={"first": 1})
    rename = Path.rename

    def refuse_the_draft(self: Path, target: Path) -> Path:
        if self.suffix == ".tmp":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse_the_draft)
    with pytest.raises(OSError, match="Input/output"):
        saved(folder, metrics={"second": 1})
    monkeypatch.undo()
    assert load_run(folder).metrics == {"first": 1}


def test_a_folder_that_is_no_run_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "diary.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="is no run folder"):
        saved(tmp_path / "notes")
    assert (tmp_path / "notes" / "diary.txt").read_text() == "mine"


def test_a_catalogue_of_another_size_is_refused_on_saving(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="the catalogue has 11 items, the model n_items 12"):
        save_run(tmp_path / "run", tiny(), catalog(11), train={}, data=DATA, metrics={})


def test_weights_that_are_not_finite_are_refused_on_saving(tmp_path: Path) -> None:
    model = tiny()
    with torch.no_grad():
        next(model.parameters())[0] = float("nan")
    with pytest.raises(CheckpointError, match="NaN"):
        save_run(tmp_path / "run", model, catalog(), train={}, data=DATA, metrics={})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("data", "words"),
    [({"name": "toy"}, "data.fingerprint"), ({**DATA, "name": os.path.abspath("log")}, "data.name is a path")],
)
def test_data_without_a_fingerprint_or_with_a_path_is_refused(tmp_path: Path, data: Any, words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        saved(tmp_path / "run", data=data)


def test_saving_a_value_that_yaml_lacks_names_its_field(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"train\.rates\[1\] is a object"):
        saved(tmp_path / "run", train={"rates": [1, object()]})


def test_loading_leaves_the_random_numbers_alone(tmp_path: Path) -> None:
    folder = saved(tmp_path / "run")
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    load_run(folder)
    assert torch.equal(torch.rand(1), expected)


# Folders that are wrong


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "nowhere", "no such run folder", "recblr train")


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_named(tmp_path: Path, file: str) -> None:
    folder = saved(tmp_path / "run")
    (folder / file).unlink()
    refused(folder, f"{file} is missing", "copy the whole folder again")


@pytest.mark.parametrize("text", ["a: [1", "\x00", "- 1", "", "{" * 300, "a: !!python/object/apply:os.getcwd []"])
def test_unreadable_yaml_is_refused(tmp_path: Path, text: str) -> None:
    folder = saved(tmp_path / "run")
    (folder / "config.yaml").write_text(text)
    refused(folder, "config.yaml")


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000])
def test_unreadable_metrics_are_refused(tmp_path: Path, text: str) -> None:
    folder = saved(tmp_path / "run")
    (folder / "metrics.json").write_text(text)
    refused(folder, "metrics.json")


def test_a_configuration_that_is_no_text_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "run")
    (folder / "config.yaml").write_bytes(b"\xff\xfe\xff")
    refused(folder, "config.yaml cannot be read")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(speed=1), "unknown key 'speed'"),
        (lambda c: c["model"].update(speed=1), "unknown key model.speed"),
        (lambda c: c.pop("seed"), "key 'seed' is missing"),
        (lambda c: c["model"].pop("conv"), "key model.conv is missing"),
        (lambda c: c.update(backbone="transformer9"), "no backbone 'transformer9'"),
        (lambda c: c.update(backbone=["recblr"]), "backbone is ['recblr']: it must be str"),
        (lambda c: c.update(model=[1]), "model is [1]: it must be dict"),
        (lambda c: c.update(format=2), "format is 2, this version reads 1"),
        (lambda c: c["model"].update(d="8"), "model.d is '8': it must be a whole number"),
        (lambda c: c["model"].update(d=True), "model.d is True: it must be a whole number"),
        (lambda c: c["model"].update(d=8.5), "model.d is 8.5"),
        (lambda c: c["model"].update(d=0), "d is 0: it must be at least 1"),
        (lambda c: c["model"].update(dropout=None), "model.dropout is None: it must be a number"),
        (lambda c: c["model"].update(decay_init="best"), "model.decay_init is 'best': choose 'uniform' or 'linspace'"),
        (lambda c: c["model"].update(warm_up="yes"), "model.warm_up is 'yes': it must be true or false"),
        (lambda c: c["model"].update(d=16), "the settings in config.yaml ask for"),
        (lambda c: c["model"].update(n_layers=2), "the settings in config.yaml ask for"),
        (lambda c: c["model"].update(n_layers=10**9), "too few for model.n_layers 1000000000"),
        (lambda c: c["model"].update(d=10**9), "far more weights than it holds"),
        (lambda c: c["model"].update(d=10**30), "far more weights than it holds"),
        (lambda c: c["model"].update(n_items=13), "has 12 items, model.n_items in config.yaml is 13"),
        (lambda c: c["catalog"].update(fingerprint="f" * 12), "another catalogue"),
        (lambda c: c.update(sha256={}), "SHA-256 differs"),
    ],
)
def test_a_wrong_configuration_names_file_and_field(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    folder = saved(tmp_path / "run")
    rewrite(folder, change)
    refused(folder, "config.yaml", words)


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_truncated_weights_are_refused(tmp_path: Path, keep: int) -> None:
    folder = saved(tmp_path / "run")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    refused(folder, "model.safetensors", "SHA-256 differs", "cut short")


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_truncated_weights_are_refused_even_with_their_own_hash(tmp_path: Path, keep: int) -> None:
    folder = saved(tmp_path / "run")
    forge(folder, "model.safetensors", (folder / "model.safetensors").read_bytes()[:keep])
    refused(folder, "model.safetensors", "no complete safetensors file")


def test_one_changed_bit_of_the_weights_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "run")
    raw = bytearray((folder / "model.safetensors").read_bytes())
    raw[-3] ^= 1
    (folder / "model.safetensors").write_bytes(raw)
    refused(folder, "model.safetensors", "altered")


def test_a_pickle_in_place_of_the_weights_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "run")
    torch.save({"a": torch.zeros(1)}, tmp_path / "pickled")
    forge(folder, "model.safetensors", (tmp_path / "pickled").read_bytes())
    refused(folder, "no complete safetensors file")


def test_a_header_that_announces_more_than_the_file_holds_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "run")
    forge(folder, "model.safetensors", struct.pack("<Q", 2**40) + b"{}")
    refused(folder, "no complete safetensors file")


def test_weights_with_nan_are_refused_even_with_their_own_hash(tmp_path: Path) -> None:
    folder = saved(tmp_path / "run")
    raw = bytearray((folder / "model.safetensors").read_bytes())
    raw[-4:] = struct.pack("<f", float("nan"))
    forge(folder, "model.safetensors", bytes(raw))
    refused(folder, "model.safetensors", "NaN or infinity")


def test_weights_of_another_backbone_are_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "run")
    other = save_run(tmp_path / "other", tiny("sasrec"), catalog(), train={}, data=DATA, metrics={})
    forge(folder, "model.safetensors", (other / "model.safetensors").read_bytes())
    refused(folder, "model.safetensors", "copy the whole run folder again")


def test_the_catalogue_of_another_run_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "run")
    other = save_run(tmp_path / "other", tiny(n_items=9), catalog(9), train={}, data=DATA, metrics={})
    same_size = save_run(tmp_path / "third", tiny(), catalog(first=2), train={}, data=DATA, metrics={})
    (folder / "items.parquet").write_bytes((other / "items.parquet").read_bytes())
    refused(folder, "items.parquet", "SHA-256 differs")
    forge(folder, "items.parquet", (other / "items.parquet").read_bytes())
    refused(folder, "items.parquet", "has 9 items", "n_items in config.yaml is 12")
    forge(folder, "items.parquet", (same_size / "items.parquet").read_bytes())
    refused(folder, "items.parquet", "another catalogue")


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (pd.DataFrame({"key": [f"i{n}" for n in range(12)]}), "column 'id' is missing"),
        (pd.DataFrame({"id": ["a", None, *"cdefghijkl"]}), "a value is empty"),
        (pd.DataFrame({"id": list("aacdefghijkl")}), "occurs twice"),
    ],
)
def test_a_catalogue_with_wrong_ids_is_refused(tmp_path: Path, frame: pd.DataFrame, words: str) -> None:
    folder = saved(tmp_path / "run")
    frame.to_parquet(tmp_path / "items.parquet")
    forge(folder, "items.parquet", (tmp_path / "items.parquet").read_bytes())
    refused(folder, "items.parquet", words)


def test_a_catalogue_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "run")
    forge(folder, "items.parquet", b"PAR1 not really PAR1")
    refused(folder, "items.parquet", "not readable Parquet")


def test_pair_tables_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    if "markov" not in REGISTRY:
        pytest.skip("the registry has no Markov chain")
    model = tiny("markov")
    model.followers = model.followers + 99  # type: ignore[operator]
    folder = save_run(tmp_path / "run", model, catalog(), train={}, data=DATA, metrics={})
    refused(folder, "model.safetensors", "pair tables")


def test_weights_of_another_precision_are_saved_as_float32(tmp_path: Path) -> None:
    folder = save_run(tmp_path / "run", tiny().double(), catalog(), train={}, data=DATA, metrics={})
    assert {parameter.dtype for parameter in load_run(folder).model.parameters()} == {torch.float32}


def test_a_column_that_takes_a_reserved_name_is_refused(tmp_path: Path) -> None:
    other = replace(catalog(), columns={"title": np.array(["x"] * (N_ITEMS + 1))})
    with pytest.raises(CheckpointError, match="the name is taken"):
        save_run(tmp_path / "run", tiny(), other, train={}, data=DATA, metrics={})


def test_opening_a_run_does_not_import_torchs_compiler(tmp_path: Path) -> None:
    folder = saved(tmp_path / "run")
    ask = f"import sys, recblr; recblr.load({str(folder)!r}).recommend(['i001'])"
    code = f"{ask}; sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0


def test_metrics_are_json_that_anything_can_read(tmp_path: Path) -> None:
    folder = saved(tmp_path / "run")
    assert json.loads((folder / "metrics.json").read_text()) == {"test": {"ndcg@10": 0.25}}


def test_every_file_of_a_run_can_be_read_by_the_same_people(tmp_path: Path) -> None:
    folder = saved(tmp_path / "run")
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1


def test_a_place_where_nothing_can_be_made_is_refused_before_a_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be made"):
        check_place(tmp_path / "file" / "run")
    check_place(tmp_path / "new" / "run")
    assert not (tmp_path / "new").exists()
