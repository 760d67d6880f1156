"""How long each channel remembers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recblr.figures.channels import LONGEST, by_half_life, channel_half_lives, half_lives
from recblr.figures.events import Events
from recblr.figures.view import ROLES, View, new_figure, nothing, number, time_span
from recblr.trace import LayerTrace, Trace


def lives(trace: Trace, layer: int, events: Events, *, channel: int | None = None) -> View:
    """Half-life of every channel, longest first: the median over the events, with the 10th and 90th percentile."""
    question = "How long does each channel remember?"
    steps = half_lives(trace.layers[layer])
    medians = channel_half_lives(trace.layers[layer])
    if steps is None or medians is None:
        note = "This layer has no decay: it forgets nothing by itself, it chooses anew at each event what to look at."
        return nothing(question, note)
    order = by_half_life(trace.layers[layer])
    low, high = np.percentile(steps[:, order], [10, 90], axis=0)  # [C] each
    middle = medians[order]
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "x": np.arange(1, len(order) + 1),
            "y": middle,
            "mode": "markers",
            "marker": {"color": ROLES["decay"], "size": 6},
            "error_y": {"array": high - middle, "arrayminus": middle - low, "width": 0, "thickness": 1.5},
            "customdata": np.stack([order, low, high], axis=1),
            "hovertemplate": "channel %{customdata[0]:d}: half is gone after %{y:.3~g} events"
            "<br>80 % of the events: %{customdata[1]:.3~g} to %{customdata[2]:.3~g}<extra></extra>",
        }
    ]
    if channel is not None and channel in order:
        place = int(np.flatnonzero(order == channel)[0])
        ring = {"symbol": "circle-open", "size": 14, "color": ROLES["negative"], "line": {"width": 2}}
        x, y = [place + 1], [middle[place]]
        traces.append({"type": "scatter", "x": x, "y": y, "mode": "markers", "marker": ring, "hoverinfo": "skip"})
    figure = new_figure(
        traces,
        height=260,
        x_title="channel, longest memory first",
        y_title="half-life, events",
        y={"type": "log", "dtick": 1},
    )
    table = pd.DataFrame(
        {"channel": order, "half-life (events)": middle, "10th percentile": low, "90th percentile": high}
    )
    answer, days, pace = _answer(middle, events), _days(trace.layers[layer]), _pace(events)
    if days is not None:
        table["half-life (days)"] = days[order]
        typical = time_span(float(np.median(days)) * 86_400)
        answer += f" Fading by the time between events, the median channel halved in {typical} over this history."
    elif pace is not None:
        table["half-life (days at the mean pace)"] = middle * pace / 86_400
    return View(question=question, answer=answer, figure=figure, table=table)


def _days(layer: LayerTrace) -> NDArray[np.float64] | None:
    """[C] half-lives in days, where the decay reads the time and time passed."""
    if layer.half_life_days is None or not np.isfinite(layer.half_life_days[0]).all():
        return None
    return np.asarray(layer.half_life_days[0], dtype=np.float64)


def _pace(events: Events) -> float | None:
    """Mean seconds between two events; None where there are no times."""
    pauses = events.pauses[1:]
    return float(pauses.mean()) if len(pauses) and events.has_times else None


def _answer(middle: NDArray[np.float64], events: Events) -> str:
    mean = _pace(events)

    def said(steps: float) -> str:
        if steps >= LONGEST:
            return f"more than {LONGEST:,.0f} events"
        length = f"{number(steps, 2)} event" + ("" if number(steps, 2) == "1" else "s")
        return length if mean is None else f"{length} (about {time_span(steps * mean)} at this user's mean pace)"

    half = f"Half of the {len(middle)} channels lose half of what they hold within {said(float(np.median(middle)))}"
    return f"{half}; the slowest keeps half for {said(float(middle.max()))}."
