"""A run folder: a trained backbone, what it was made with, its catalogue, its results. Saved whole or not at all.

    model.safetensors  weights, float tensors by parameter name
    config.yaml        backbone, all its settings, how it was trained, on which data, versions, SHA-256 of the files
    items.parquet      row r = internal item id r + 1: id, title (unless left out), further columns
    metrics.json       results and learning curve

Nothing here is ever unpickled, and nothing is trusted: every file is checked against config.yaml before it is used.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import torch
import yaml
from safetensors.torch import save_file

from recblr.backbones import SequentialBackbone, backbone
from recblr.backbones.base import BackboneConfig
from recblr.data.log import Catalog
from recblr.errors import CheckpointError, ConfigError
from recblr.runs import (
    CONFIG,
    FORMAT,
    ITEMS,
    METRICS,
    SAMPLE_ROOT,
    WEIGHTS,
    RunInfo,
    list_runs,
    looks_like_run,
    read_config,
    read_metrics,
    require_file,
    resolve_run,
    run_name,
    run_roots,
)
from recblr.typed import Mismatch, typed
from recblr.version import VERSION
from recblr.weights import portable_tensors, read_weights

__all__ = [
    "SAMPLE_ROOT",
    "Run",
    "RunInfo",
    "check_place",
    "list_runs",
    "load_run",
    "resolve_run",
    "run_roots",
    "save_run",
    "source_commit",
]

_DATA_FIELDS = ("name", "fingerprint", "n_users", "n_events")


@dataclass(frozen=True, kw_only=True)
class Run:
    """An opened run folder."""

    folder: Path
    name: str
    """Path below its root, such as "mixed/recblr"."""
    model: SequentialBackbone
    """In evaluation mode, on the CPU, no parameter requires a gradient."""
    catalog: Catalog
    config: Mapping[str, Any]
    """config.yaml."""
    metrics: Mapping[str, Any]
    """metrics.json."""


def save_run(
    folder: str | Path,
    model: SequentialBackbone,
    catalog: Catalog,
    *,
    train: Mapping[str, Any],
    data: Mapping[str, Any],
    metrics: Mapping[str, Any],
    save_titles: bool = True,
) -> Path:
    """Write a run folder, replacing a run that is there already; returns the folder.

    `data` describes the log: name, fingerprint, n_users, n_events, and no path. Everything is written to a folder
    beside the final one and renamed, so that a reader never meets half a run.
    Raises CheckpointError where the catalogue does not fit the model, a weight is not finite, or the place is taken.
    """
    folder = Path(folder)
    check_place(folder)
    _check_before_saving(model, catalog, data)
    tensors = portable_tensors(model)
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = _beside(folder, ".tmp")
    try:
        save_file(tensors, draft / WEIGHTS)
        _items_frame(catalog, save_titles).to_parquet(draft / ITEMS, index=False)
        config = _config(model, catalog, train=train, data=data, save_titles=save_titles)
        config["sha256"] = {name: _sha256(draft / name) for name in (WEIGHTS, ITEMS)}
        (draft / CONFIG).write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")
        text = json.dumps(_plain(metrics, "metrics", finite=True), indent=1, ensure_ascii=False, allow_nan=False)
        (draft / METRICS).write_text(text + "\n", encoding="utf-8")
        (draft / WEIGHTS).chmod((draft / CONFIG).stat().st_mode)  # safetensors writes a file for its owner alone
        _publish(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def load_run(folder: str | Path) -> Run:
    """Open a run folder. Raises CheckpointError naming the file, the field and the way out."""
    folder = Path(folder)
    config = read_config(folder)
    model_config = _model_config(folder, config)
    for name in (WEIGHTS, ITEMS):
        _check_sha(folder / name, config["sha256"])
    catalog = _read_items(folder / ITEMS, model_config.n_items, config["catalog"])
    model = read_weights(folder / WEIGHTS, backbone(config["backbone"]), model_config)
    return Run(
        folder=folder,
        name=run_name(folder),
        model=model,
        catalog=catalog,
        config=config,
        metrics=read_metrics(folder),
    )


# Saving


def check_place(folder: Path) -> None:
    """CheckpointError where a run cannot be saved without harm; ask before a long training, not after it."""
    if folder.exists() and not (folder.is_dir() and (looks_like_run(folder) or not any(folder.iterdir()))):
        raise CheckpointError(f"{folder} exists and is no run folder: choose another name, or remove it")
    above = next(place for place in folder.absolute().parents if place.exists())
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise CheckpointError(f"{folder} cannot be made: {above} is no folder that may be written to; choose another")


def _check_before_saving(model: SequentialBackbone, catalog: Catalog, data: Mapping[str, Any]) -> None:
    if catalog.n_items != model.config.n_items:
        raise CheckpointError(
            f"the catalogue has {catalog.n_items} items, the model n_items {model.config.n_items}: "
            "save the catalogue that the model was trained on"
        )
    for key in _DATA_FIELDS:
        if key not in data:
            raise CheckpointError(f"data.{key} is missing: describe the log by {', '.join(_DATA_FIELDS)}")
    for key, value in data.items():
        if isinstance(value, Path) or (isinstance(value, str) and Path(value).is_absolute()):
            raise CheckpointError(f"data.{key} is a path ({value}): a run folder names its data without a place")


def _config(
    model: SequentialBackbone,
    catalog: Catalog,
    *,
    train: Mapping[str, Any],
    data: Mapping[str, Any],
    save_titles: bool,
) -> dict[str, Any]:
    training = _plain(train, "train")
    return {
        "format": FORMAT,
        "backbone": model.name,
        "preset": model.preset,
        "model": _plain(dataclasses.asdict(model.config), "model"),
        "train": training,
        "data": _plain(data, "data"),
        "catalog": {
            "n_items": catalog.n_items,
            "fingerprint": catalog.fingerprint,
            "titles": save_titles and catalog.titles is not None,
        },
        "seed": training.get("seed"),
        "versions": {
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "recblr": VERSION,
        },
        "commit": source_commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _items_frame(catalog: Catalog, save_titles: bool) -> pd.DataFrame:
    columns: dict[str, Any] = {"id": catalog.ids[1:]}
    if save_titles and catalog.titles is not None:
        columns["title"] = catalog.titles[1:]
    for name, values in catalog.columns.items():
        if name in ("id", "title"):
            raise CheckpointError(f"a further catalogue column is called {name!r}: rename it, the name is taken")
        columns[name] = values[1:]
    return pd.DataFrame({name: pd.array(values.tolist(), dtype="str") for name, values in columns.items()})


def _publish(draft: Path, folder: Path) -> None:
    """Flush the draft to the disk and rename it to its place; an older run steps aside and is removed after."""
    for path in [*draft.iterdir(), draft]:
        _flush(path)
    aside = _beside(folder, ".old")
    older = aside / folder.name
    try:
        if folder.exists():
            folder.rename(older)
        try:
            draft.rename(folder)
        except OSError:
            if older.exists():
                older.rename(folder)
            raise
        _flush(folder.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _beside(folder: Path, suffix: str) -> Path:
    """A new hidden folder on the same disk, so that a rename is enough. Unlike one of tempfile's, not private."""
    place = folder.parent / f".{folder.name}.{secrets.token_hex(4)}{suffix}"
    place.mkdir()
    return place


