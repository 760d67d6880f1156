"""Which method points at the true cause? One cell a method and a kind of cause, from rows of the pointing game."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recblr.errors import ExplainError
from recblr.figures.shades import amount, ink
from recblr.figures.view import MARGIN, View, new_figure, nothing, percent

MEASURES: dict[str, str] = {
    "hit@1": "puts the deciding event first",
    "hit@1 cue aside": "puts it first, or second after the cue",
    "hit@1 where ranked first": "puts it first where the model ranks the item first",
    "mass on the cause": "share of all support that stands on it",
}
"""Column of a row: what the cell then shows."""
REFERENCES = ("last event", "chance")
"""Rows that need no explanation: always point at the last event, or at any."""
NAMES = 150
"""Pixels left of the cells."""
SCALE = amount("write")

Row = Mapping[str, Any]


def scoreboard(rows: Sequence[Row], titles: Mapping[str, str], measure: str = "hit@1") -> View:
    """`rows` are those of the pointing game, as measured or as recorded; `titles`: method -> what a reader calls it.

    The cells carry a point each, at (column, row) from 0, so that they can be chosen. Raises ExplainError for a measure
    that is not in MEASURES.
    """
    question = "Which method points at the true cause?"
    if measure not in MEASURES:
        raise ExplainError(f"no measure {measure!r}: choose one of {', '.join(MEASURES)}")
    if not rows:
        return nothing(question, "The log of this run knows no causes, so there is nothing to point at.")
    methods, causes = order_of(rows)
    values = np.full((len(methods), len(causes)), np.nan)
    for row in rows:
        found = row.get(measure)
        values[methods.index(row["method"]), causes.index(row["cause"])] = np.nan if found is None else found
    names = [titles.get(one, one) for one in methods]
    figure = new_figure(
        [_cells(values), _points(values, names, causes)],
        height=90 + 36 * len(methods),
        x_title="",
        x={
            "title": {"text": MEASURES[measure], "standoff": 22},
            "tickvals": list(range(len(causes))),
            "ticktext": causes,
            "range": [-0.5, len(causes) - 0.5],
        },
        y={
            "tickvals": list(range(len(methods))),
            "ticktext": names,
            "range": [len(methods) - 0.5, -0.5],
            "showgrid": False,
            "nticks": None,
        },
        margin={"l": NAMES, "r": MARGIN, "t": 8, "b": 60},
        # Annotations stay as they are when a point is chosen, unlike the text of points.
        annotations=[
            {
                "x": across,
                "y": down,
                "text": _cell(float(value)),
                "font": {} if np.isnan(value) else {"color": ink(SCALE, float(value))},
                "showarrow": False,
            }
            for (down, across), value in np.ndenumerate(values)
        ],
    )
    return View(
        question=question, answer=_answer(values, methods, names, causes), figure=figure, table=_table(rows, titles)
    )


def order_of(rows: Sequence[Row]) -> tuple[list[str], list[str]]:
    """(methods from top to bottom, references last; causes from left to right), as the cells are drawn."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    methods.sort(key=lambda one: one in REFERENCES)
    return methods, list(dict.fromkeys(row["cause"] for row in rows))


def _cells(values: np.ndarray) -> dict[str, Any]:
    return {
        "type": "heatmap",
        "z": values,
        "zmin": 0,
        "zmax": 1,
        "colorscale": SCALE,
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
        "hoverinfo": "skip",
    }


def _points(values: np.ndarray, names: list[str], causes: list[str]) -> dict[str, Any]:
    """Points over the cells: a heat map itself tells nobody that it was clicked."""
    down, across = np.indices(values.shape)
    return {
        "type": "scatter",
        "x": across.ravel(),
        "y": down.ravel(),
        "mode": "markers",
        "marker": {"size": 30, "opacity": 0},
        "selected": {"marker": {"opacity": 0}},
        "unselected": {"marker": {"opacity": 0}},
        "text": [_cell(one) for one in values.ravel().tolist()],
        "customdata": [[names[n], cause] for n in range(len(names)) for cause in causes],
        "hovertemplate": "%{customdata[0]}, %{customdata[1]}: %{text}<extra></extra>",
    }


def _cell(value: float) -> str:
    return "–" if np.isnan(value) else percent(value)


def _answer(values: np.ndarray, methods: list[str], names: list[str], causes: list[str]) -> str:
    real = [n for n, one in enumerate(methods) if one not in REFERENCES]
    known = [n for n in real if not np.isnan(values[n]).all()]
    if not known:
        return "No event with a known cause was explained."
    means = np.array([float(np.nanmean(values[n])) for n in known])
    best, worst = known[int(means.argmax())], known[int(means.argmin())]
    told = f"{names[best]} does best, {percent(float(means.max()))} over all causes"
    if len(known) > 1:
        told += f"; {names[worst]} does worst, {percent(float(means.min()))}"
    weak = int(np.nanargmin(values[best]))
    told += f". Hardest for {names[best]} is {causes[weak]}, {percent(float(values[best, weak]))}"
    if "chance" in methods:
        told += f"; chance would reach {percent(float(np.nanmean(values[methods.index('chance')])))}"
    return told + "."


def _table(rows: Sequence[Row], titles: Mapping[str, str]) -> pd.DataFrame:
    frame = pd.DataFrame([dict(row) for row in rows])
    frame["method"] = [titles.get(one, one) for one in frame["method"]]
    return frame
