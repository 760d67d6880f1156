"""Whether memory or arithmetic limits an operator: the roofline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from recblr.figures.speeds import Row, copy_of, short, timed
from recblr.figures.view import MARGIN, ROLES, View, new_figure, nothing, number, percent

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star")


def roofline(rows: Sequence[Row], ceiling: float) -> View:
    """Operations a second over operations a byte. `ceiling`: operations a second of a matrix product.

    The slope is the bandwidth of the copy, measured in the same run; what an operator must move at the least is taken
    as its traffic, so nothing that reads or writes twice can look better than it is.
    """
    question = "Does memory or arithmetic limit it?"
    found, copy = timed(rows), copy_of(rows)
    if not found or copy is None:
        return nothing(question, "Nothing was timed.")
    bandwidth = copy["bytes"] / (copy["median_ms"] / 1e3)  # bytes a second
    ridge = ceiling / bandwidth
    at = found[0]["operations"] / found[0]["bytes"]
    low, high = min(at, ridge) / 8, max(at, ridge) * 8
    x = np.geomspace(low, high, 60)
    roof = {
        "type": "scatter",
        "x": x,
        "y": np.minimum(bandwidth * x, ceiling) / 1e9,
        "mode": "lines",
        "name": "the machine's limit",
        "line": {"color": ROLES["attention"], "width": 2.5},
        "hoverinfo": "skip",
    }
    reached = [row["operations"] / (row["median_ms"] / 1e3) for row in found]
    points = [
        {
            "type": "scatter",
            "x": [at],
            "y": [value / 1e9],
            "mode": "markers",
            "name": short(row["peer"]),
            "marker": {"color": ROLES["state"], "size": 11, "symbol": SYMBOLS[n % len(SYMBOLS)]},
            "hovertemplate": f"{short(row['peer'])}: %{{y:.3~g}} billion operations a second<extra></extra>",
        }
        for n, (row, value) in enumerate(zip(found, reached, strict=True))
    ]
    figure = new_figure(
        [roof, *points],
        height=320,
        x_title="operations a byte that must be moved",
        y_title="billion operations a second",
        x={"type": "log", "showgrid": True, "dtick": 1},
        y={"type": "log", "dtick": 1, "nticks": None},
        showlegend=True,
        margin={"l": 64, "r": MARGIN, "t": 40, "b": 44},
    )
    limit = min(bandwidth * at, ceiling)
    table = pd.DataFrame(
        {
            "program": [short(row["peer"]) for row in found],
            "operations a byte": at,
            "billion operations a second": [value / 1e9 for value in reached],
            "% of the limit": [100 * value / limit for value in reached],
        }
    )
    return View(question=question, answer=_answer(found[0], at, ridge, reached[0] / limit), figure=figure, table=table)


def _answer(best: Row, at: float, ridge: float, share: float) -> str:
    what = "memory" if at < ridge else "arithmetic"
    return (
        f"It is {what}: the operator does {number(at, 2)} operations a byte, and this machine would need "
        f"{number(ridge, 2)} for arithmetic to matter. {short(best['peer']).capitalize()} reaches "
        f"{percent(share)} of the limit there; more than 100 % means that the processor's cache holds some of it."
    )
