"""One result of one cell, and the JSON file that holds all of them."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from recblr.errors import DataError
from recblr.leaderboard.cells import Cell, tracks
from recblr.typed import typed

try:
    import fcntl
except ImportError:  # Windows: two calls at once may then lose a row, which the next call adopts again
    fcntl = None  # type: ignore[assignment]

FORMAT = 1
RESULTS = Path(__file__).resolve().parents[1] / "results"
TABLE = "leaderboard.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """What an epoch costs."""

    seconds_per_epoch: float
    """Median over the stretches between validations; the validations themselves do not count."""
    fastest: float
    slowest: float
    """Of those stretches. Far apart, they tell of other work on the machine."""
    epochs: int
    best_epoch: int
    """Whose weights the validation chose."""
    machine: str
    """Device, processor and threads, as far as they are known."""
    beside_other_work: bool
    """Whether the machine is known to have done other work: the seconds are then indicative."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asking:
    """What one recommendation for one user costs: hidden state and scores of all items, batch 1, one thread.

    Milliseconds of processor time.
    """

    length: int
    """Events of the history."""
    repeats: int
    whole_ms: float
    """The whole history is read: median."""
    whole_low_ms: float
    whole_high_ms: float
    """A tenth of the calls is faster, and slower."""
    step_ms: float | None
    """One event more, from the state kept before it: median; None where a backbone cannot go on from a state."""
    step_low_ms: float | None
    step_high_ms: float | None
    state_bytes: int
    """What must be kept of the user to answer after the next event."""
    state_kind: str
    """"state" of fixed size, "cache" that grows with the history, or the "history" itself, item and time an event."""
    machine: str
    beside_other_work: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One trained cell."""

    log: str
    protocol: str
    backbone: str
    preset: str
    seed: int
    default: bool
    """Whether the preset is the backbone's first."""
    title: str
    """As the paper writes the backbone."""
    causal: bool
    fingerprint: str
    """Of the log."""
    max_len: int
    targets: int
    """Test targets."""
    metrics: Mapping[str, float]
    """On test."""
    intervals: Mapping[str, tuple[float, float]]
    """(low, high) of each metric: 95 % bootstrap over users."""
    valid: float
    """NDCG@10 on validation, which chose the weights."""
    parameters: int
    objective: str
    """"all" positions of a window, the "last" of every prefix, or "counts" for a baseline that does not train."""
    training: Training | None
    """None for baselines that count."""
    asking: Asking
    recblr: str
    """Version."""
    commit: str | None
    date: str
    """When the run was saved, ISO 8601, UTC."""

    @property
    def cell(self) -> Cell:
        return Cell(
            log=self.log, protocol=self.protocol, backbone=self.backbone, preset=self.preset, seed=self.seed
        )  # fmt: skip


def read_rows(path: Path) -> dict[Cell, Row]:
    """The rows of a table; none where there is no file yet. Raises DataError naming what is wrong with it."""
    if not path.exists():
        return {}
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        version, rows = held["format"], [_row(one) for one in held["rows"]] if held["format"] == FORMAT else []
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path} is not a table of results ({error}): restore it, or remove it to begin anew"
        ) from error
    if version != FORMAT:
        raise DataError(f"{path}: format is {version}, this version reads {FORMAT}: use the version that wrote it")
    return {row.cell: row for row in rows}


def merge(path: Path, rows: Iterable[Row]) -> dict[Cell, Row]:
    """Put rows into the table, each in place of that of its cell; returns all there are.

    The file is replaced whole, and read and written under a lock, so that two calls at once lose nothing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.parent):
        held = read_rows(path) | {row.cell: row for row in rows}
        ordered = dict(sorted(held.items(), key=lambda pair: (_place(pair[0]), pair[0])))
        text = json.dumps({"format": FORMAT, "rows": [asdict(row) for row in ordered.values()]}, indent=1,
                          ensure_ascii=False, allow_nan=False)  # fmt: skip
        replace_text(path, text + "\n")
    return ordered


def replace_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(draft, 0o644)  # mkstemp makes a file for its owner alone
        os.replace(draft, path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def locked(folder: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold a folder's lock, which dies with the process; yields False where it is taken and `wait` is not asked for."""
    if fcntl is None:
        yield True
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(handle)


def _place(cell: Cell) -> int:
    """Place of the cell's table on the page."""
    names = [track.name for track in tracks()]
    return names.index(cell.track) if cell.track in names else len(names)


def _row(values: Mapping[str, Any]) -> Row:
    _check_names(Row, values)
    inner = {
        "metrics": {str(name): float(value) for name, value in values["metrics"].items()},
        "intervals": {str(name): (float(low), float(high)) for name, (low, high) in values["intervals"].items()},
        "training": _inner(Training, values["training"]),
        "asking": _inner(Asking, values["asking"]),
    }
    return Row(**typed(Row, {name: value for name, value in values.items() if name not in inner}), **inner)


def _inner(cls: type, values: Mapping[str, Any] | None) -> Any:
    if values is None:
        return None
    _check_names(cls, values)
    return cls(**typed(cls, values))


def _check_names(cls: type, values: Mapping[str, Any]) -> None:
    known = [field.name for field in fields(cls)]
    for name in (*values, *known):
        if name not in known or name not in values:
            raise KeyError(f"{cls.__name__.lower()}.{name} is {'missing' if name in known else 'unknown'}")
