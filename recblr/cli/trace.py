"""``recblr trace RUN --history "id,id,…"``: what a run remembers of a history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

import numpy as np

from recblr.cli.command import Command
from recblr.cli.histories import parse_history, parse_times
from recblr.cli.output import plain, table
from recblr.data.log import Catalog
from recblr.errors import ConfigError
from recblr.recommender import load
from recblr.trace import LayerTrace, Trace

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, kw_only=True)
class TraceOptions:
    """Half-lives, memory horizon and gates of a run, event by event."""

    run: str
    """Name of a run (such as mixed/recblr) or path of its folder."""
    history: str
    """Item ids, oldest first, separated by commas; - reads them from stdin, one a line."""
    times: str | None = None
    """Unix seconds of the events, separated by commas, as many as there are ids."""
    layer: int | None = None
    """Only this layer, from 1; all of them without it."""
    steps: int = 20
    """Most recent steps in the table; --json gives all."""


@dataclass(frozen=True, kw_only=True)
class Traced:
    """A trace with what is needed to print it."""

    run: str
    trace: Trace
    catalog: Catalog
    layers: tuple[int, ...]
    """Layers to show, from 0."""
    steps: int

    def as_dict(self) -> dict[str, Any]:
        """Every array of the trace for its one row, items by external id."""
        trace = self.trace
        moments = [int(one) for one in trace.times[0]] if trace.has_times else None
        return {
            "run": self.run,
            "backbone": trace.backbone,
            "preset": trace.preset,
            "items": [str(self.catalog.ids[item]) for item in trace.items[0]],
            "times": moments,
            "layers": [_layer_dict(trace, layer) for layer in self.layers],
            "hidden": trace.hidden[0],
            "notes": list(trace.notes),
        }


def run(options: TraceOptions) -> Traced:
    """Raises CheckpointError, HistoryError, and ConfigError for a layer that the run does not have."""
    if options.steps < 1:
        raise ConfigError(f"--steps is {options.steps}: it must be at least 1")
    recommender = load(options.run)
    trace = recommender.trace(parse_history(options.history), parse_times(options.times))
    if options.layer is not None and not 1 <= options.layer <= len(trace.layers):
        raise ConfigError(f"--layer is {options.layer}: {recommender.name} traces {len(trace.layers)} layers, from 1")
    layers = range(len(trace.layers)) if options.layer is None else [options.layer - 1]
    return Traced(
        run=recommender.name,
        trace=trace,
        catalog=recommender.run.catalog,
        layers=tuple(layers),
        steps=options.steps,
    )


def lines(result: Traced) -> Iterator[str]:
    """Half-lives and horizon of each layer, then a row for each of the last steps."""
    trace = result.trace
    yield f"{result.run}: {trace.backbone} {trace.preset}, {trace.items.shape[1]} events"
    for layer in result.layers:
        yield ""
        yield from _layer_lines(trace, layer)
    yield ""
    yield from _step_table(result)
    for note in trace.notes:
        yield f"note: {note}"


def _layer_lines(trace: Trace, layer: int) -> Iterator[str]:
    one, last = trace.layers[layer], trace.items.shape[1] - 1
    yield one.name
    if one.half_life is not None and np.isinf(one.half_life).all():
        yield "  nothing fades: the decay is 1 at every step"
    elif one.half_life is not None:
        levels = np.quantile(one.half_life, _QUANTILES, method="nearest")  # between, infinite ones would have no value
        words = ", ".join(f"{share:.0%} {level:,.1f}" for share, level in zip(_QUANTILES, levels, strict=True))
        yield f"  half-life in steps, quantiles over channels and steps: {words}"
    if one.half_life_days is not None and not np.isnan(one.half_life_days).any():
        levels = np.quantile(one.half_life_days, _QUANTILES)
        words = ", ".join(f"{share:.0%} {level:,.1f}" for share, level in zip(_QUANTILES, levels, strict=True))
        yield f"  half-life in days over this history, quantiles over channels: {words}"
    horizon = trace.horizon(layer, last)
    if horizon is not None:
        days = "" if horizon.days is None else f", {horizon.days:,.1f} days"
        yield f"  memory horizon at the last step: {horizon.items} events{days} hold {horizon.share:.0%} of the state"


def _step_table(result: Traced) -> Iterator[str]:
    trace, catalog = result.trace, result.catalog
    length = trace.items.shape[1]
    heads = ["step", "item", "title", *(["time (UTC)"] if trace.has_times else [])]
    for layer in result.layers:
        heads += [f"half-life {layer + 1}", f"write {layer + 1}", f"horizon {layer + 1}"]
    rows = []
    for step in range(max(0, length - result.steps), length):
        item = int(trace.items[0, step])
        row: list[Any] = [step + 1, str(catalog.ids[item]), catalog.title(item)]
        if trace.has_times:
            row.append(_moment(int(trace.times[0, step])))
        for layer in result.layers:
            one, horizon = trace.layers[layer], trace.horizon(layer, step)
            row += [_middle(one.half_life, step), _middle(one.write, step), horizon and horizon.items]
        rows.append(row)
    empty = [place for place, head in enumerate(heads) if rows and all(row[place] is None for row in rows)]
    keep = [place for place in range(len(heads)) if place not in empty]
    yield from table([heads[place] for place in keep], [[row[place] for place in keep] for row in rows], widest=32)


def _middle(values: Any, step: int) -> float | None:
    """Median over channels at a step of the one row."""
    return None if values is None else float(np.median(np.abs(values[0, step])))


def _moment(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError, OSError):
        return str(seconds)  # beyond the calendar's year 9999


def _layer_dict(trace: Trace, layer: int) -> dict[str, Any]:
    one: LayerTrace = trace.layers[layer]
    per_channel = ("phase", "conv")  # the others have a batch axis of one row
    arrays = {field.name: getattr(one, field.name) for field in fields(one) if field.name != "name"}
    arrays["half_life"] = one.half_life
    rows = {name: array if array is None or name in per_channel else array[0] for name, array in arrays.items()}
    horizons = [trace.horizon(layer, step) for step in range(trace.items.shape[1])]
    return {
        "name": one.name,
        **rows,
        "horizon_items": [None if one is None else one.items for one in horizons],
        "horizon_days": [None if one is None else one.days for one in horizons],
    }


COMMAND = Command(
    summary="Show what a run remembers of a history: half-lives, memory horizon, gates.",
    options=TraceOptions,
    run=run,
    lines=lines,
    data=lambda result: plain(result.as_dict()),
    positional=("run",),
)
