"""Do the methods agree? Rank correlations of their values over the events of one history."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from recblr.figures.shades import ink, signed
from recblr.figures.view import MARGIN, View, new_figure, nothing, percent

if TYPE_CHECKING:
    from recblr.explain.faithfulness.agreement import Agreement

QUESTION = "Do the methods agree?"
NAMES = 150
"""Pixels left of the cells."""


def method_agreement(agreement: Agreement, titles: Mapping[str, str]) -> View:
    """Spearman's correlation of each pair, blue where methods agree and red where they contradict. `titles`: method ->
    what a reader calls it."""
    names = [titles.get(one, one) for one in agreement.methods]
    if len(names) < 2:
        return nothing(QUESTION, "Choose a second method to compare.")
    values = agreement.correlation
    below = np.tril(np.ones(values.shape, dtype=bool), -1)
    shown, scale = np.where(below, values, np.nan), signed()
    first = np.where(agreement.same_first, "same first event", "another first event")
    cells = {
        "type": "heatmap",
        "z": shown,
        "x": names,
        "y": names,
        "zmin": -1,
        "zmax": 1,
        "customdata": first,
        "colorscale": scale,
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
        "hoverongaps": False,
        "hovertemplate": "%{y} and %{x}: %{z:.2f}, %{customdata}<extra></extra>",
    }
    figure = new_figure(
        [cells],
        height=80 + 40 * (len(names) - 1),
        x_title="",
        x={"range": [-0.5, len(names) - 1.5], "nticks": len(names)},
        y={"range": [len(names) - 0.5, 0.5], "nticks": len(names), "showgrid": False},
        margin={"l": NAMES, "r": MARGIN, "t": 8, "b": 40},
        annotations=[
            {
                "x": names[b],
                "y": names[a],
                "text": f"{values[a, b]:.2f}",
                "font": {"color": ink(scale, float(values[a, b] + 1) / 2)},
                "showarrow": False,
            }
            for a, b in np.argwhere(below & ~np.isnan(values)).tolist()
        ],
    )
    return View(question=QUESTION, answer=_answer(agreement, names), figure=figure, table=_table(agreement, names))


def _answer(agreement: Agreement, names: list[str]) -> str:
    rows = [(agreement.correlation[a, b], a, b) for a in range(len(names)) for b in range(a)]
    known = [row for row in rows if not np.isnan(row[0])]
    pairs = np.array([agreement.same_first[a, b] for _, a, b in rows])
    same = f"{percent(float(pairs.mean()))} of the pairs put the same event first."
    if not known:
        return f"All values are equal, so there is no order to compare. {same}"
    worst, best = min(known), max(known)
    told = f"Closest are {names[best[2]]} and {names[best[1]]} (rank correlation {best[0]:.2f})"
    if len(known) > 1:
        told += f"; furthest apart, {names[worst[2]]} and {names[worst[1]]} ({worst[0]:.2f})"
    return f"{told}. {same}"


def _table(agreement: Agreement, names: list[str]) -> pd.DataFrame:
    title = dict(zip(agreement.methods, names, strict=True))
    rows = agreement.rows()
    return pd.DataFrame(
        {
            "method": [title[row["method"]] for row in rows],
            "other method": [title[row["other"]] for row in rows],
            "rank correlation": [row["correlation"] for row in rows],
            "same first event": [row["same_first"] for row in rows],
        }
    )
