"""Does each model's explanation name the events that count? Normalised AOPC, so that models can be compared.

The scores of two models cannot be compared, and neither can the fall of a score. What can be is where an order of
removals stands between the worst and the best that a search finds for the same model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recblr.figures.view import MARGIN, ROLES, View, new_figure, nothing, plural

if TYPE_CHECKING:
    from recblr.explain.faithfulness.erasure import NormalisedAOPC

Chance = Mapping[str, NDArray[np.float64]]


def faithful(found: Mapping[str, NormalisedAOPC], chance: Chance, title: str, methods: Mapping[str, str]) -> View:
    """`found`: model -> how far its explanation of one item gets; `chance`: model -> [D] AOPC of random orders;
    `methods`: model -> name of the method that explained; `title` of the item."""
    question = f"Does each model's explanation of “{title}” name the events that count?"
    if not found:
        return nothing(question, "None of these models could be asked.")
    known = sorted((name for name, one in found.items() if one.decided), key=lambda name: -found[name].normalised)
    silent = [name for name in found if name not in known]
    if not known:
        return nothing(question, f"No: {_silence(silent)}.")
    places = {name: np.clip(found[name].place(chance[name]), 0, 1) for name in known}
    own = [found[name].normalised for name in known]
    depth = max(found[name].depth for name in known)
    figure = new_figure(
        [
            *(_line(name, places[name]) for name in known),
            _points(known, [float(places[name].mean()) for name in known], "line-ns", 16, ROLES["quiet"], "chance"),
            _points(known, own, "circle", 12, ROLES["state"], "its own explanation", [f"{one:.2f}" for one in own]),
        ],
        height=100 + 38 * len(known),
        x_title=f"0: the worst order of taking out {plural(depth, 'event')} that was found, 1: the best",
        x={"range": [-0.03, 1.03], "tickvals": [0, 0.25, 0.5, 0.75, 1], "showgrid": True},
        y={"categoryarray": known, "range": [len(known) - 0.6, -0.6], "nticks": len(known), "showgrid": False},
        margin={"l": 90, "r": MARGIN, "t": 34, "b": 40},
        showlegend=True,
        hovermode="closest",
    )
    answer = _answer(known, own, places, silent, depth)
    return View(question=question, answer=answer, figure=figure, table=_table(found, chance, methods))


def _line(name: str, places: NDArray[np.float64]) -> dict[str, Any]:
    """From the lowest to the highest random order."""
    return {
        "type": "scatter",
        "x": [float(places.min()), float(places.max())],
        "y": [name, name],
        "mode": "lines",
        "line": {"width": 8, "color": "rgba(138, 143, 152, 0.35)"},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _points(names: Sequence[str], x: Sequence[float], symbol: str, size: int, color: str, legend: str,
            text: Sequence[str] | None = None) -> dict[str, Any]:  # fmt: skip
    return {
        "type": "scatter",
        "name": legend if text is not None else "random orders, their mean and their range",
        "x": list(x),
        "y": list(names),
        "mode": "markers" if text is None else "markers+text",
        "marker": {"symbol": symbol, "size": size, "color": color, "line": {"width": 2 if text is None else 0,
                                                                           "color": color}},
        "text": text,
        "textposition": "top center",
        "cliponaxis": False,
        "hovertemplate": f"%{{y}}, {legend}: %{{x:.2f}}<extra></extra>",
    }  # fmt: skip


def _answer(
    known: Sequence[str], own: Sequence[float], places: Chance, silent: Sequence[str], depth: int
) -> str:  # fmt: skip
    over = sum(value > places[name].mean() for name, value in zip(known, own, strict=True))
    above = sum(value > places[name].max() for name, value in zip(known, own, strict=True))
    told = f"With the first {plural(depth, 'event')} taken out in the order of its explanation, "
    told += f"{known[0]} gets {own[0]:.2f} of the way from the worst order to the best"
    if len(known) > 1:
        told += f", {known[-1]} {own[-1]:.2f}"
    told += f". Of {plural(len(known), 'model')}, {over} {'is' if over == 1 else 'are'} above the mean of random orders"
    told += f", {above} above them all"
    return f"{told}. {_silence(silent).capitalize()}." if silent else f"{told}."


def _silence(names: Sequence[str]) -> str:
    return f"no event changes what is said by {', '.join(names)}" if names else ""


def _table(found: Mapping[str, NormalisedAOPC], chance: Chance, methods: Mapping[str, str]) -> pd.DataFrame:
    rows = []
    for name, one in found.items():
        drawn = one.place(chance[name])
        rows.append(
            {
                "model": name,
                "method": methods.get(name, ""),
                "normalised AOPC": one.normalised if one.decided else np.nan,
                "random, lowest": drawn.min() if one.decided else np.nan,
                "random, mean": drawn.mean() if one.decided else np.nan,
                "random, highest": drawn.max() if one.decided else np.nan,
                "AOPC (nats)": one.aopc,
                "worst order found": one.worst,
                "best order found": one.best,
                "events taken out": one.depth,
            }
        )
    return pd.DataFrame(rows).sort_values("normalised AOPC", ascending=False, na_position="last", ignore_index=True)
