"""Train what the table lacks, cell by cell: what is done is skipped, what fails is reported, the rest goes on."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from recblr.checkpoint import check_place
from recblr.data.log import InteractionLog
from recblr.errors import CheckpointError, DataError, RecblrError
from recblr.leaderboard.adopt import finished_runs, row_of
from recblr.leaderboard.cells import Cell, Track
from recblr.leaderboard.cost import device_words
from recblr.leaderboard.grid import backbone_of, model_config, track_of, train_config
from recblr.leaderboard.rows import Row, locked, merge
from recblr.runs import FILES
from recblr.training import ProgressCallback, train
from recblr.training.loop import device_of

OpenLog = Callable[[Track], InteractionLog]
_logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Outcome:
    """What a call did."""

    trained: list[Cell] = field(default_factory=list)
    failed: dict[Cell, str] = field(default_factory=dict)
    elsewhere: list[Cell] = field(default_factory=list)
    """Being trained by another call."""
    left: list[Cell] = field(default_factory=list)
    """Not begun, because the time was up."""


def work(
    cells: Sequence[Cell],
    open_log: OpenLog,
    runs: Path,
    table: Path,
    *,
    minutes: float = 0,
    device: str = "auto",
    beside_other_work: bool = False,
    progress: ProgressCallback | None = None,
    begin: Callable[[Cell], None] = lambda cell: None,
    fail: Callable[[Cell, str], None] = lambda cell, why: None,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Train the cells in turn and put each into the table when it is done.

    After `minutes` no further cell is begun; 0 sets no bound. A cell that was interrupted goes on where it stopped.
    `begin` is told each cell before its training, `fail` each that failed, and why.
    """
    outcome, began = Outcome(), clock()
    for n, cell in enumerate(cells):
        if minutes and clock() - began >= 60 * minutes:
            outcome.left = list(cells[n:])
            break
        with claimed(cell.folder(runs)) as free:
            if not free:
                outcome.elsewhere.append(cell)
                continue
            try:
                if is_complete(cell.folder(runs)):
                    _check_recipe(cell, cell.folder(runs))  # another call ended it since the cells were chosen
                    continue
                begin(cell)
                row = _train(cell, open_log, runs, device, beside_other_work, progress)
            except Exception as error:
                _logger.debug("%s failed", cell.name, exc_info=True)
                outcome.failed[cell] = _words(error)
                fail(cell, outcome.failed[cell])
                continue
        merge(table, [row])
        outcome.trained.append(cell)
    return outcome


def is_complete(folder: Path) -> bool:
    """Whether a run folder has all of its files."""
    return all((folder / name).is_file() for name in FILES)


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Hold a cell's training state for this process; yields False where another process trains the cell."""
    state = folder.parent / f".{folder.name}.training"
    state.mkdir(parents=True, exist_ok=True)
    with locked(state, wait=False) as free:
        yield free
    with contextlib.suppress(OSError):  # it holds an interrupted training, or was removed after a finished one
        state.rmdir()


def _train(
    cell: Cell, open_log: OpenLog, runs: Path, device: str, beside_other_work: bool, progress: ProgressCallback | None
) -> Row:
    folder, track = cell.folder(runs), track_of(cell)
    check_place(folder)
    log = open_log(track)
    if log.n_events != track.n_events:
        raise DataError(
            f"log {log.name!r} has {log.n_events:,} events, that of the table {track.n_events:,}: figures on another "
            "log belong in another table"
        )
    config, settings = train_config(cell, device=device), model_config(cell, log.catalog.n_items)
    titles = backbone_of(cell)(settings).keeps_texts
    train(cell.backbone, settings, config, log, folder, save_titles=titles, progress=progress)
    used = device_of(config.device) if backbone_of(cell).learns else torch.device("cpu")
    return row_of(folder, machine=device_words(used, torch.get_num_threads()), beside_other_work=beside_other_work)


def _check_recipe(cell: Cell, folder: Path) -> None:
    if cell not in finished_runs([folder]):
        raise CheckpointError(f"{folder} holds a run of another recipe: move it away, so that the cell can be trained")


def _words(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, RecblrError) else f"{type(error).__name__}: {text}"