def _flush(path: Path) -> None:
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open a folder
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def source_commit() -> str | None:
    """Commit of this source tree, or None where the package was installed without one."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists() or shutil.which("git") is None:
        return None
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    return done.stdout.strip() or None


def _plain(value: Any, place: str, *, finite: bool = False) -> Any:
    """Only what YAML and JSON know. With `finite`, NaN and infinities become null, which JSON lacks a number for."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner, f"{place}.{key}", finite=finite) for key, inner in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value), place, finite=finite)
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(inner, f"{place}[{row}]", finite=finite) for row, inner in enumerate(value)]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and finite and not np.isfinite(value):
        return None
    if isinstance(value, str):
        return str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    raise CheckpointError(f"{place} is a {type(value).__name__}: a run folder keeps numbers, text, lists and mappings")


# Loading


def _model_config(folder: Path, config: Mapping[str, Any]) -> BackboneConfig:
    path = folder / CONFIG
    try:
        cls = backbone(config["backbone"])
        fields = {field.name: field for field in dataclasses.fields(cls.Config)}
        for key in config["model"]:
            if key not in fields:
                raise CheckpointError(f"{path}: unknown key model.{key}: {cls.name} has {', '.join(fields)}")
        for key in fields:
            if key not in config["model"]:
                raise CheckpointError(f"{path}: key model.{key} is missing: restore the file or train anew")
        return cls.Config(**typed(cls.Config, config["model"]))
    except Mismatch as error:
        raise CheckpointError(f"{path}: model.{error}") from error
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _check_sha(path: Path, recorded: Mapping[str, Any]) -> None:
    require_file(path)
    if recorded.get(path.name) != _sha256(path):
        raise CheckpointError(
            f"{path} is not the file that was saved: its SHA-256 differs from sha256.{path.name} in {CONFIG}, "
            "so it was altered or cut short; copy the run folder again or train anew"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_items(path: Path, n_items: int, recorded: Mapping[str, Any]) -> Catalog:
    try:
        rows = pyarrow.parquet.read_metadata(path).num_rows
        if rows != n_items:
            raise CheckpointError(
                f"{path} has {rows} items, model.n_items in {CONFIG} is {n_items}: "
                "this is the catalogue of another run; copy the whole folder again"
            )
        frame = pd.read_parquet(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise CheckpointError(f"{path} is not readable Parquet: copy the run folder again or train anew") from error
    if "id" not in frame or frame.isna().any(axis=None):
        raise CheckpointError(f"{path}: column 'id' is missing or a value is empty: copy the run folder again")
    text = {name: np.array(["", *frame[name].astype(str)], dtype=np.str_) for name in map(str, frame.columns)}
    catalog = Catalog(ids=text.pop("id"), titles=text.pop("title", None), columns=text)
    if len(catalog.index) != n_items:
        raise CheckpointError(f"{path}: an item id occurs twice: copy the run folder again or train anew")
    if recorded.get("fingerprint") != catalog.fingerprint:
        raise CheckpointError(f"{path}: the ids differ from catalog.fingerprint in {CONFIG}: this is another catalogue")
    return catalog
