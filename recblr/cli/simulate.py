"""``recblr simulate``: a log whose every event knows its cause."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from recblr.cli.command import Command
from recblr.cli.parser import UsageError, add_json, add_options, new_parser, options_of, parse
from recblr.data.simulator import CAUSES, SimulatorConfig, read_manifest, simulate, write_all, write_sample

_SUMMARY = "Simulate a shop's log with planted causes and write it with the truth about every event."


@dataclass(frozen=True, kw_only=True)
class SimulateOptions:
    """Where to write; one of the two."""

    out: Path | None = None
    """Folder of the one log to write."""
    all: Path | None = None
    """Folder under which every shipped log is written, with the settings it was shipped with."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to simulate and where to put it."""

    where: SimulateOptions
    config: SimulatorConfig


def read(prog: str, arguments: Sequence[str]) -> tuple[Order, bool]:
    """Raises UsageError unless exactly one place is given, and for settings beside --all, which has its own."""
    parser = new_parser(prog, _SUMMARY)
    add_options(parser, SimulateOptions)
    add_options(parser, SimulatorConfig)
    add_json(parser)
    namespace = parse(parser, arguments)
    where, config = options_of(namespace, SimulateOptions), options_of(namespace, SimulatorConfig)
    if (where.out is None) == (where.all is None):
        raise UsageError("give one of --out FOLDER for one log and --all FOLDER for all the shipped ones")
    changed = [one.name for one in fields(config) if getattr(config, one.name) != getattr(SimulatorConfig(), one.name)]
    if where.all is not None and changed:
        raise UsageError(f"--all writes each log with its own settings: leave out --{changed[0].replace('_', '-')}")
    return Order(where=where, config=config), bool(namespace["json"])


def run(order: Order) -> list[dict[str, Any]]:
    """Write the logs; returns the manifest of each with its folder. Raises ConfigError and DataError."""
    if order.where.all is not None:
        folders = write_all(order.where.all)
    else:
        folders = [Path(order.where.out or "")]
        write_sample(folders[0], simulate(order.config))
    return [{"folder": str(folder), **read_manifest(folder)} for folder in folders]


def lines(result: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A line a log, then its events by cause."""
    for one in result:
        yield f"{one['folder']}: {one['n_events']:,} events of {one['n_users']:,} users, {one['n_items']:,} items"
        counts = one["events_by_cause"]
        yield "  " + ", ".join(f"{cause} {counts[cause] / one['n_events']:.1%}" for cause in CAUSES if cause in counts)


COMMAND = Command(
    summary=_SUMMARY,
    options=SimulateOptions,
    run=run,
    lines=lines,
    data=lambda result: result,
    read=read,
)
