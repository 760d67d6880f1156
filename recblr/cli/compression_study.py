"""``recblr compression-study --runs A,B --data LOG``: the old part of long histories in tokens or in a state."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from recblr.checkpoint import Run, source_commit
from recblr.cli.command import Command
from recblr.cli.logs import ReadingOptions, open_for_run
from recblr.cli.output import plain, table
from recblr.errors import ConfigError, DataError
from recblr.evaluation.compression import study
from recblr.leaderboard.cost import processor
from recblr.leaderboard.rows import replace_text
from recblr.recommender import load
from recblr.version import VERSION

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class CompressionStudyOptions(ReadingOptions):
    """What to compare, and on which histories."""

    runs: tuple[str, ...]
    """Names or paths of runs, with commas between: PerSRec's, recurrent ones, and attention that compresses nothing."""
    data: str
    """Name of a log (such as mixed or ml-1m) or path of its file or folder."""
    old: tuple[str, ...] = ("0", "40", "80", "120", "160")
    """Numbers of old events that are kept in another form, with commas between; for PerSRec, of whole segments."""
    recent: int = 40
    """Newest events, which are always read as they are; only users with so many and the most old ones are measured."""
    protocol: str | None = None
    """recbole, lrurec, time or users; without it, that of the first run's training."""
    part: Literal["valid", "test", "held-out"] = "test"
    """Part of the split."""
    out: Path | None = None
    """JSON file for the result."""
    draws: int = 1000
    """Bootstrap draws behind the intervals."""
    batch_size: int = 64
    """Histories ranked at once."""
    seed: int = 0
    """Seed of the draws."""


def run(options: CompressionStudyOptions) -> dict[str, Any]:
    """Raises CheckpointError, DataError and ConfigError before anything is measured."""
    if not options.runs or options.draws < 1:
        raise ConfigError("--runs must name at least one run, and --draws must be at least 1")
    try:
        old = [int(one) for one in options.old]
    except ValueError as error:
        raise ConfigError(f"--old is {','.join(options.old)}: give whole numbers with commas between") from error
    if options.out is not None and not options.out.absolute().parent.is_dir():
        raise DataError(f"{options.out}: its folder does not exist: make it, or choose another --out")
    opened = _opened(options.runs)
    first = next(iter(opened.values()))
    log, _ = open_for_run(options.data, options, first)
    for name, other in opened.items():
        if other.catalog.fingerprint != first.catalog.fingerprint:
            raise DataError(f"{name} knows another catalogue than {first.name}: compare runs of one log")
    found = study(
        {name: one.model for name, one in opened.items()},
        log,
        options.protocol or str(first.config["train"].get("protocol", "lrurec")),
        old=old,
        recent=options.recent,
        part=options.part,
        batch_size=options.batch_size,
        draws=options.draws,
        seed=options.seed,
    )
    result = plain({"format": FORMAT, "set": "compression", **_where(), **found.as_dict()})
    if options.out is not None:
        replace_text(options.out, json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
        print(f"written to {options.out}", file=sys.stderr)
    return dict(result)


def _opened(runs: tuple[str, ...]) -> dict[str, Run]:
    """Runs by their names, which unlike their paths say nothing of this machine."""
    opened: dict[str, Run] = {}
    for one in runs:
        found = load(one).run
        if found.name in opened:
            raise ConfigError(f"--runs names {found.name} twice: give each run once, under a name of its own")
        opened[found.name] = found
    return opened


def _where() -> dict[str, Any]:
    versions = {"python": platform.python_version(), "torch": str(torch.__version__), "numpy": np.__version__}
    return {
        "device": processor(),
        "versions": {**versions, "recblr": VERSION},
        "commit": source_commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def lines(result: dict[str, Any]) -> Iterator[str]:
    """A row for each run and number of old events, then tokens against states."""
    yield (
        f"{result['log']} ({result['fingerprint']}), {result['part']}, protocol {result['protocol']}: "
        f"{result['targets']:,} targets of {result['users']:,} users, {result['recent']} recent events"
    )
    heads = ["run", "kept", "old events", "bytes", "NDCG@10", "95 % interval", "HR@10", "gain in NDCG@10"]
    yield from table(heads, [_row(one) for one in result["rows"]])
    if result["matches"]:
        yield ""
        heads = ["tokens", "state", "old events", "bytes of tokens", "of state", "NDCG@10, tokens - state"]
        yield from table(heads, [
            (one["tokens"], one["state"], one["old_events"], one["bytes_of_tokens"], one["bytes_of_state"],
             _signed(one["difference"]["NDCG@10"]))
            for one in result["matches"]
        ])  # fmt: skip


def _row(one: dict[str, Any]) -> tuple[Any, ...]:
    low, high = one["intervals"]["NDCG@10"]
    values = (float(one["metrics"]["NDCG@10"]), f"{low:.4f} to {high:.4f}", float(one["metrics"]["HR@10"]))
    gain = "" if one["kept"] == "dropped" else _signed(one["gain"]["NDCG@10"])
    return (one["run"], one["kept"], one["old_events"], one["bytes_of_user"], *values, gain)


def _signed(difference: dict[str, float]) -> str:
    return f"{difference['mean']:+.4f} ({difference['low']:+.4f} to {difference['high']:+.4f})"


COMMAND = Command(
    summary="Compare what runs lose when the old part of long histories is kept as tokens, as a state, or not at all.",
    options=CompressionStudyOptions,
    run=run,
    lines=lines,
    data=plain,
)
