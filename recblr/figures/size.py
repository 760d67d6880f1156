"""How large the state is, and how much each event changes it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recblr.figures.events import Events
from recblr.figures.horizon import events_axis
from recblr.figures.view import GUTTER, MARGIN, ROLES, View, cursor, new_figure, nothing, number
from recblr.trace import LayerTrace, Trace


def held(layer: LayerTrace, *, row: int = 0) -> tuple[NDArray[np.inexact], str] | None:
    """([T, C], its name): the state, or the layer's output where it keeps no state; None where it has neither."""
    if layer.state is not None:
        return layer.state[row], "state"
    if layer.out is not None:
        return layer.out[row], "output"
    return None


def norms(trace: Trace, layer: int, step: int, events: Events, *, pinned: tuple[Trace, str] | None = None) -> View:
    """Norm of the state after each event, and norm of the change that the event made; `pinned` is a second user's."""
    found = held(trace.layers[layer])
    if found is None:
        return nothing("How large is the state?", "This layer counts; it keeps no state that has a size.")
    array, word = found
    size = np.linalg.norm(array, axis=-1)  # [T]
    change = np.linalg.norm(np.diff(array, axis=0, prepend=np.zeros_like(array[:1])), axis=-1)  # [T]
    lines = [
        _line(events, word, size, ROLES["state"], "solid"),
        _line(events, "change", change, ROLES["write"], "dot"),
    ]
    if pinned is not None:
        lines += _pinned_line(pinned, layer, events)
    figure = new_figure(
        lines,
        height=220,
        x_title="event",
        y_title="norm",
        x=events_axis(events),
        y={"rangemode": "tozero"},
        shapes=[cursor(events.first + step)],
        showlegend=True,
        margin={"l": GUTTER, "r": MARGIN, "t": 28, "b": 40},
    )
    table = events.frame().assign(**{f"{word} norm": size, "change norm": change})
    question = f"When did the {word} change most?"
    return View(question=question, answer=_answer(word, size, change, events), figure=figure, table=table)


def _line(events: Events, name: str, values: NDArray[np.floating], color: str, dash: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "x": events.numbers,
        "y": values,
        "name": name,
        "mode": "lines+markers",
        "marker": {"size": 4, "color": color},
        "line": {"color": color, "dash": dash, "width": 2},
        "customdata": events.titles,
        "hovertemplate": f"event %{{x}}: %{{customdata}}<br>{name} %{{y:.3~g}}<extra></extra>",
    }


def _pinned_line(pinned: tuple[Trace, str], layer: int, events: Events) -> list[dict[str, Any]]:
    trace, name = pinned
    found = held(trace.layers[layer]) if layer < len(trace.layers) else None
    if found is None:
        return []
    array, word = found
    shown = np.linalg.norm(array, axis=-1)[: len(events)]
    return [
        {
            "type": "scatter",
            "x": events.first + np.arange(len(shown)),
            "y": shown,
            "name": f"{word} of {name} (pinned)",
            "mode": "lines",
            "line": {"color": ROLES["quiet"], "width": 1.5},
            "hovertemplate": f"{name}, event %{{x}}: {word} %{{y:.3~g}}<extra></extra>",
        }
    ]


def _answer(word: str, size: NDArray[np.floating], change: NDArray[np.floating], events: Events) -> str:
    if len(size) == 1:
        return f"There is one event; it left a {word} of norm {number(float(size[0]))}."
    most = 1 + int(np.argmax(change[1:]))
    return (
        f"After the first, event {events.first + most} changed it most "
        f"(“{events.titles[most]}”): by {number(float(change[most]))}, to a {word} of norm {number(float(size[most]))}."
    )
