"""What each model gets right of each thing that the simulator planted, and what it keeps of a user to do so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recblr.figures import labels
from recblr.figures.shades import amount, ink
from recblr.figures.view import MARGIN, ROLES, View, new_figure, nothing, number, percent, plural

METRIC = "HR@1"
"""Nothing planted can be known without its cause, so the first place says whether a model found it."""
NAMES = 110
"""Pixels left of the cells."""
_KINDS = {
    "state": ("a state of fixed size", ROLES["state"], "circle"),
    "cache": ("a cache that grows with the history", ROLES["attention"], "diamond"),
    "history": ("the history itself", ROLES["quiet"], "square"),
}
"""Kind of what is kept -> (words, colour, shape)."""

_WIDTH, _HEIGHT, _NEAR = 700.0, 300.0, 12.0
"""Pixels of the plot area that labels are placed for, and between points that share one."""

Row = Mapping[str, Any]
"""One cause of a model: cause, planted, targets, metrics, intervals; as metrics.json of a run has them."""


def by_cause(found: Mapping[str, Sequence[Row]]) -> View:
    """HR@1 of each model, the best over the planted causes first, on the targets of each cause."""
    question = "What does each model get right of each cause?"
    if not found:
        return nothing(question, "No run was measured on a log that knows why its events happened.")
    causes = list(dict.fromkeys(row["cause"] for rows in found.values() for row in rows))
    planted = [one for one in causes if any(row["cause"] == one and row["planted"] for row in _all(found))]
    values = {name: {row["cause"]: float(row["metrics"][METRIC]) for row in rows} for name, rows in found.items()}
    means = {name: float(np.mean([own[one] for one in planted if one in own] or [0])) for name, own in values.items()}
    names = sorted(found, key=lambda name: -means[name])
    cells = np.array([[values[name].get(one, np.nan) for one in causes] for name in names])
    scale = amount("write")
    figure = new_figure(
        [
            {
                "type": "heatmap",
                "z": cells,
                "x": causes,
                "y": names,
                "zmin": 0,
                "zmax": 1,
                "colorscale": scale,
                "showscale": False,
                "xgap": 2,
                "ygap": 2,
                "hoverongaps": False,
                "hovertemplate": "%{y}, %{x}: first for %{z:.1%} of the targets<extra></extra>",
            }
        ],
        height=70 + 26 * len(names),
        x_title="",
        x={"side": "top", "automargin": True},
        y={"autorange": "reversed", "nticks": len(names), "showgrid": False},
        margin={"l": NAMES, "r": MARGIN, "t": 30, "b": 10},
        annotations=[
            {
                "x": causes[across],
                "y": names[down],
                "text": percent(float(value)),
                "font": {"color": ink(scale, float(value)), "size": 11},
                "showarrow": False,
            }
            for (down, across), value in np.ndenumerate(cells)
            if not np.isnan(value)
        ],
    )
    return View(question=question, answer=_by_cause(values, means, names, planted), figure=figure, table=_rows(found))


def rows_of(metrics: Mapping[str, Any], part: str = "test") -> list[Row]:
    """The rows by cause in metrics.json of a run; none where it has none that can be read."""
    measured = metrics.get(part)
    rows = measured.get("per_cause") if isinstance(measured, Mapping) else None
    return [row for row in rows if _readable(row)] if isinstance(rows, list) else []


def _readable(row: object) -> bool:
    if not isinstance(row, Mapping) or not {"cause", "planted", "targets", "intervals"} <= row.keys():
        return False
    metrics = row.get("metrics")
    return isinstance(metrics, Mapping) and isinstance(metrics.get(METRIC), int | float)


def _interval(row: Row) -> str:
    return " to ".join(f"{one:.3f}" for one in row["intervals"].get(METRIC, ()))


def _all(found: Mapping[str, Sequence[Row]]) -> list[Row]:
    return [row for rows in found.values() for row in rows]


def _by_cause(
    values: Mapping[str, Mapping[str, float]], means: Mapping[str, float], names: Sequence[str], planted: Sequence[str]
) -> str:
    if not planted:
        return "Nothing was planted in this log: what comes next is drawn anew each time."
    told = f"Of what was planted ({', '.join(planted)}), {names[0]} puts most first, {percent(means[names[0]])}"
    if len(names) == 1:
        return f"{told}."
    told += f" on average over the causes; {names[-1]} least, {percent(means[names[-1]])}"
    spread = {one: [own[one] for own in values.values() if one in own] for one in planted}
    widest = max(planted, key=lambda one: float(np.std(spread[one])))
    return f"{told}. Models differ most on {widest}: {percent(min(spread[widest]))} to {percent(max(spread[widest]))}."


def _rows(found: Mapping[str, Sequence[Row]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"model": name, "cause": row["cause"], "planted": row["planted"], "targets": row["targets"]}
            | dict(row["metrics"])
            | {f"{METRIC}, 95 % of users": _interval(row)}
            for name, rows in found.items()
            for row in rows
        ]
    )


def against_state(found: Mapping[str, Sequence[Row]], kept: Mapping[str, tuple[int, str]], cause: str) -> View:
    """HR@1 on one cause over the bytes that a model carries from event to event. `kept`: model -> (bytes, "state",
    "cache" or "history")."""
    question = f"Does it take a large state to get {cause} right?"
    rows = {name: row for name, own in found.items() for row in own if row["cause"] == cause and name in kept}
    drawn = sorted((name for name in rows if kept[name][0] > 0), key=lambda name: kept[name][0])
    if len(drawn) < 2:
        return nothing(question, f"Fewer than two models that keep something were measured on {cause}.")
    sizes = np.log10([kept[name][0] for name in drawn])
    x_range, y_range = [float(sizes.min()) - 0.35, float(sizes.max()) + 1.1], [-0.06, 1.09]
    values = {name: float(rows[name]["metrics"][METRIC]) for name in drawn}
    at = {name: (float(size), values[name]) for name, size in zip(drawn, sizes, strict=True)}
    written = _together(at, x_range, y_range)
    points = [(*at[name], 12.0, text) for name, text in written.items()]
    stands = dict(zip(written, labels.places(points, x_range, y_range, width=_WIDTH, height=_HEIGHT), strict=True))
    told = {name: (text, stands[name]) for name, text in written.items()}
    figure = new_figure(
        [
            _dots([name for name in drawn if kept[name][1] == kind], kind, values, kept, rows, told)
            for kind in _KINDS
            if any(kept[name][1] == kind for name in drawn)
        ],
        height=380,
        x_title="bytes kept of a user after as many events as the model reads",
        y_title=f"{METRIC} on {cause}",
        x={"type": "log", "range": x_range, "showgrid": True, "dtick": 1},
        y={"range": y_range, "tickformat": ".0%"},
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "itemsizing": "constant"},
        margin={"l": 64, "r": MARGIN, "t": 34, "b": 44},
    )
    table = pd.DataFrame(
        {
            "model": list(rows),
            "bytes kept": [kept[name][0] for name in rows],
            "kept as": [kept[name][1] for name in rows],
            METRIC: [row["metrics"][METRIC] for row in rows.values()],
            "95 % of users": [_interval(row) for row in rows.values()],
            "targets": [row["targets"] for row in rows.values()],
        }
    )  # fmt: skip
    silent = [name for name in rows if name not in drawn]
    answer = _against(drawn, values, kept, silent, int(next(iter(rows.values()))["targets"]))
    return View(question=question, answer=answer, figure=figure, table=table)


def _together(
    at: Mapping[str, tuple[float, float]], x_range: Sequence[float], y_range: Sequence[float]
) -> dict[str, str]:
    """Name -> label; of points too near for labels of their own, the first names them all."""
    near: dict[str, list[str]] = {}
    for name, (x, y) in at.items():
        first = next(
            (
                one
                for one in near
                if abs(at[one][0] - x) * _WIDTH / (x_range[1] - x_range[0]) < _NEAR
                and abs(at[one][1] - y) * _HEIGHT / (y_range[1] - y_range[0]) < _NEAR
            ),
            name,
        )
        near.setdefault(first, []).append(name)
    return {first: ", ".join(names) for first, names in near.items()}


def _dots(
    names: Sequence[str],
    kind: str,
    values: Mapping[str, float],
    kept: Mapping[str, tuple[int, str]],
    rows: Mapping[str, Row],
    told: Mapping[str, tuple[str, str]],
) -> dict[str, Any]:
    words, color, symbol = _KINDS[kind]
    ends = [rows[name]["intervals"].get(METRIC, (values[name], values[name])) for name in names]
    return {
        "type": "scatter",
        "name": words,
        "mode": "markers+text",
        "x": [kept[name][0] for name in names],
        "y": [values[name] for name in names],
        "error_y": {
            "array": [high - values[name] for name, (_, high) in zip(names, ends, strict=True)],
            "arrayminus": [values[name] - low for name, (low, _) in zip(names, ends, strict=True)],
            "width": 0,
            "thickness": 1,
        },
        "text": [told.get(name, ("", ""))[0] for name in names],
        "textposition": [told.get(name, ("", "middle right"))[1] for name in names],
        "customdata": list(names),
        "cliponaxis": False,
        "marker": {"size": 11, "color": color, "symbol": symbol},
        "hovertemplate": "%{customdata}: %{x:,} bytes, first for %{y:.1%}<extra></extra>",
    }


def _against(
    drawn: Sequence[str],
    values: Mapping[str, float],
    kept: Mapping[str, tuple[int, str]],
    silent: Sequence[str],
    targets: int,
) -> str:
    best = max(drawn, key=lambda name: values[name])
    lean = min((name for name in drawn if values[name] >= values[best] - 0.05), key=lambda name: kept[name][0])
    told = f"{best} is right most often ({percent(values[best])}, {number(kept[best][0], 3)} bytes)"
    if lean != best:
        told += f"; within 5 percentage points of it, {lean} keeps least, {number(kept[lean][0], 3)} bytes"
    together = _correlation([kept[name][0] for name in drawn], [values[name] for name in drawn])
    if together is not None:
        told += f". Over {plural(len(drawn), 'model')}, size and success have a rank correlation of {together:.2f}"
    told += f" ({plural(targets, 'target')}; lines are 95 % of users)."
    return told + (f" Not drawn, as nothing is kept of a user: {', '.join(silent)}." if silent else "")


def _correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Spearman's; None where all values are equal."""
    ranks = pd.Series(one).rank(), pd.Series(other).rank()
    return None if min(values.std() for values in ranks) == 0 else float(ranks[0].corr(ranks[1]))
