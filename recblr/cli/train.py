"""``recblr train BACKBONE --data LOG --out FOLDER``: train a backbone and save a run.

Each backbone has its own settings, so the options are put together after the first word is read.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from recblr.backbones import REGISTRY, make_config
from recblr.checkpoint import check_place
from recblr.cli.command import Command
from recblr.cli.logs import ReadingOptions, open_any
from recblr.cli.nearest import nearest
from recblr.cli.output import plain, table
from recblr.cli.parser import UsageError, add_group, add_json, add_options, new_parser, options_of, parse
from recblr.runs import looks_like_run, read_metrics
from recblr.training import Report, TrainConfig, train

_SUMMARY = "Train a backbone on a log and save a run folder."


@dataclass(frozen=True, kw_only=True)
class TrainOptions(ReadingOptions):
    """What to train on and where to put the run."""

    data: str
    """Name of a log (such as mixed or ml-1m) or path of its file or folder."""
    out: Path
    """Folder of the run; a training that was stopped goes on when called again with the same options."""
    preset: str | None = None
    """Preset of the settings under --model; those given beside it win."""
    replace: bool = False
    """Replace a run that is already in the folder."""
    no_titles: bool = False
    """Leave item titles out of the run folder."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """How to train."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """A backbone with its settings, beside the options that all share."""

    backbone: str
    model: Mapping[str, Any]
    """Settings of the backbone, without n_items, which the log decides."""
    options: TrainOptions


def read(prog: str, arguments: Sequence[str]) -> tuple[Order, bool]:
    """Raises UsageError for an unknown backbone, preset, option or value; ConfigError for a value out of range."""
    usage = f"usage: {prog} BACKBONE --data LOG --out FOLDER [options]"
    if not arguments or arguments[0] in ("-h", "--help"):
        names = "\n".join(f"  {cls.name:<12}{cls.title}: presets {', '.join(cls.presets)}" for cls in REGISTRY.values())
        print(f"{usage}\n\n{_SUMMARY}\n\n{names}\n\n{prog} BACKBONE --help lists the settings of a backbone.")
        raise SystemExit(0 if arguments else 2)
    name = arguments[0]
    if name not in REGISTRY:
        raise UsageError(f"no backbone {name!r}{nearest(name, REGISTRY)}: choose one of {', '.join(REGISTRY)}")
    namespace = _parse(prog, name, None, arguments[1:])
    if namespace["preset"] is not None:  # known only now; its values are defaults, which the other options overrule
        namespace = _parse(prog, name, namespace["preset"], arguments[1:])
    options: TrainOptions = options_of(namespace, TrainOptions)
    return Order(backbone=name, model=namespace["model"].as_dict(), options=options), bool(namespace["json"])


def _parse(prog: str, name: str, preset: str | None, arguments: Sequence[str]) -> Any:
    cls = REGISTRY[name]
    if preset is not None and preset not in cls.presets:
        raise UsageError(f"{name} has no preset {preset!r}: choose one of {', '.join(cls.presets)}")
    parser = new_parser(f"{prog} {name}", f"Train {cls.title} ({cls.paper}) on a log and save a run folder.")
    add_options(parser, TrainOptions)
    defaults = cls.presets[preset or next(iter(cls.presets))]
    add_group(parser, cls.Config, "model", skip={"n_items"}, defaults=defaults)
    add_json(parser)
    return parse(parser, arguments)


def run(order: Order) -> dict[str, Any]:
    """Train and save; returns the folder with its metrics. Raises before the training where it could not be saved."""
    options = order.options
    check_place(options.out)
    if looks_like_run(options.out) and not options.replace:
        raise UsageError(f"{options.out} holds a run already: choose another --out, or pass --replace")
    log, truth = open_any(options.data, options)
    cls = REGISTRY[order.backbone]
    config = make_config(cls, n_items=log.catalog.n_items, **order.model)
    size = f"{log.n_events:,} events, {log.n_users:,} users, {log.catalog.n_items:,} items"
    print(f"{order.backbone} on {log.name}: {size}", file=sys.stderr)
    if not log.has_times and (words := cls.without_times(config)):
        print(f"note: {log.name} has no times: {words}", file=sys.stderr)
    with tqdm(unit=" steps", file=sys.stderr, disable=not sys.stderr.isatty()) as bar:
        folder = train(
            order.backbone,
            config,
            options.train,
            log,
            options.out,
            truth=truth,
            save_titles=not options.no_titles,
            progress=lambda report: show_progress(bar, report),
        )
    return {"folder": str(folder), **read_metrics(folder)}


def show_progress(bar: Any, report: Report) -> None:
    """One bar for the whole training: its rate and time left are tqdm's own."""
    bar.total = report.epochs * report.steps
    done = (report.epoch - 1) * report.steps + report.step
    metric = "-" if report.metric is None else f"{report.metric:.4f}"
    words = f"epoch {report.epoch}/{report.epochs}, loss {report.loss:.4f}, valid NDCG@10 {metric}"
    bar.set_postfix_str(words, refresh=False)
    if bar.n == 0 and done > 1:
        bar.initial = done - 1  # continued: what an earlier call did says nothing about the rate
        bar.n = done - 1
    bar.update(done - bar.n)


def lines(result: Mapping[str, Any]) -> Iterator[str]:
    """Metrics on validation and test, and where the run is."""
    parts = [part for part in ("valid", "test") if part in result]
    names = list(result[parts[0]]["metrics"]) if parts else []
    if parts:
        protocol = result[parts[0]]["protocol"]["name"]
        yield from table([f"protocol {protocol}", *parts], [
            (name, *(float(result[part]["metrics"][name]) for part in parts)) for name in names
        ])  # fmt: skip
    yield f"saved in {result['folder']}; ask it with: recblr recommend {result['folder']} --history ID,ID"


COMMAND = Command(summary=_SUMMARY, options=TrainOptions, run=run, lines=lines, data=plain, read=read)
