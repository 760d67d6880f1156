"""``recblr evaluate RUN --data LOG``: rank the hidden events of a log with a run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from tqdm import tqdm

from recblr.cli.command import Command
from recblr.cli.logs import ReadingOptions, open_for_run
from recblr.cli.output import plain, table
from recblr.errors import ConfigError
from recblr.evaluation import Evaluation, evaluate, evaluate_every_position
from recblr.recommender import load


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(ReadingOptions):
    """What to measure, and how."""

    run: str
    """Name of a run (such as mixed/recblr) or path of its folder."""
    data: str
    """Name of a log (such as mixed or ml-1m) or path of its file or folder."""
    protocol: str | None = None
    """recbole, lrurec, time or users; without it, that of the run's training."""
    part: Literal["valid", "test", "held-out", "train"] = "test"
    """Part of the split."""
    every_position: bool = False
    """Read each history once and rank the event after every step; for causal backbones."""
    max_users: int | None = None
    """Measure on so many users drawn by the seed; all of them without it."""
    draws: int = 1000
    """Bootstrap draws behind the intervals; 0 leaves them out."""
    batch_size: int = 256
    """Histories ranked at once."""
    seed: int = 0
    """Seed of the draws."""


def run(options: EvaluateOptions) -> Evaluation:
    """Raises CheckpointError, DataError (a log with another catalogue among them) and ConfigError."""
    if options.batch_size < 1 or options.draws < 0:
        raise ConfigError("--batch-size must be at least 1 and --draws at least 0")
    opened = load(options.run).run
    log, truth = open_for_run(options.data, options, opened)
    protocol = options.protocol or str(opened.config["train"].get("protocol", "lrurec"))
    measure = evaluate_every_position if options.every_position else evaluate
    with tqdm(unit=" targets", file=sys.stderr, disable=not sys.stderr.isatty(), leave=False) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return measure(
            opened.model,
            log,
            protocol,
            options.part,
            truth=truth,
            batch_size=options.batch_size,
            max_users=options.max_users,
            draws=options.draws,
            seed=options.seed,
            progress=show,
        )


def lines(result: Evaluation) -> Iterator[str]:
    """What was measured, the metrics with their intervals, and the table by cause where the log knows causes."""
    yield (
        f"{result.backbone} {result.preset} on {result.log} ({result.fingerprint}), {result.part}, "
        f"protocol {result.protocol.name}: {len(result.ranks):,} targets of {result.n_users:,} users"
    )
    yield from table(["metric", "value", "95 % interval"], [_metric_row(result, name) for name in result.metrics])
    if result.per_cause is not None:
        yield ""
        heads = ["cause", "targets", *(result.per_cause[0].metrics if result.per_cause else ()), "false alarms"]
        rows = [(row.cause, row.targets, *row.metrics.values(), row.false_alarms) for row in result.per_cause]
        yield from table(heads, rows)


def _metric_row(result: Evaluation, name: str) -> tuple[Any, ...]:
    ends = result.intervals.get(name)
    return name, float(result.metrics[name]), "" if ends is None else f"{ends[0]:.4f} to {ends[1]:.4f}"


COMMAND = Command(
    summary="Rank the hidden events of a log with a run.",
    options=EvaluateOptions,
    run=run,
    lines=lines,
    data=lambda result: plain(result.as_dict()),
    positional=("run",),
)
