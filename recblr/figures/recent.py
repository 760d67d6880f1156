"""How much of a history does the model need? Its hit rate when it is shown the most recent events alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from recblr.figures.view import GUTTER, MARGIN, ROLES, View, new_figure, percent, plural

if TYPE_CHECKING:
    from recblr.explain.memory import LastItem, RecentItems


def needed(found: RecentItems, last: LastItem | None, *, users: int) -> View:
    """`found` and `last` of the same `users`; None for a model that has no hidden state."""
    longest = int(found.counts[-1])
    line = {
        "type": "scatter",
        "x": found.counts,
        "y": found.hit_rate,
        "mode": "lines+markers",
        "name": "shown these events alone",
        "line": {"color": ROLES["state"], "width": 2},
        "hovertemplate": "the last %{x} events: HR@10 %{y:.3f}<extra></extra>",
    }
    ring = {"symbol": "circle-open", "size": 15, "color": ROLES["state"], "line": {"width": 2}}
    at = int(np.flatnonzero(found.counts == found.k95)[0])
    enough = {
        "type": "scatter",
        "x": [found.k95],
        "y": [found.hit_rate[at]],
        "mode": "markers",
        "marker": ring,
        "name": f"the fewest that keep {found.share:.0%} of it".replace("%", " %"),
        "hoverinfo": "skip",
    }
    figure = new_figure(
        [line, enough],
        height=250,
        x_title="events shown, the most recent ones",
        y_title="HR@10",
        x={"type": "log", "tickvals": _ticks(longest), "range": [-0.05, np.log10(longest) + 0.05]},
        y={"rangemode": "tozero", "tickformat": ".2f"},
        shapes=[_level(found.whole), _level(found.share * found.whole)],
        showlegend=True,
        margin={"l": GUTTER, "r": MARGIN, "t": 28, "b": 40},
    )
    table = pd.DataFrame({"events shown": found.counts, "HR@10": found.hit_rate})
    table["part of that of all events"] = found.hit_rate / found.whole
    return View(
        question="How many recent events does it need?", answer=_answer(found, last, users), figure=figure, table=table
    )


def _level(y: float) -> dict[str, object]:
    line = {"width": 1, "dash": "dot", "color": ROLES["quiet"]}
    return {"type": "line", "x0": 0, "x1": 1, "xref": "paper", "y0": y, "y1": y, "line": line}


def _ticks(longest: int) -> list[int]:
    return [one for one in (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000) if one <= longest]


def _answer(found: RecentItems, last: LastItem | None, users: int) -> str:
    told = (
        f"Over {plural(users, 'user')}, the last {plural(found.k95, 'event')} are the fewest that keep "
        f"{percent(found.share)} of its hit rate (HR@10 {found.whole:.3f} with up to {int(found.counts[-1])} events)."
    )
    if last is None:
        return told
    middle = float(np.median(last.cosine))
    return (
        f"{told} The last item itself is among its first {last.k} for {percent(last.in_top)} of them; the cosine of "
        f"the hidden state and that item's vector is {middle:.2f} (median), and would be 1 if it were that item alone."
    )
