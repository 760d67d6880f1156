"""Is the order of an explanation faithful? What happens as events go, or are kept alone, in that order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recblr.errors import ExplainError
from recblr.figures.view import GUTTER, MARGIN, ROLES, View, new_figure, number, plural

if TYPE_CHECKING:
    from recblr.explain.faithfulness.curves import Curve
    from recblr.explain.faithfulness.reruns import Measure

MEASURES: dict[str, str] = {"logit": "logits", "rank": "rank (1 = best)", "probability": "probability"}
"""What a curve can be drawn of, with the words at its axis."""
_BAND = "rgba(138, 143, 152, 0.25)"


def deletion_curve(curve: Curve, measure: Measure = "logit", *, name: str = "this explanation") -> View:
    """The explanation's order beside its reverse and a band that holds all random orders drawn.

    Raises ExplainError for a measure that is not in MEASURES.
    """
    if measure not in MEASURES:
        raise ExplainError(f"no measure {measure!r}: choose one of {', '.join(MEASURES)}")
    low, mean, high = curve.band(measure)
    deletes = curve.kind == "deletion"
    start = float(curve.before.read(measure).reshape(-1)[0])
    counts = curve.counts

    def drawn(values: NDArray[np.float64]) -> tuple[list[float], list[float]]:
        """With the whole history, where nothing is deleted, in front."""
        return ([0, *counts.tolist()], [start, *values.tolist()]) if deletes else (counts.tolist(), values.tolist())

    band = f"all of {len(curve.random.logit)} random orders"
    lines = [
        _line(*drawn(high), "", "rgba(0, 0, 0, 0)", hoverinfo="skip", showlegend=False),
        _line(*drawn(low), band, "rgba(0, 0, 0, 0)", hoverinfo="skip", fill="tonexty",
              fillcolor=_BAND),
        _line(*drawn(mean), "random, mean", ROLES["quiet"], dash="dot"),
        _line(*drawn(curve.least.read(measure)), "least important first", ROLES["attention"], dash="dash"),
        _line(*drawn(curve.most.read(measure)), "most important first", ROLES["state"], width=3),
    ]  # fmt: skip
    figure = new_figure(
        lines,
        height=290,
        x_title="events left out" if deletes else "events kept, all others left out",
        y_title=MEASURES[measure],
        x={"tickformat": "d"},
        y={"type": "log", "autorange": "reversed", "dtick": 1} if measure == "rank" else {},
        showlegend=True,
        margin={"l": GUTTER, "r": MARGIN, "t": 44, "b": 40},
    )
    what = "leaves out the events that count" if deletes else "keeps the events that count"
    return View(
        question=f"Does the order of {name} tell which events count?",
        answer=_answer(curve, measure, what),
        figure=figure,
        table=_table(curve, measure, low, mean, high),
    )


def _line(x: list[float], y: list[float], name: str, color: str, *, dash: str = "solid", width: float = 1.5,
          **more: Any) -> dict[str, Any]:  # fmt: skip
    return {
        "type": "scatter",
        "x": x,
        "y": y,
        "name": name,
        "mode": "lines",
        "line": {"color": color, "dash": dash, "width": width},
        "hovertemplate": f"{name}: %{{y:.3~g}} at %{{x}}<extra></extra>",
        **more,
    }


def _answer(curve: Curve, measure: Measure, what: str) -> str:
    mean, edge = curve.beats(measure), curve.beats(measure, edge=True)
    n = len(mean)
    verdict = "better than random orders do in the mean at every count"
    if not mean.all():
        verdict = f"better than random orders do in the mean at {int(mean.sum())} of {plural(n, 'count')}"
    band = f"outside of the random band at {int(edge.sum())} of {n}"
    area = curve.area(measure)
    areas = f"mean over the curve {number(area['most'])}, of random orders {number(area['random'])}"
    judged = "So it is faithful here" if mean.all() else "Where it is not, the order is no better than chance"
    return f"Its order {what} {verdict}, {band} ({areas}). {judged}."


def _table(
    curve: Curve, measure: Measure, low: NDArray[np.float64], mean: NDArray[np.float64], high: NDArray[np.float64]
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "events left out" if curve.kind == "deletion" else "events kept": curve.counts,
            "most important first": curve.most.read(measure),
            "least important first": curve.least.read(measure),
            "random, lowest": low,
            "random, mean": mean,
            "random, highest": high,
        }
    )
