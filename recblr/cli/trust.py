"""``recblr trust RUN[,RUN…]``: how far the explanations of a run can be trusted, method by method."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from recblr.cli.command import Command
from recblr.cli.logs import ReadingOptions, open_for_run
from recblr.cli.output import plain, table
from recblr.errors import ConfigError, DataError
from recblr.explain.faithfulness.scoreboard import Progress, Scoreboard, scoreboard
from recblr.leaderboard.rows import locked, replace_text
from recblr.recommender import load

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class TrustOptions(ReadingOptions):
    """Every explanation method of a run, against the true causes and against chance."""

    run: str
    """Name of a run (such as mixed/recblr) or path of its folder; several with commas between."""
    data: str | None = None
    """Name of a log (such as mixed) or path of its file or folder; without it, that of the run's training."""
    events: int = 50
    """Held-out events of each planted cause; where the log holds out fewer, users drawn anew give the rest."""
    users: int = 20
    """Users of the test part on whom curves, erasure and agreement are measured; 0 leaves these out."""
    methods: tuple[str, ...] = ()
    """Methods to measure, with commas between; without it, all that a backbone can have."""
    contrast: Literal["none", "runner-up"] = "none"
    """What is explained of an event: its item's own score, or its lead over the best-scored other item."""
    protocol: str | None = None
    """recbole, lrurec, time or users; without it, that of the run's training."""
    draws: int = 20
    """Random orders behind each band."""
    seed: int = 0
    """Seed of the draws."""
    out: Path | None = None
    """JSON file to record the scoreboards in; those of other runs in it stay."""


def run(options: TrustOptions) -> list[Scoreboard]:
    """Raises CheckpointError, DataError, ExplainError, and ConfigError where nothing is asked for."""
    names = [part.strip() for part in options.run.split(",") if part.strip()]
    if not names:
        raise ConfigError("no run is named: give one or more, with commas between")
    if options.out is not None:
        read_record(options.out)  # before hours of work
        options.out.parent.mkdir(parents=True, exist_ok=True)
    boards = []
    for name in names:
        boards.append(_board(name, options))
        if options.out is not None:
            record(options.out, boards[-1])
    return boards


def _board(name: str, options: TrustOptions) -> Scoreboard:
    opened = load(name).run
    log, truth = open_for_run(options.data or str(opened.config["data"]["name"]), options, opened)
    with tqdm(file=sys.stderr, disable=not sys.stderr.isatty(), leave=False) as bar:
        return scoreboard(
            opened, log, truth, events=options.events, users=options.users, methods=options.methods,
            contrast=options.contrast, protocol=options.protocol, draws=options.draws, seed=options.seed,
            progress=_shown_on(bar),
        )  # fmt: skip


def _shown_on(bar: Any) -> Progress:
    def show(what: str, done: int, total: int) -> None:
        bar.set_description(what)
        bar.total, bar.n = total, done
        bar.refresh()

    return show


def read_record(path: Path) -> dict[str, Any]:
    """The scoreboards of a file by run, none where there is no file. Raises DataError for a file of anything else."""
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not readable JSON ({error}): choose another file for --out") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT or not isinstance(found.get("runs"), dict):
        raise DataError(f"{path} holds no scoreboards of format {FORMAT}: choose another file for --out")
    return dict(found["runs"])


def record(path: Path, board: Scoreboard) -> None:
    """Put one scoreboard into a file, in place of an earlier one of its run; the others stay."""
    with locked(path.parent):
        runs = {**read_record(path), board.run: plain(board.as_dict())}
        text = json.dumps(
            {"format": FORMAT, "runs": dict(sorted(runs.items()))}, indent=1, ensure_ascii=False, allow_nan=False
        )
        replace_text(path, text + "\n")


def lines(result: Sequence[Scoreboard]) -> Iterator[str]:
    """For each run: hits by cause and method, then the measures that need no truth, then agreement."""
    for number, board in enumerate(result):
        if number:
            yield ""
        yield from _board_lines(board)


def _board_lines(board: Scoreboard) -> Iterator[str]:
    model, log = f"{board.backbone} {board.preset}", f"{board.log} ({board.fingerprint})"
    yield f"{board.run}: {model} on {log}, protocol {board.protocol}"
    if board.pointing:
        explained = "its own score" if board.contrast == "none" else "its lead over the runner-up"
        yield f"does the deciding event come first? Each held-out event explains {explained}"
        yield from _columns([one.row() for one in board.pointing])
        fresh = {cause: counts["drawn anew"] for cause, counts in board.events.items() if counts["drawn anew"]}
        if fresh:
            words = ", ".join(f"{count} of {cause}" for cause, count in fresh.items())
            yield f"note: held out were too few; of users drawn anew by the same rules: {words}"
    if board.faithfulness:
        yield ""
        yield f"is it what the model does? {len(board.users)} users, why the model's own first item; means"
        yield from _turned(board.faithfulness)
    if board.agreement:
        yield ""
        yield from _columns(board.agreement)
    made = board.made
    yield f"{made['device']}, torch {made['versions']['torch']}, {board.seconds:.0f} s"


def _columns(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    heads = list(rows[0])
    yield from table(heads, [[row[head] for head in heads] for row in rows])


def _turned(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A row a measure and a column a method, as there are more measures than fit side by side."""
    names = [str(row["method"]) for row in rows]
    measures = [key for key in rows[0] if key not in ("method", "users")]
    yield from table(["measure", *names], [[key, *(row[key] for row in rows)] for key in measures])


COMMAND = Command(
    summary="Measure how far the explanations of a run can be trusted.",
    options=TrustOptions,
    run=run,
    lines=lines,
    data=lambda result: plain({"runs": {board.run: board.as_dict() for board in result}}),
    positional=("run",),
)
