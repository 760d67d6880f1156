"""Finding run folders and reading what they say about themselves, without torch and without their weights.

A run folder holds four files: the weights, what they were made with, the catalogue, and the results.
A run's name is its path below a root, such as "mixed/recblr"; a name never leads out of the roots.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

import yaml

from recblr.errors import CheckpointError

WEIGHTS, CONFIG, ITEMS, METRICS = "model.safetensors", "config.yaml", "items.parquet", "metrics.json"
FILES = (WEIGHTS, CONFIG, ITEMS, METRICS)
FORMAT = 1
SAMPLE_ROOT = Path(__file__).resolve().parents[1] / "sample_data" / "checkpoints"
ENVIRONMENT = "RECBLR_RUNS"

_MAX_DEPTH = 4
_MAX_TEXT_BYTES = 64 * 2**20
_FIELDS: dict[str, tuple[type, ...]] = {
    "format": (int,),
    "backbone": (str,),
    "preset": (str,),
    "model": (dict,),
    "train": (dict,),
    "data": (dict,),
    "catalog": (dict,),
    "seed": (int, type(None)),
    "versions": (dict,),
    "commit": (str, type(None)),
    "date": (str,),
    "sha256": (dict,),
}
"""Keys of config.yaml and the YAML types they take; every key is written and every key is needed."""


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """One run folder as its config.yaml and metrics.json describe it."""

    name: str
    """Path below its root, with forward slashes."""
    folder: Path
    backbone: str = ""
    """Registry name; empty where the folder is broken."""
    preset: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    """Name, fingerprint and size of the log it was trained on."""
    n_items: int = 0
    date: str = ""
    """When it was saved, ISO 8601, UTC."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    """Why the folder cannot be opened, or None."""


def run_roots() -> tuple[Path, ...]:
    """Folders that runs are looked for in: the shipped ones, ``runs/`` here, and those that RECBLR_RUNS names."""
    usual = [root for root in (SAMPLE_ROOT, Path.cwd() / "runs") if os.path.isdir(root)]
    parts = os.environ.get(ENVIRONMENT, "").split(os.pathsep)
    named = [Path(os.path.expanduser(part)) for part in parts if part.strip()]
    return tuple(dict.fromkeys([*usual, *named]))


def looks_like_run(folder: Path) -> bool:
    """Whether a folder holds weights or a configuration, so that it is worth opening or complaining about."""
    return any(os.path.isfile(folder / name) for name in (CONFIG, WEIGHTS))  # never raises, unlike Path.is_file


def list_runs(roots: Sequence[Path] | None = None) -> list[RunInfo]:
    """Every run under the roots, in their order; a broken folder is listed with its error, never raised.

    Where two roots hold the same name, the later run is called "<name of its root>/<name>".
    """
    found: dict[str, RunInfo] = {}
    for root in run_roots() if roots is None else roots:
        if not os.path.isdir(root):
            name = root.name or str(root)
            found.setdefault(name, RunInfo(name=name, folder=root, error=f"{root}: no such folder of runs"))
            continue
        for name, folder in _folders(root.resolve()):
            free = name if name not in found else f"{root.resolve().name}/{name}"
            found.setdefault(free, _info(free, folder))
    return list(found.values())


def resolve_run(name: str | Path, roots: Sequence[Path] | None = None) -> Path:
    """Folder of a run's name, or of a path inside the roots. Nothing outside the roots is ever returned.

    Raises CheckpointError for names with ``..``, paths and links that lead outside, and runs that are not there.
    """
    roots = run_roots() if roots is None else roots
    text = str(name)
    wanted = Path(text)
    if not text.strip() or not wanted.parts or "\0" in text or ".." in (*wanted.parts, *PureWindowsPath(text).parts):
        raise CheckpointError(f"{text!r} is not the name of a run: a name has no '..' and is not empty")
    for root in roots:
        base = root.resolve()
        below = [base / wanted]  # an absolute path replaces base and has to prove itself below
        if wanted.parts[0] == base.name:
            below.append(base.joinpath(*wanted.parts[1:]))
        for candidate in below:
            folder = _inside(candidate, base)
            if folder is not None:
                return folder
    known = ", ".join(info.name for info in list_runs(roots)) or "none"
    raise CheckpointError(
        f"no run {text!r} in the allowed folders (runs there: {known}): "
        f"choose one of these, or add its folder to {ENVIRONMENT}"
    )


def run_name(folder: Path, roots: Sequence[Path] | None = None) -> str:
    """Name of a folder: its path below the first root that holds it, else the folder's own name."""
    folder = folder.resolve()
    for root in run_roots() if roots is None else roots:
        base = root.resolve()
        if folder != base and folder.is_relative_to(base):
            return folder.relative_to(base).as_posix()
    return folder.name


