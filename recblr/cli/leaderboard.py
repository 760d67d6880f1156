"""``recblr leaderboard``: every backbone on every log, trained alike, into one table; in as many pieces as it takes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from recblr.cli.command import Command
from recblr.cli.logs import locate
from recblr.cli.output import table
from recblr.cli.train import show_progress
from recblr.data.cache import open_log
from recblr.data.log import InteractionLog
from recblr.errors import ConfigError, DataError, RecblrError
from recblr.leaderboard.adopt import finished_runs, new_rows
from recblr.leaderboard.cells import Cell, Track, choose
from recblr.leaderboard.grid import grid
from recblr.leaderboard.page import page
from recblr.leaderboard.published import read_published
from recblr.leaderboard.rows import RESULTS, TABLE, Row, merge, read_rows, replace_text
from recblr.leaderboard.work import work
from recblr.runs import SAMPLE_ROOT
from recblr.training import Report

PAGE = "README.md"
SEEDS_WITH_GPU = 3


@dataclass(frozen=True, kw_only=True)
class LeaderboardOptions:
    """What to train, where, and for how long."""

    data: Path | None = None
    """Folder that holds the logs; without it, the folders of logs that every command looks in."""
    runs: Path = Path("runs/leaderboard")
    """Folder of the runs, LOG/PROTOCOL/BACKBONE-PRESET-sSEED; finished ones below it are taken into the table."""
    adopt: tuple[str, ...] = ()
    """More folders whose finished runs are taken into the table, beside --runs and the shipped ones."""
    results: Path | None = None
    """Folder of the table and its page; without it, the package's own."""
    only: tuple[str, ...] = ()
    """Cells as LOG PROTOCOL BACKBONE PRESET SEED, names or patterns, the last ones optional: 'ml-1m lrurec sasrec'."""
    seeds: int = 0
    """Seeds a cell is trained with; 0 takes 3 where there is a GPU and 1 where there is none."""
    every_preset: bool = False
    """Train presets other than a backbone's first on every log; without it, on ML-100K alone where there is no GPU."""
    minutes: float = 0
    """Begin no further cell after so many minutes; 0 sets no bound."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    beside_other_work: bool = False
    """Mark the times of this call as indicative, because the machine does other work."""
    machine: str = ""
    """What the adopted runs were trained on, in words; a run folder does not say it."""
    again: bool = False
    """Measure time and state anew of every finished run that is at hand."""
    list: bool = False
    """Only list the cells, done and missing."""
    no_train: bool = False
    """Only take finished runs into the table and write the page."""
    write: bool = False
    """Only write the page from the table."""

    def __post_init__(self) -> None:
        for name in ("seeds", "minutes"):
            if getattr(self, name) < 0:
                raise ConfigError(f"--{name} is {getattr(self, name)}: it must not be negative")
        if self.list and self.write:
            raise ConfigError("--list writes nothing: pass either it or --write")


@dataclass(frozen=True, kw_only=True)
class CellState:
    """One cell as --list shows it."""

    cell: Cell
    state: str
    """done, finished (not yet in the table), begun or missing."""
    ndcg10: float | None


def run(options: LeaderboardOptions) -> list[CellState]:
    """Adopt, train, write. Raises RecblrError where cells failed, after the others were trained and written."""
    gpu = options.device != "cpu" and torch.cuda.is_available()
    published, results = read_published(), options.results or RESULTS
    place = results / TABLE
    everything = grid(
        options.seeds or (SEEDS_WITH_GPU if gpu else 1), published, every_preset=options.every_preset or gpu
    )
    cells = choose(everything, options.only)
    failed: Mapping[Cell, str] = {}
    if not (options.list or options.write):
        held = _adopt(options, place)
        if not options.no_train:
            failed = _train([cell for cell in cells if cell not in held], options, place)
    held = read_rows(place)
    if not options.list:
        missing = [cell for cell in everything if cell not in held]
        results.mkdir(parents=True, exist_ok=True)
        replace_text(results / PAGE, page(held.values(), published, missing))
    if failed:
        said = "; ".join(f"{cell.name}: {why}" for cell, why in failed.items())
        raise RecblrError(f"{len(failed)} of the cells failed, the others are in the table: {said}")
    return _states(cells, held, options)


def _adopt(options: LeaderboardOptions, place: Path) -> dict[Cell, Row]:
    """Rows of finished runs go into the table one by one, so that stopping loses none of them."""
    held = read_rows(place)
    finished = finished_runs(_roots(options))
    about = {"machine": options.machine, "beside_other_work": options.beside_other_work}
    for row in new_rows(held, finished, again=options.again, **about):
        _tell(f"taken into the table: {row.cell.name}, NDCG@10 {row.metrics['NDCG@10']:.4f}")
        held = merge(place, [row])
    return held


def _train(cells: list[Cell], options: LeaderboardOptions, place: Path) -> dict[Cell, str]:
    with tqdm(unit=" steps", file=sys.stderr, disable=not sys.stderr.isatty(), leave=False) as bar:

        def begin(cell: Cell) -> None:
            bar.reset()
            _tell(f"training {cell.name} ({cells.index(cell) + 1} of {len(cells)})")

        def show(report: Report) -> None:
            show_progress(bar, report)

        outcome = work(
            cells,
            _opener(options.data),
            options.runs,
            place,
            minutes=options.minutes,
            device=options.device,
            beside_other_work=options.beside_other_work,
            progress=show,
            begin=begin,
            fail=lambda cell, why: _tell(f"failed: {cell.name}: {why}"),
        )
    for cell in outcome.elsewhere:
        _tell(f"being trained by another call: {cell.name}")
    if outcome.left:
        _tell(f"the time is up: {len(outcome.left)} cells are left for another call")
    return outcome.failed


def _opener(data: Path | None) -> Any:
    """Opens the log of a track, and remembers the last one."""
    kept: dict[str, InteractionLog] = {}

    def opened(track: Track) -> InteractionLog:
        if track.log not in kept:
            if data is not None and not (data / track.log).exists():
                raise DataError(f"{data} holds no {track.log}: pass the folder that holds the logs as --data")
            path = locate(track.log) if data is None else data / track.log
            kept.clear()
            kept[track.log] = open_log(path, k_core=track.k_core)[0]
        return kept[track.log]

    return opened


def _states(cells: list[Cell], held: Mapping[Cell, Row], options: LeaderboardOptions) -> list[CellState]:
    finished = finished_runs(_roots(options)) if options.list else {}

    def state(cell: Cell) -> str:
        folder = cell.folder(options.runs)
        if cell in held:
            return "done"
        if cell in finished:
            return "finished"
        return "begun" if (folder.parent / f".{folder.name}.training").is_dir() else "missing"

    return [
        CellState(cell=cell, state=state(cell), ndcg10=held[cell].metrics["NDCG@10"] if cell in held else None)
        for cell in cells
    ]


def _roots(options: LeaderboardOptions) -> list[Path]:
    return [options.runs, SAMPLE_ROOT, *(Path(one) for one in options.adopt)]


def _tell(words: str) -> None:
    tqdm.write(words, file=sys.stderr)


def lines(result: list[CellState]) -> Iterator[str]:
    """The cells, and how many are done."""
    heads = ["log", "protocol", "backbone", "preset", "seed", "state", "NDCG@10"]
    yield from table(
        heads,
        [
            (one.cell.log, one.cell.protocol, one.cell.backbone, one.cell.preset, one.cell.seed, one.state, one.ndcg10)
            for one in result
        ],
    )
    done = sum(one.state == "done" for one in result)
    yield f"{done} of {len(result)} cells are done"


COMMAND = Command(
    summary="Train every backbone on every log, in as many pieces as it takes, into the table of results.",
    options=LeaderboardOptions,
    run=run,
    lines=lines,
    data=lambda result: [{**asdict(one.cell), "state": one.state, "NDCG@10": one.ndcg10} for one in result],
)
