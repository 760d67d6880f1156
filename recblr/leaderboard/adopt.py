"""From finished run folders to rows of the table."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from recblr.backbones import REGISTRY
from recblr.checkpoint import load_run
from recblr.errors import CheckpointError, DataError
from recblr.leaderboard.cells import Cell, track_named
from recblr.leaderboard.cost import measure_asking
from recblr.leaderboard.grid import model_config, track_of, train_config
from recblr.leaderboard.rows import Row, Training
from recblr.runs import list_runs, read_config, read_metrics

_OWN = ("seed", "device")
"""Training settings that no two rows need to share."""
_logger = logging.getLogger(__name__)


def finished_runs(roots: Sequence[Path]) -> dict[Cell, Path]:
    """Complete run folders below the roots that belong in the table; of two of one cell, the one saved last.

    A run on another log or protocol is passed over; one of the table's that is broken, or trained by another recipe,
    is passed over with a warning that says why.
    """
    found: dict[Cell, tuple[str, Path]] = {}
    for info in list_runs([root for root in roots if root.is_dir()]):
        if info.error is not None:
            _logger.warning("%s is passed over: %s", info.folder, info.error)
            continue
        config = read_config(info.folder)
        cell = _cell(config)
        if cell is None:
            continue
        reasons = [*_differences(cell, config), *([] if "test" in info.metrics else ["it has no test figures"])]
        if reasons:
            _logger.warning("%s is passed over as %s: %s", info.folder, cell.name, "; ".join(reasons))
        elif cell not in found or info.date > found[cell][0]:
            found[cell] = info.date, info.folder
    return {cell: folder for cell, (_, folder) in found.items()}


def row_of(folder: Path, *, machine: str = "", beside_other_work: bool = False) -> Row:
    """The row of a finished run; its time per recommendation is measured here and now.

    `machine` says what it was trained on; a run folder does not. Raises CheckpointError for a folder that cannot be
    opened, and DataError for one that is not of the table.
    """
    config, metrics = read_config(folder), read_metrics(folder)
    cell = _cell(config)
    if cell is None or "test" not in metrics:
        raise DataError(f"{folder} is not a finished run of the table")
    model, test = load_run(folder).model, metrics["test"]
    learns = REGISTRY[cell.backbone].learns
    return Row(
        **dataclasses.asdict(cell),
        default=cell.preset == next(iter(model.presets)),
        title=model.title,
        causal=model.causal,
        fingerprint=test["fingerprint"],
        max_len=test["max_len"],
        targets=test["targets"],
        metrics=test["metrics"],
        intervals={name: (low, high) for name, (low, high) in test["intervals"].items()},
        valid=metrics["valid"]["metrics"]["NDCG@10"],
        parameters=metrics["n_parameters"],
        objective=config["train"]["objective"] if learns else "counts",
        training=_training(metrics, machine or _unrecorded(config), beside_other_work) if learns else None,
        asking=measure_asking(model, beside_other_work=beside_other_work),
        recblr=config["versions"]["recblr"],
        commit=config["commit"],
        date=config["date"],
    )


def new_rows(
    held: Mapping[Cell, Row], finished: Mapping[Cell, Path], *, again: bool = False, **about: Any
) -> Iterator[Row]:
    """Rows of the finished runs that the table lacks or has of an earlier training; with `again`, of all of them."""
    for cell, folder in finished.items():
        row = held.get(cell)
        if again or row is None or read_config(folder)["date"] > row.date:
            try:
                made = row_of(folder, **about)
            except CheckpointError as error:
                _logger.warning("%s is passed over: %s", cell.name, error)
                continue
            yield made if row is None or row.date != made.date else _remeasured(row, made)


def _remeasured(row: Row, made: Row) -> Row:
    """The same training, asked anew: what was known of the training's machine stays."""
    return dataclasses.replace(made, training=row.training)


def _cell(config: Mapping[str, Any]) -> Cell | None:
    track = track_named(str(config["data"].get("name", "")), str(config["train"].get("protocol", "")))
    cls = REGISTRY.get(config["backbone"])
    if track is None or cls is None or config["preset"] not in cls.presets:
        return None
    return Cell(
        log=track.log, protocol=track.protocol, backbone=cls.name, preset=config["preset"], seed=config["seed"] or 0
    )


def _differences(cell: Cell, config: Mapping[str, Any]) -> list[str]:
    """What a run was made by that the table's recipe is not."""
    track = track_of(cell)
    found = []
    if config["data"].get("n_events") != track.n_events:
        found.append(f"its log has {config['data'].get('n_events')} events, the table's {track.n_events}")
    cls, given = REGISTRY[cell.backbone], model_config(cell, config["model"].get("n_items", 1))
    if not cls.learns:  # counting adds to its settings what it counted
        return found + _other("model", config["model"], {"max_len": given.max_len})
    found += _other("train", config["train"], dataclasses.asdict(train_config(cell)))
    if _other("model", config["model"], dataclasses.asdict(given)):  # or settings that the model fills in itself
        found += _other("model", config["model"], dataclasses.asdict(cls(given).config))
    return found


def _other(part: str, held: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    return [
        f"{part}.{name} is {held.get(name)!r}, the recipe's is {value!r}"
        for name, value in wanted.items()
        if name not in _OWN and held.get(name) != value
    ]


def _training(metrics: Mapping[str, Any], machine: str, beside_other_work: bool) -> Training:
    curve = metrics["curve"]
    before = [{"epoch": 0, "seconds": 0.0}, *curve[:-1]]
    each = [
        (now["seconds"] - then["seconds"]) / (now["epoch"] - then["epoch"])
        for then, now in zip(before, curve, strict=True)
    ]
    return Training(
        seconds_per_epoch=median(each),
        fastest=min(each),
        slowest=max(each),
        epochs=int(curve[-1]["epoch"]),
        best_epoch=metrics["best_epoch"],
        machine=machine,
        beside_other_work=beside_other_work,
    )


def _unrecorded(config: Mapping[str, Any]) -> str:
    on_cpu = config["train"].get("device") == "cpu" or str(config["versions"].get("torch", "")).endswith("+cpu")
    return "a CPU, not recorded which" if on_cpu else "a machine that was not recorded"
