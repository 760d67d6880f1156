"""What every figure function returns, and what all figures share: colours by role, margins, words for numbers.

The left and right margins are fixed in pixels, so that all views of a page with events on the x-axis line up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pandas as pd
import plotly.graph_objects as go

GUTTER = 64
"""Pixels left of the first event: row labels of a heat map, tick labels of a line chart."""
MARGIN = 12
"""Pixels right of the last event."""

ROLES: Mapping[str, str] = {
    "decay": "#2f7fd6",
    "write": "#2a9d5c",
    "state": "#8e63ce",
    "attention": "#d97a17",
    "positive": "#2f7fd6",
    "negative": "#d6453d",
    "quiet": "#8a8f98",
}
"""One colour a role, the same in every figure; each has 3:1 contrast on a white and on a nearly black page."""

UNDIMMED: Mapping[str, Any] = MappingProxyType({"unselected": {"marker": {"opacity": 1}}})
"""For points that can be chosen: the others stay as they are, as what is chosen is marked in the figure itself."""

_NO_MORE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class View:
    """One question, its answer in a sentence computed from the data, the figure, and the numbers in it."""

    question: str
    answer: str
    figure: go.Figure | None
    """None where there is too little to draw; the answer then says why."""
    table: pd.DataFrame

    @property
    def alt(self) -> str:
        """What a screen reader says in place of the figure."""
        return f"{self.question} {self.answer}"


def nothing(question: str, why: str) -> View:
    """The view where there is nothing to draw."""
    return View(question=question, answer=why, figure=None, table=pd.DataFrame())


def new_figure(
    traces: Sequence[Mapping[str, Any]],
    *,
    height: int,
    x_title: str,
    y_title: str = "",
    x: Mapping[str, Any] = _NO_MORE,
    y: Mapping[str, Any] = _NO_MORE,
    **layout: Any,
) -> go.Figure:
    """A figure whose plot area starts GUTTER pixels from the left and ends MARGIN pixels from the right.

    `x`, `y` and `layout` add to or replace the shared settings. All is handed over at once: to update a figure step by
    step takes Plotly five times as long.
    """
    axis = {"zeroline": False, "fixedrange": True, "automargin": False}
    shared = {
        "height": height,
        "margin": {"l": GUTTER, "r": MARGIN, "t": 8, "b": 40},
        "showlegend": False,
        "hovermode": "closest",
        "dragmode": False,
        "legend": {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom"},
        "xaxis": {**axis, "title": {"text": x_title}, "showgrid": False, **x},
        "yaxis": {**axis, "title": {"text": y_title}, "nticks": 5, **y},
    }
    return go.Figure(data=[dict(trace) for trace in traces], layout={**shared, **layout})


def cursor(x: float) -> dict[str, Any]:
    """The vertical line that marks the step, as an entry of `shapes`."""
    line = {"width": 1.5, "dash": "dot", "color": ROLES["quiet"]}
    return {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "y domain", "line": line}


def number(value: float, digits: int = 3) -> str:
    """A number as a reader says it: three significant digits, thousands separated, no exponent in common sizes."""
    if value != value:
        return "undefined"
    if abs(value) == float("inf"):
        return "forever" if value > 0 else "-∞"
    if value != 0 and not 1e-4 <= abs(value) < 1e7:
        return f"{value:.{digits - 1}e}"
    whole = str(int(abs(float(f"{value:.{digits}g}"))))  # digits before the point, of the number as it is told
    if len(whole) >= digits:
        return f"{value:,.0f}"
    text = f"{value:.{digits}g}"
    return f"{float(text):.{max(digits - len(whole), 0)}f}".rstrip("0").rstrip(".") if abs(value) >= 1 else text


def percent(share: float) -> str:
    if 0 < share < 0.0005:
        return "under 0.1 %"
    return f"{100 * share:.0f} %" if share >= 0.1 or share == 0 else f"{100 * share:.1f} %"


def plural(count: int, word: str) -> str:
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def time_span(seconds: float) -> str:
    """A length of time in the unit a reader would choose, such as "3 hours" or "2.3 days"."""
    for unit, size, least in (("year", 31557600, 2), ("day", 86400, 1), ("hour", 3600, 1), ("minute", 60, 1)):
        if seconds >= size * least:
            value = seconds / size
            text = number(value, 2)
            return f"{text} {unit}" + ("" if text == "1" else "s")
    text = number(max(seconds, 0), 2)
    return f"{text} second" + ("" if text == "1" else "s")
