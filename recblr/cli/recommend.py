"""``recblr recommend RUN --history "id,id,…"``: the next items for any history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from recblr.cli.command import Command
from recblr.cli.histories import parse_history, parse_times
from recblr.cli.output import plain, table
from recblr.recommender import Recommendations, load


@dataclass(frozen=True, kw_only=True)
class RecommendOptions:
    """The next items for a history, of a user seen in training or not."""

    run: str
    """Name of a run (such as mixed/recblr) or path of its folder."""
    history: str
    """Item ids, oldest first, separated by commas; - reads them from stdin, one a line."""
    k: int = 10
    """How many items."""
    times: str | None = None
    """Unix seconds of the events, separated by commas, as many as there are ids."""
    at: int | None = None
    """Unix seconds of the request, for a model that reads it; without it, the moment of the last event."""
    keep_seen: bool = False
    """Let items of the history be recommended again."""


def run(options: RecommendOptions) -> Recommendations:
    """Raises CheckpointError for a run that cannot be opened, HistoryError for a history that cannot be read."""
    history, times = parse_history(options.history), parse_times(options.times)
    recommender = load(options.run)
    return recommender.recommend(history, options.k, times=times, at=options.at, mask_seen=not options.keep_seen)


def lines(result: Recommendations) -> Iterator[str]:
    """A table, then what differs from what was asked."""
    yield from table(
        ["rank", "item", "title", "score"], [(row.rank, row.item, row.title, row.score) for row in result.rows]
    )
    yield f"from {result.used} events"
    for note in result.notes:
        yield f"note: {note}"


COMMAND = Command(
    summary="Recommend the next items for a history.",
    options=RecommendOptions,
    run=run,
    lines=lines,
    data=lambda result: plain(result.as_dict()),
    positional=("run",),
    short={"k": "-k"},
)
