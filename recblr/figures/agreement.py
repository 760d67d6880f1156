"""Do several models recommend the same, and do they look equally far back?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from recblr.figures.shades import amount, ink
from recblr.figures.view import MARGIN, ROLES, View, new_figure, nothing, number, plural, time_span
from recblr.trace import MemoryHorizon

PERSISTENCE = 0.9
"""Chance of reading on after each rank in rank-biased overlap: the first ten ranks carry 86 % of the weight."""


def jaccard(one: Sequence[str], other: Sequence[str]) -> float:
    """Items in both lists over items in either; 1 for two empty lists."""
    union = set(one) | set(other)
    return len(set(one) & set(other)) / len(union) if union else 1.0


def rbo(one: Sequence[str], other: Sequence[str], p: float = PERSISTENCE) -> float:
    """Rank-biased overlap of two equally long top lists, extrapolated: equal order 1, nothing in common 0.

        RBO_ext = A_k p^k + (1 - p) / p * sum_{d=1..k} A_d p^d,   A_d = overlap of the first d / d

    Source: Webber, Moffat and Zobel 2010, "A similarity measure for indefinite rankings", eq. 32 with equal lengths.
    Lists of different length are cut to the shorter one.
    """
    depth = min(len(one), len(other))
    if depth == 0:
        return 1.0 if len(one) == len(other) else 0.0
    agreed = [len(set(one[:d]) & set(other[:d])) / d for d in range(1, depth + 1)]
    weights = p ** np.arange(1, depth + 1)
    return float(agreed[-1] * p**depth + (1 - p) / p * np.dot(agreed, weights))


def overlap(lists: Mapping[str, Sequence[str]]) -> View:
    """Overlap of each pair of top lists: rank-biased as colour and text, Jaccard beside it. Keys name the models."""
    names = list(lists)
    question = f"How much do the {len(names)} lists agree?"
    if len(names) < 2:
        return nothing("Do the lists agree?", "Choose a second model to compare.")
    pairs = [(rbo(lists[a], lists[b]), jaccard(lists[a], lists[b]), a, b) for a, b in combinations(names, 2)]
    pairs.sort(key=lambda pair: -pair[0])
    (best, _, *near), (worst, _, *far) = pairs[0], pairs[-1]
    answer = f"Closest are {near[0]} and {near[1]} (rank-biased overlap {best:.2f})"
    if len(pairs) > 1:
        answer += f"; furthest apart, {far[0]} and {far[1]} ({worst:.2f})"
    table = pd.DataFrame(
        {
            "model": [a for _, _, a, _ in pairs],
            "other model": [b for _, _, _, b in pairs],
            "rank-biased overlap": [ranked for ranked, *_ in pairs],
            "Jaccard": [shared for _, shared, *_ in pairs],
            "items in both": [len(set(lists[a]) & set(lists[b])) for _, _, a, b in pairs],
        }
    )
    return View(question=question, answer=answer + ".", figure=_overlap_figure(names, lists), table=table)


def _overlap_figure(names: list[str], lists: Mapping[str, Sequence[str]]) -> go.Figure:
    values, scale = np.full((len(names), len(names)), np.nan), amount("write")
    written = []
    for i, j in combinations(range(len(names)), 2):
        values[j, i] = rbo(lists[names[i]], lists[names[j]])
        text = f"{values[j, i]:.2f}<br>({jaccard(lists[names[i]], lists[names[j]]):.2f})"
        font = {"color": ink(scale, float(values[j, i]))}
        written.append({"x": names[i], "y": names[j], "text": text, "font": font, "showarrow": False})
    cells = {
        "type": "heatmap",
        "z": values,
        "x": names,
        "y": names,
        "zmin": 0,
        "zmax": 1,
        "colorscale": scale,
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
        "hoverongaps": False,
        "hovertemplate": "%{y} and %{x}: rank-biased overlap %{z:.3f}<extra></extra>",
    }
    return new_figure(
        [cells],
        height=70 + 48 * (len(names) - 1),
        x_title="",
        x={"range": [-0.5, len(names) - 1.5], "nticks": len(names)},
        y={"range": [len(names) - 0.5, 0.5], "nticks": len(names), "showgrid": False},
        margin={"l": 90, "r": MARGIN, "t": 8, "b": 30},
        annotations=written,
    )


def horizons(reaches: Mapping[str, Sequence[MemoryHorizon | None]]) -> View:
    """Memory horizon of each layer of each model: one bar a layer, its length in events."""
    question = "How far back does each model reach?"
    rows = [
        (name, layer, one) for name, layers in reaches.items() for layer, one in enumerate(layers, 1) if one is not None
    ]
    if not rows:
        return nothing(question, "None of these models keeps a memory of events.")
    bars = {
        "type": "bar",
        "x": [one.items for _, _, one in rows],
        "y": [f"{name} · {layer}" for name, layer, _ in rows],
        "orientation": "h",
        "marker": {"color": ROLES["state"]},
        "text": [_reach(one) for _, _, one in rows],
        "textposition": "auto",
        "hovertemplate": "%{y}: %{text}<extra></extra>",
    }
    figure = new_figure(
        [bars],
        height=70 + 26 * len(rows),
        x_title="events that hold 90 % of each layer",
        y={"autorange": "reversed", "nticks": len(rows), "showgrid": False},
        margin={"l": 120, "r": MARGIN, "t": 8, "b": 40},
    )
    far, near = max(rows, key=lambda row: row[2].items), min(rows, key=lambda row: row[2].items)
    table = pd.DataFrame(
        {
            "model": [name for name, _, _ in rows],
            "layer": [layer for _, layer, _ in rows],
            "events": [one.items for _, _, one in rows],
            "days": [one.days for _, _, one in rows],
            "share held": [one.share for _, _, one in rows],
        }
    )
    answer = f"Furthest: layer {far[1]} of {far[0]}, {_reach(far[2])}; nearest: layer {near[1]} of {near[0]}, "
    return View(question=question, answer=f"{answer}{_reach(near[2])}.", figure=figure, table=table)


def true_ranks(ranks: Mapping[str, float], title: str, n_items: int) -> View:
    """Rank of the item that truly came next in each model's list of all items; ties count half."""
    placed = sorted(ranks.items(), key=lambda pair: pair[1])
    names, places = [name for name, _ in placed], [rank for _, rank in placed]
    dots = {
        "type": "scatter",
        "x": places,
        "y": names,
        "mode": "markers+text",
        "marker": {"size": 12, "color": ROLES["attention"]},
        "text": [f"  {number(rank)}" for rank in places],
        "textposition": "middle right",
        "hovertemplate": "%{y}: rank %{x:,}<extra></extra>",
    }
    figure = new_figure(
        [dots],
        height=70 + 30 * len(placed),
        x_title=f"rank of “{_short(title)}” among {n_items:,} items (1 = best)",
        x={"type": "log", "range": [np.log10(0.8), np.log10(max(3 * places[-1], 20))], "dtick": 1},
        y={"autorange": "reversed", "nticks": len(names)},
        margin={"l": 90, "r": MARGIN, "t": 8, "b": 40},
    )
    within = sum(rank <= 10 for rank in places)
    answer = f"“{title}” came next. {names[0]} ranks it {number(places[0])} of {n_items:,}; "
    answer += f"{within} of {plural(len(names), 'model')} have it among their ten best."
    table = pd.DataFrame({"model": names, "rank": places})
    question = "Where does each model put what truly came next?"
    return View(question=question, answer=answer, figure=figure, table=table)


def _reach(horizon: MemoryHorizon) -> str:
    days = "" if not horizon.days else f", {time_span(horizon.days * 86400)}"
    return plural(horizon.items, "event") + days


def _short(title: str, length: int = 32) -> str:
    return title if len(title) <= length else title[: length - 1] + "…"
