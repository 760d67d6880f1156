"""Simulated logs on disk: a folder of three tables and the configuration that makes them again.

    events.parquet    user, item, timestamp (unix seconds), by user and time
    items.parquet     id, title, aisle, text
    truth.parquet     cause, cause_pos, cue_pos, p_true: one row an event, in the order of events.parquet
    simulator.json    configuration, counts, and a sha256 of the contents of each table

The hashes are of values, not of bytes in the file, so they do not depend on the version of the Parquet writer.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recblr.data.log import InteractionLog
from recblr.data.simulator.config import CAUSES, SimulatorConfig
from recblr.data.simulator.process import simulate
from recblr.data.simulator.truth import Simulated, Truth
from recblr.errors import DataError

MANIFEST = "simulator.json"

SAMPLES: dict[str, SimulatorConfig] = {
    "mixed": SimulatorConfig(),
    "causes/taste": SimulatorConfig(n_users=300, causes=("taste",)),
    "causes/sequel": SimulatorConfig(n_users=300, causes=("taste", "sequel"), shares={"sequel": 0.2}),
    "causes/echo": SimulatorConfig(n_users=300, causes=("taste", "echo"), shares={"echo": 0.2}),
    "causes/recall": SimulatorConfig(n_users=300, causes=("taste", "recall"), shares={"recall": 0.04}, mean_length=80),
    "causes/habit": SimulatorConfig(n_users=300, causes=("taste", "habit"), shares={"habit": 0.2}),
    "causes/fork": SimulatorConfig(n_users=300, causes=("taste", "fork"), shares={"fork": 0.2}),
    "causes/trend": SimulatorConfig(n_users=300, causes=("taste", "trend"), shares={"trend": 0.4}),
    "causes/noise": SimulatorConfig(n_users=300, causes=("taste", "noise"), shares={"noise": 0.4}),
}
"""The shipped logs: all causes together, and each beside taste alone."""


def table_hashes(simulated: Simulated) -> dict[str, str]:
    """sha256 of each table's values. Probabilities count to four decimals, as the last bits differ between machines."""
    log, truth = simulated.log, simulated.truth
    return {
        "events": _sha256([*_text(log.users), *_text(log.catalog.ids), _little(log.offsets), *_events(log)]),
        "items": _sha256(part for column in _item_columns(log).values() for part in _text(column)),
        "truth": _sha256(
            [
                _little(truth.cause.astype(np.int64)),
                _little(truth.cause_pos.astype(np.int64)),
                _little(truth.cue_pos.astype(np.int64)),
                _little(np.rint(truth.p_true.astype(np.float64) * 1e4).astype(np.int64)),
            ]
        ),
    }


