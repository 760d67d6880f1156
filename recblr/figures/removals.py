"""What if one event had not happened: where the item would stand without each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from recblr.figures.events import Events
from recblr.figures.horizon import events_axis
from recblr.figures.view import ROLES, UNDIMMED, View, cursor, new_figure, nothing, number, plural

if TYPE_CHECKING:
    from recblr.explain.outcomes import Outcomes  # which imports torch


QUESTION = "What if one event had not happened?"


def removals(without: Outcomes, now: Outcomes, events: Events, title: str, *, chosen: int | None = None) -> View:
    """Rank of the target (its `title`) without each event. `without` has one row an event, `now` one for the history.

    `chosen` is the number of an event to mark.
    """
    if len(without) != len(events):
        return nothing(QUESTION, "The history has one event: without it the model says nothing.")
    table = removal_table(without, now, events)
    rank, ranks = float(now.rank[0]), without.rank
    dots = {
        "type": "scatter",
        "x": events.numbers,
        "y": ranks,
        "mode": "markers",
        "marker": {
            "size": 9,
            "color": [
                ROLES["positive" if after > rank else "negative" if after < rank else "quiet"] for after in ranks
            ],
        },
        "customdata": list(zip(events.titles, without.score, strict=True)),
        "hovertemplate": "without event %{x} (%{customdata[0]})<br>rank %{y:,}, score %{customdata[1]:.3~g}"
        "<extra></extra>",
        **UNDIMMED,
    }
    line = {"width": 1.5, "dash": "dash", "color": ROLES["quiet"]}
    level = {"type": "line", "x0": 0, "x1": 1, "xref": "x domain", "y0": rank, "y1": rank, "line": line}
    worst = max(float(ranks.max()), rank, 3.0)
    figure = new_figure(
        [dots],
        height=210,
        x_title="event left out",
        y_title="rank without it",
        x=events_axis(events),
        y={"type": "log", "range": [np.log10(worst * 1.3), np.log10(0.8)], "tickformat": ",d", "dtick": _ticks(worst)},
        shapes=[level] if chosen is None else [level, cursor(chosen)],
    )
    return View(question=QUESTION, answer=_answer(ranks, rank, events, title), figure=figure, table=table)


def removal_table(without: Outcomes, now: Outcomes, events: Events) -> pd.DataFrame:
    """One row an event: rank and score of the target without it; where the item falls furthest comes first."""
    fall = now.lead[0] - without.lead
    table = events.frame().assign(
        **{
            "rank without it": without.rank,
            "rank now": float(now.rank[0]),
            "score without it": without.score,
            "score now": float(now.score[0]),
            "fall of the lead": fall,
        }
    )
    return table.iloc[np.lexsort((without.score, -without.rank))]


def _answer(ranks: np.ndarray, rank: float, events: Events, title: str) -> str:
    worse = int((ranks > rank).sum())
    now = f"Now “{title}” has rank {number(rank, 4)}."
    if worse == 0 and not (ranks < rank).any():
        return f"{now} No single event moves it: without any one of them it stays there."
    if worse == 0:
        at = int(np.argmin(ranks))
        return f"{now} No event holds it up; without event {events.first + at} it would rise to {number(ranks[at], 4)}."
    at = int(np.argmax(ranks))
    told = f"Without event {events.first + at} (“{events.titles[at]}”) it would fall to {number(float(ranks[at]), 4)}"
    return f"{now} {told}; {plural(worse, 'event')} of {len(ranks)} hold it up."


def _ticks(worst: float) -> str | int:
    return 1 if worst > 30 else "D1"


def _color(after: float, now: float) -> str:
    return ROLES["quiet" if after == now else "positive" if after > now else "negative"]
