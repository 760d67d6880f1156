"""How far back the memory reaches: the share of each event in what a layer holds."""

from __future__ import annotations

from typing import Any

import numpy as np

from recblr.figures.events import Events
from recblr.figures.view import ROLES, View, cursor, new_figure, nothing, percent, plural, time_span
from recblr.trace import Trace

SHARE = 0.9
"""Share of the state that the memory horizon covers."""
_TICKED = 10
"""Events that all have their number at the axis."""


def horizon_sentence(trace: Trace, layer: int, step: int, events: Events) -> str:
    """The memory horizon as a teacher would say it. `step` counts from 0 in the trace."""
    horizon = trace.horizon(layer, step, share=SHARE)
    if horizon is None:
        return "This layer keeps no sum over events, so it has no memory horizon."
    holds = "holds" if trace.layers[layer].entered is not None else "looks at"
    after = f"After event {events.first + step}, {SHARE:.0%} of what {layer_word(layer)} {holds} comes from".replace(
        "%", " %"
    )
    if horizon.items == 1:
        return f"{after} that event alone ({events.titles[step]})."
    back = events.titles[step - horizon.items + 1]
    days = ", back" if horizon.days is None else f", {time_span(horizon.days * 86400)} back"
    reach = "all of its" if horizon.items == step + 1 else "the last"
    return f"{after} {reach} {plural(horizon.items, 'event')}{days} to “{back}”."


def memory(trace: Trace, layer: int, step: int, events: Events) -> View:
    """Share of each event 0..step in what `layer` holds at `step`; those inside the memory horizon in full colour."""
    question = f"Which events still matter after event {events.first + step}?"
    shares = trace.layers[layer].shares(0, step)
    horizon = trace.horizon(layer, step, share=SHARE)
    sentence = horizon_sentence(trace, layer, step, events)
    if shares is None or horizon is None:
        return nothing(question, sentence)
    full = np.zeros(len(events))
    full[: step + 1] = shares
    role = "state" if trace.layers[layer].entered is not None else "attention"
    inside = (np.arange(len(events)) > step - horizon.items) & (np.arange(len(events)) <= step)
    bars = {
        "type": "bar",
        "x": events.numbers,
        "y": full,
        "marker": {"color": np.where(inside, ROLES[role], ROLES["quiet"]).tolist(), "line": {"width": 0}},
        "customdata": events.titles,
        "hovertemplate": "event %{x}: %{customdata}<br>%{y:.1%} of what is held<extra></extra>",
    }
    figure = new_figure(
        [bars],
        height=220,
        x_title="event",
        y_title="share",
        x=events_axis(events),
        y={"tickformat": ".0%", "rangemode": "tozero"},
        shapes=[cursor(events.first + step)],
        bargap=0.15,
    )
    table = events.frame().iloc[: step + 1].assign(share=shares, inside=inside[: step + 1])
    table = table.rename(columns={"inside": "inside the horizon"}).iloc[::-1]
    largest = int(np.argmax(shares))
    answer = (
        f"{sentence} The largest share, {percent(float(shares[largest]))}, is that of event {events.first + largest}."
    )
    return View(question=question, answer=answer, figure=figure, table=table)


def events_axis(events: Events) -> dict[str, Any]:
    """The x-axis that all event figures share, each event one unit wide; of few events, each has one tick."""
    axis = {"range": [events.first - 0.5, events.last + 0.5], "tickformat": "d"}
    return {**axis, "tick0": events.first, "dtick": 1} if len(events) <= _TICKED else axis


def layer_word(layer: int) -> str:
    return f"layer {layer + 1}"
