"""``recblr explain RUN --history "id,id,…" --item ID``: why an item is recommended after a history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from recblr.cli.command import Command
from recblr.cli.histories import parse_history, parse_times
from recblr.cli.output import plain, table
from recblr.data.log import Catalog
from recblr.errors import ConfigError
from recblr.explain import METHODS, Attribution, explain
from recblr.recommender import load


@dataclass(frozen=True, kw_only=True)
class ExplainOptions:
    """What each event of a history contributes to the score of an item."""

    run: str
    """Name of a run (such as mixed/recblr) or path of its folder."""
    history: str
    """Item ids, oldest first, separated by commas; - reads them from stdin, one a line."""
    item: str
    """Id of the item to explain."""
    method: str = ""
    """Explanation method; without it held_gates, or counts for a baseline that counts."""
    contrast: str | None = None
    """Id of an item to compare with: why --item and not this one."""
    times: str | None = None
    """Unix seconds of the events, separated by commas, as many as there are ids."""
    keep_seen: bool = False
    """Explain an item of the history too, as if such items could be recommended again."""
    top: int = 20
    """Events in the table, the largest contributions; --json gives all."""


@dataclass(frozen=True, kw_only=True)
class Explained:
    """An attribution with what is needed to print it."""

    run: str
    attribution: Attribution
    catalog: Catalog
    top: int

    def as_dict(self) -> dict[str, Any]:
        """Items by external id."""
        return {"run": self.run, **self.attribution.as_dict(self.catalog)}


def run(options: ExplainOptions) -> Explained:
    """Raises CheckpointError, HistoryError, ExplainError, and ConfigError for a table without rows."""
    if options.top < 1:
        raise ConfigError(f"--top is {options.top}: it must be at least 1")
    recommender = load(options.run)
    attribution = explain(
        recommender,
        parse_history(options.history),
        parse_times(options.times),
        target=options.item,
        contrast=options.contrast,
        method=options.method or ("held_gates" if recommender.run.model.learns else "counts"),
        mask_seen=False if options.keep_seen else None,
    )
    return Explained(run=recommender.name, attribution=attribution, catalog=recommender.run.catalog, top=options.top)


def lines(result: Explained) -> Iterator[str]:
    """What is explained, a row an event, and the sum."""
    one, name = result.attribution, result.catalog.title
    against = "" if one.contrast is None else f" and not {name(one.contrast)}"
    yield f"{result.run}: why {name(one.target)}{against}, by {METHODS[one.method].title.lower()} ({one.exactness})"
    largest = np.sort(np.lexsort((np.arange(len(one.values)), -np.abs(one.values)))[: result.top])
    rows = one.rows(result.catalog)
    heads = ["event", "item", "title", "logits", "share"]
    if one.standard_error is not None:
        heads.append("± standard error")
    yield from table(heads, [_row(rows[position]) for position in largest.tolist()])
    left_out = len(one.values) - len(largest)
    if left_out:
        rest = float(one.values.sum() - one.values[largest].sum())
        yield f"{left_out} smaller ones: {rest:+.4f}"
    total, what = float(one.values.sum()), "logit" if one.contrast is None else "difference of logits"
    yield (
        f"events {total:+.4f}, remainder {one.remainder:+.4f}, together {total + one.remainder:.4f};"
        f" the model's {what} {one.logit:.4f}, error {one.error:.2g}"
    )
    if not one.reliable:
        yield (
            f"no shares: the error is {one.error / max(abs(one.explained), 1e-12):.0%} of the"
            f" {one.explained:.4g} logits that it explains"
        )
    for note in one.notes:
        yield f"note: {note}"


def _row(row: dict[str, Any]) -> list[Any]:
    share = None if row["share"] is None else f"{row['share']:+.1%}"
    cells = [row["position"] + 1, row["item"], row["title"], f"{row['value']:+.4f}", share]
    return [*cells, float(row["standard_error"])] if "standard_error" in row else cells


COMMAND = Command(
    summary="Explain why a run recommends an item after a history.",
    options=ExplainOptions,
    run=run,
    lines=lines,
    data=lambda result: plain(result.as_dict()),
    positional=("run",),
)