def write_sample(folder: Path | str, simulated: Simulated) -> None:
    """Write the folder in one step: it is made beside its place and moved there when complete.

    Raises DataError if the place is taken by anything but an earlier sample.
    """
    folder = Path(folder)
    if folder.exists() and not (folder.is_dir() and ((folder / MANIFEST).exists() or not any(folder.iterdir()))):
        raise DataError(f"{folder} exists and holds no {MANIFEST}, so it is no simulated log: choose another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        _write_tables(made, simulated)
        (made / MANIFEST).write_text(json.dumps(_manifest(simulated), indent=2) + "\n", encoding="utf-8")
        _put_in_place(made, folder, aside=Path(scratch) / "replaced")


def _put_in_place(made: Path, folder: Path, aside: Path) -> None:
    """Rename, with what was there before moved aside, and back again if the place cannot be taken."""
    if not folder.exists():
        made.rename(folder)
        return
    folder.rename(aside)
    try:
        made.rename(folder)
    except OSError:
        aside.rename(folder)
        raise


def write_all(folder: Path | str) -> list[Path]:
    """Simulate and write every shipped log below `folder`; returns the folders written."""
    written = []
    for name, config in SAMPLES.items():
        write_sample(Path(folder) / name, simulate(config))
        written.append(Path(folder) / name)
    return written


def load_truth(folder: Path | str, log: InteractionLog) -> Truth:
    """The truth about a log read from `folder`.

    Raises DataError if the folder holds no truth, if its files are damaged, or if `log` is not exactly the log that it
    is about (filtered to a core, without duplicates, re-ordered, or another log).
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    config = SimulatorConfig.from_dict(manifest["config"])
    if log.fingerprint != manifest["log"]:
        raise DataError(
            f"{folder}: the truth is about all {manifest['n_events']} events of {manifest['n_users']} users in their "
            f"order, and log {log.name!r} has {log.n_events} events of {log.n_users} users, or others: read "
            f"{folder / 'events.parquet'} as it is, without a core, a filter or a limit"
        )
    truth = Truth(config=config, log=log, **_read_truth(folder / "truth.parquet"))
    if table_hashes(Simulated(log=log, truth=truth))["truth"] != manifest["sha256"].get("truth"):
        raise DataError(f"{folder / 'truth.parquet'}: its contents do not match the hash in {MANIFEST}")
    if not _same_rules(truth):
        raise DataError(f"{folder}: made by another version of the simulator: make it again with `recblr simulate`")
    return truth


def _same_rules(truth: Truth) -> bool:
    """Whether the rules as they are now give the first user's events the probabilities on file."""
    if not set(truth.log.catalog.ids[1:].tolist()) <= set(truth.world.shop.catalog.index):
        return False
    items = truth.log.sequence(0)[0].tolist()
    now = [truth.next_item_distribution(0, position)[item] for position, item in enumerate(items)]
    return bool(np.allclose(now, truth.p_true[: len(items)], rtol=1e-4))


def has_truth(folder: Path | str) -> bool:
    """Whether the folder says why its events happened."""
    return all((Path(folder) / name).is_file() for name in (MANIFEST, "truth.parquet"))


def read_manifest(folder: Path | str) -> dict[str, Any]:
    """What simulator.json says. Raises DataError where it is missing or damaged."""
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise DataError(f"{folder}: no {MANIFEST}; only simulated logs know why their events happened")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not valid JSON ({error})") from error
    wanted = ("config", "log", "n_events", "n_users", "sha256")
    missing = [key for key in wanted if not isinstance(manifest, dict) or key not in manifest]
    if missing:
        raise DataError(f"{path}: {missing[0]!r} is missing")
    if not isinstance(manifest["config"], dict) or not isinstance(manifest["sha256"], dict):
        raise DataError(f"{path}: 'config' and 'sha256' must be objects")
    return dict(manifest)


def _manifest(simulated: Simulated) -> dict[str, Any]:
    log, truth = simulated.log, simulated.truth
    counts = np.bincount(truth.cause, minlength=len(CAUSES)).tolist()
    return {
        "config": truth.config.to_dict(),
        "n_users": log.n_users,
        "n_items": log.catalog.n_items,
        "n_events": log.n_events,
        "events_by_cause": {name: count for name, count in zip(CAUSES, counts, strict=True) if count},
        "log": log.fingerprint,
        "sha256": table_hashes(simulated),
    }


def _write_tables(folder: Path, simulated: Simulated) -> None:
    log, truth = simulated.log, simulated.truth
    events = {
        "user": pa.array(np.repeat(log.users, log.lengths()).astype(object)),
        "item": pa.array(log.catalog.ids[log.items].astype(object)),
        "timestamp": log.times,
    }
    why = {
        "cause": pa.array(truth.names().astype(object)),
        "cause_pos": truth.cause_pos,
        "cue_pos": truth.cue_pos,
        "p_true": truth.p_true,
    }
    items = {name: pa.array(column.astype(object)) for name, column in _item_columns(log).items()}
    for name, columns in (("events", events), ("items", items), ("truth", why)):
        pq.write_table(pa.table(columns), folder / f"{name}.parquet", compression="zstd")


def _read_truth(path: Path) -> dict[str, NDArray[Any]]:
    try:
        table = pq.read_table(path, columns=["cause", "cause_pos", "cue_pos", "p_true"])
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read ({error}); make it again with `recblr simulate`") from error
    names = table["cause"].to_pylist()
    codes = {name: code for code, name in enumerate(CAUSES)}
    unknown = set(names) - set(codes)
    if unknown:
        raise DataError(f"{path}, column cause: {sorted(map(str, unknown))[0]!r} is no cause")
    return {
        "cause": np.array([codes[name] for name in names], dtype=np.int8),
        "cause_pos": table["cause_pos"].to_numpy().astype(np.int32),
        "cue_pos": table["cue_pos"].to_numpy().astype(np.int32),
        "p_true": table["p_true"].to_numpy().astype(np.float32),
    }


def _item_columns(log: InteractionLog) -> dict[str, NDArray[np.str_]]:
    catalog = log.catalog
    titles = catalog.ids if catalog.titles is None else catalog.titles
    columns = {"id": catalog.ids, "title": titles, "aisle": catalog.columns["aisle"], "text": catalog.columns["text"]}
    return {name: column[1:] for name, column in columns.items()}


def _events(log: InteractionLog) -> list[bytes]:
    return [_little(log.items.astype(np.int64)), _little(log.times)]


def _text(column: NDArray[np.str_]) -> list[bytes]:
    return ["\n".join(column.tolist()).encode(), b"\0"]


def _little(column: NDArray[np.int64]) -> bytes:
    return column.astype("<i8").tobytes()


def _sha256(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
