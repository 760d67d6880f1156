"""How large the state is, and how much each event changes it."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from recblr.figures.events import Events
from recblr.figures.horizon import events_axis
from recblr.figures.view import ROLES, View, new_figure, number
from recblr.trace import LayerTrace, Trace


def held(layer: LayerTrace, *, row: int = 0) -> tuple[NDArray[np.inexact], str]:
    """([T, C], its name): the state, or the layer's output where it keeps no state."""
    if layer.state is not None:
        return layer.state[row], "state"
    if layer.out is not None:
        return layer.out[row], "output"
    raise ValueError(f"{layer.name} recorded neither a state nor an output")


def norms(trace: Trace, layer: int, step: int, events: Events, *, pinned: tuple[Trace, str] | None = None) -> View:
    """Norm of the state after each event, and norm of the change that the event made; `pinned` is a second user's."""
    array, word = held(trace.layers[layer])
    size = np.linalg.norm(array, axis=-1)  # [T]
    change = np.linalg.norm(np.diff(array, axis=0, prepend=np.zeros_like(array[:1])), axis=-1)  # [T]
    figure = new_figure(height=220, x_title="event", y_title="norm")
    lines = [(f"{word}", size, ROLES["state"], "solid"), ("change", change, ROLES["write"], "dot")]
    for name, values, color, dash in lines:
        figure.add_trace(
            go.Scatter(
                x=events.numbers,
                y=values,
                name=name,
                mode="lines+markers",
                marker={"size": 4, "color": color},
                line={"color": color, "dash": dash, "width": 2},
                customdata=events.titles,
                hovertemplate=f"event %{{x}}: %{{customdata}}<br>{name} %{{y:.3~g}}<extra></extra>",
            )
        )
    if pinned is not None:
        _add_pinned(figure, pinned, layer, events)
    figure.update_layout(showlegend=True, margin_t=28)
    events_axis(figure, events, step)
    figure.update_yaxes(rangemode="tozero")
    table = events.frame().assign(**{f"{word} norm": size, "change norm": change})
    question = f"When did the {word} change most?"
    return View(question=question, answer=_answer(word, size, change, events), figure=figure, table=table)


def _add_pinned(figure: go.Figure, pinned: tuple[Trace, str], layer: int, events: Events) -> None:
    trace, name = pinned
    if layer >= len(trace.layers):
        return
    array, word = held(trace.layers[layer])
    shown = np.linalg.norm(array, axis=-1)[: len(events)]
    line = {"color": ROLES["quiet"], "width": 1.5}
    hover = f"{name}, event %{{x}}: {word} %{{y:.3~g}}<extra></extra>"
    x = events.first + np.arange(len(shown))
    figure.add_trace(
        go.Scatter(x=x, y=shown, name=f"{word} of {name} (pinned)", mode="lines", line=line, hovertemplate=hover)
    )


def _answer(word: str, size: NDArray[np.floating], change: NDArray[np.floating], events: Events) -> str:
    if len(size) == 1:
        return f"There is one event; it left a {word} of norm {number(float(size[0]))}."
    most = 1 + int(np.argmax(change[1:]))
    return (
        f"After the first event, the largest change was made by event {events.first + most} "
        f"(“{events.titles[most]}”): {number(float(change[most]))}, beside a {word} of {number(float(size[most]))}."
    )