def read_config(folder: Path) -> dict[str, Any]:
    """config.yaml of a run, its keys and their types checked."""
    path = folder / CONFIG
    try:
        config = yaml.safe_load(read_text(path))
    except (yaml.YAMLError, RecursionError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path} is not readable YAML ({why}): restore it or train anew") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} holds no mapping of keys: restore it or train anew")
    for key in config:
        if key not in _FIELDS:
            raise CheckpointError(f"{path}: unknown key {key!r}: remove it (known keys: {', '.join(_FIELDS)})")
    for key, types in _FIELDS.items():
        if key not in config:
            raise CheckpointError(f"{path}: key {key!r} is missing: restore the file or train anew")
        if not isinstance(config[key], types) or isinstance(config[key], bool):
            wanted = " or ".join("null" if one is type(None) else one.__name__ for one in types)
            raise CheckpointError(f"{path}: {key} is {config[key]!r}: it must be {wanted}")
    if config["format"] != FORMAT:
        raise CheckpointError(
            f"{path}: format is {config['format']}, this version reads {FORMAT}: use the version that wrote the run"
        )
    return config


def read_metrics(folder: Path) -> dict[str, Any]:
    """metrics.json of a run."""
    path = folder / METRICS
    try:
        metrics = json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise CheckpointError(f"{path} is not readable JSON ({error}): restore it or evaluate the run anew") from error
    if not isinstance(metrics, dict):
        raise CheckpointError(f"{path} holds no JSON object: restore it or evaluate the run anew")
    return metrics


def read_text(path: Path) -> str:
    """Text of one file of a run; CheckpointError where it is missing, unreadable, or too large to be one."""
    require_file(path)
    try:
        if path.stat().st_size > _MAX_TEXT_BYTES:
            raise CheckpointError(f"{path} is larger than {_MAX_TEXT_BYTES >> 20} MiB: this is no file of a run")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}): restore it or train anew") from error


def require_file(path: Path) -> None:
    """CheckpointError where a file of a run, or the whole folder, is missing."""
    if not os.path.isdir(path.parent):
        raise CheckpointError(f"{path.parent}: no such run folder: check the path, or train one with `recblr train`")
    if not os.path.isfile(path):
        raise CheckpointError(
            f"{path.parent}: {path.name} is missing: a run folder holds {', '.join(FILES)}; copy the whole folder again"
        )


def _info(name: str, folder: Path) -> RunInfo:
    try:
        config, metrics = read_config(folder), read_metrics(folder)
        n_items = config["model"].get("n_items", 0)
        for file in FILES:
            require_file(folder / file)
    except CheckpointError as error:
        return RunInfo(name=name, folder=folder, error=str(error))
    return RunInfo(
        name=name,
        folder=folder,
        backbone=config["backbone"],
        preset=config["preset"],
        data=config["data"],
        n_items=n_items if isinstance(n_items, int) else 0,
        date=config["date"],
        metrics=metrics,
    )


def _folders(root: Path) -> Iterator[tuple[str, Path]]:
    """(name, folder) of every run below a root, by name. Links are not followed: they could lead outside."""
    if looks_like_run(root):
        yield root.name, root
        return
    for place, folders, _ in os.walk(root):
        here = Path(place)
        if here != root and looks_like_run(here):
            yield here.relative_to(root).as_posix(), here
            folders.clear()
        elif len(here.relative_to(root).parts) >= _MAX_DEPTH:
            folders.clear()
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))


def _inside(candidate: Path, base: Path) -> Path | None:
    """The candidate with links resolved, if it is a run folder inside base."""
    try:
        folder = candidate.resolve()
        return folder if folder.is_relative_to(base) and looks_like_run(folder) else None
    except (OSError, RuntimeError):  # a name too long for the file system, or a loop of links
        return None
