"""Quality, cost of training and cost of inference of all backbones of a table, in one figure.

Right is dearer to train, up is better, larger is slower to answer: the best of all three would be a small dot at the
top left. One colour and one shape for each way to answer: one event more, or the whole history read anew.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

import pandas as pd

from recblr.figures import labels
from recblr.figures.view import MARGIN, ROLES, View, new_figure, nothing, number
from recblr.leaderboard.entries import Entry

QUESTION = "What does each backbone cost for what it finds?"
SMALLEST, LARGEST = 9.0, 34.0
"""Pixels across a marker; its area is proportional to the milliseconds, as far as these bounds allow."""
_WIDTH, _HEIGHT = 620.0, 380.0
"""Pixels of the plot area that labels are placed for."""
_WAYS = (
    ("the whole history read anew", False, ROLES["attention"], "diamond"),
    ("one event more, from a kept state", True, ROLES["decay"], "circle"),
)
"""How the cheaper answer is made: (name, whether from a kept state, colour, shape)."""


def golden_triangle(entries: Sequence[Entry]) -> View:
    """NDCG@10 over seconds of a training epoch, each marker as large as a recommendation takes milliseconds.

    The entries are those of one table. A preset that is not the backbone's first is drawn as well, under both names.
    Baselines that count have no epochs: they are in the table beside the figure.
    """
    drawn = sorted((entry for entry in entries if entry.epoch_seconds), key=lambda entry: -entry.best_ms)
    if len(drawn) < 2:
        return nothing(QUESTION, "Fewer than two backbones of this table are trained.")
    slowest = max(entry.best_ms for entry in drawn)
    points = [
        (math.log10(entry.epoch_seconds or 1), entry.ndcg10, _across(entry.best_ms, slowest), _label(entry))
        for entry in drawn
    ]
    wide = median(entry.high - entry.low for entry in drawn)
    stands = _places(points, wide)
    traces = []
    for name, streams, color, symbol in _WAYS:
        own = [n for n, entry in enumerate(drawn) if _streams(entry) == streams]
        if own:
            traces.append(_markers([drawn[n] for n in own], [stands[n] for n in own], slowest, name, color, symbol))
    x_range, y_range = _span([x for x, *_ in points], 0.22), _span([y for _, y, *_ in points], 0.16, wide)
    seconds = _ticks(x_range)
    figure = new_figure(
        traces,
        height=470,
        x_title="seconds of a training epoch (less is better)<br>"
        f"area of a marker: time of a recommendation, {number(slowest, 2)} ms the largest",
        y_title="NDCG@10 on test (more is better)",
        x={"type": "log", "range": x_range, "showgrid": True, "tickvals": seconds, "ticktext": [*map(number, seconds)]},
        y={"range": y_range, "tickformat": ".3f"},
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "itemsizing": "constant"},
        margin={"l": 70, "r": MARGIN, "t": 34, "b": 58},
        **_interval(wide, sum(y_range) / 2),
    )
    return View(question=QUESTION, answer=_answer(drawn, entries), figure=figure, table=_table(entries))


def _streams(entry: Entry) -> bool:
    return entry.step_ms is not None and entry.step_ms <= entry.whole_ms


def _label(entry: Entry) -> str:
    return entry.title if entry.default else f"{entry.title} {entry.preset}"


def _across(milliseconds: float, slowest: float) -> float:
    """Diameter of a marker in pixels."""
    return max(SMALLEST, LARGEST * math.sqrt(milliseconds / slowest))


def _span(values: Sequence[float], share: float, least: float = 1e-3) -> list[float]:
    """Limits of an axis that leave room for the labels, at least `least` apart."""
    width, middle = max(values) - min(values), (max(values) + min(values)) / 2
    half = max((0.5 + share) * width, 0.55 * least)
    return [middle - half, middle + half]


def _ticks(log_range: Sequence[float]) -> list[float]:
    """Round numbers within the limits of a logarithmic axis."""
    powers = range(math.floor(log_range[0]), math.ceil(log_range[1]) + 1)
    ticks = [step * 10.0**power for power in powers for step in (1, 2, 3, 5, 7)]
    return [tick for tick in ticks if log_range[0] <= math.log10(tick) <= log_range[1]]


def _interval(wide: float, middle: float) -> dict[str, Any]:
    """One bar as wide as a 95 % interval, at the right; all models rank for the same users, so one stands for all."""
    at = {"x": 0.985, "xref": "paper"}
    line = {"type": "line", "x0": 0.985, "x1": 0.985, "xref": "paper", "y0": middle - wide / 2, "y1": middle + wide / 2}
    label = {"y": middle - wide / 2, "yanchor": "top", "xanchor": "right", "showarrow": False, "text": "95 % of users"}
    return {
        "shapes": [{**line, "line": {"width": 2, "color": ROLES["quiet"]}}],
        "annotations": [{**at, **label, "font": {"color": ROLES["quiet"]}}],
    }


def _places(points: Sequence[tuple[float, float, float, str]], wide: float) -> list[str]:
    """Where each label stands, of points (x, y, pixels across, text) in the units of the axes."""
    x_range, y_range = _span([x for x, *_ in points], 0.22), _span([y for _, y, *_ in points], 0.16, wide)
    return labels.places(points, x_range, y_range, width=_WIDTH, height=_HEIGHT)


def _markers(
    entries: Sequence[Entry], places: Sequence[str], slowest: float, name: str, color: str, symbol: str
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "name": name,
        "mode": "markers+text",
        "x": [entry.epoch_seconds for entry in entries],
        "y": [entry.ndcg10 for entry in entries],
        "text": [_label(entry) for entry in entries],
        "textposition": list(places),
        "cliponaxis": False,
        "marker": {
            "size": [_across(entry.best_ms, slowest) for entry in entries],
            "color": color,
            "symbol": symbol,
            "opacity": 0.85,
            "line": {"width": 1, "color": "rgba(128, 128, 128, 0.6)"},
        },
        "customdata": [
            [
                f"{entry.low:.4f} to {entry.high:.4f}",
                number(entry.whole_ms, 2),
                "cannot go on from a state" if entry.step_ms is None else f"{number(entry.step_ms, 2)} ms",
                f"{entry.state_bytes:,} bytes ({entry.state_kind})",
                f"{entry.trained_on}{', beside other work' if entry.training_beside else ''}",
            ]
            for entry in entries
        ],
        "hovertemplate": "%{text}: NDCG@10 %{y:.4f} (95 % of users %{customdata[0]})<br>"
        "%{x:.3~g} s an epoch on %{customdata[4]}<br>"
        "a recommendation: whole history %{customdata[1]} ms, one step %{customdata[2]}<br>"
        "kept of a user: %{customdata[3]}<extra></extra>",
    }


def _answer(drawn: Sequence[Entry], entries: Sequence[Entry]) -> str:
    best = max(drawn, key=lambda entry: entry.ndcg10)
    cheap = min(drawn, key=lambda entry: entry.epoch_seconds or math.inf)
    quick = min(drawn, key=lambda entry: entry.best_ms)
    said = (
        f"{_label(best)} finds most (NDCG@10 {best.ndcg10:.4f}), {_label(cheap)} trains fastest "
        f"({number(cheap.epoch_seconds or 0, 2)} s an epoch), {_label(quick)} answers fastest "
        f"({number(quick.best_ms, 2)} ms); a larger marker answers more slowly."
    )
    busy = [entry for entry in drawn if entry.training_beside or entry.asking_beside]
    if busy:
        said += " Times were recorded beside other work and are indicative."
    if len({entry.trained_on for entry in drawn}) > 1:
        said += " Not all were trained on one machine, so seconds compare only within one."
    counted = [entry.title for entry in entries if entry.epoch_seconds is None]
    return said + (f" Without epochs, and so not drawn: {', '.join(counted)}." if counted else "")


def _table(entries: Sequence[Entry]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "backbone": [_label(entry) for entry in entries],
            "NDCG@10": [entry.ndcg10 for entry in entries],
            "95 % of users": [f"{entry.low:.4f} to {entry.high:.4f}" for entry in entries],
            "seconds an epoch": [entry.epoch_seconds for entry in entries],
            "ms, whole history": [entry.whole_ms for entry in entries],
            "ms, one step": [entry.step_ms for entry in entries],
            "bytes of a user": [entry.state_bytes for entry in entries],
            "kept as": [entry.state_kind for entry in entries],
            "parameters": [entry.parameters for entry in entries],
            "trained on": [entry.trained_on for entry in entries],
            "date": [entry.date[:10] for entry in entries],
        }
    )
