"""The heat map of a layer as a figure, for notebooks; the app draws the same matrix on a canvas."""

from __future__ import annotations

import numpy as np
import pandas as pd

from recblr.figures.channels import FEW, by_half_life, n_channels, spread
from recblr.figures.events import Events
from recblr.figures.matrix import Matrix, matrix
from recblr.figures.view import ROLES, View, new_figure, number
from recblr.trace import Trace


def heat(
    trace: Trace,
    layer: int,
    name: str,
    events: Events,
    *,
    count: int = FEW,
    head: int | None = None,
    channel: int | None = None,
) -> View:
    """`count` channels of one quantity (a key of QUANTITIES), from the longest half-life to the shortest."""
    order = by_half_life(trace.layers[layer])
    drawn = matrix(trace.layers[layer], name, spread(order, count, keep=channel), head=head)
    cells = {
        "type": "heatmap",
        "z": drawn.values,
        "x": events.numbers,
        "y": list(drawn.labels),
        "customdata": np.broadcast_to(np.array(events.titles, dtype=object), drawn.values.shape),
        "hovertemplate": "%{y}, event %{x} (%{customdata})<br>%{z:.3f}<extra></extra>",
        "zmin": drawn.low,
        "zmax": drawn.high,
        "colorscale": _scale(drawn),
    }
    figure = new_figure(
        [cells],
        height=120 + 18 * min(len(drawn.rows), 30),
        x_title="event",
        y_title="event that looks back" if drawn.rows_are_events else "channel · half-life",
        y={"type": "category", "autorange": "reversed", "nticks": min(len(drawn.rows), 30)},
    )
    return View(
        question=question(drawn), answer=answer(drawn, events, n_channels(trace.layers[layer])),
        figure=figure, table=table(drawn, events),
    )  # fmt: skip


def question(drawn: Matrix) -> str:
    """What a heat map of this matrix answers."""
    return {
        "state": "What does the model hold, event by event?",
        "decay": "How much of its past does each event leave in place?",
        "write": "How strongly is each event written down?",
        "input_gate": "How wide does each event open the input gate?",
        "entered": "What did each event add to the state?",
        "written": "What did each event write, before anything was erased for it?",
        "erased": "What did each event take out of the state before it wrote?",
        "read": "What is let out of the state at each event?",
        "delta": "How long does each event count?",
        "mix": "Which earlier events does each event look at?",
        "remains": "What is left of each earlier event?",
        "overlap": "Which earlier events does each event write over?",
        "score_content": "Which earlier items does each event's item ask for?",
        "score_position": "Which earlier places does each event ask for?",
        "score_time": "Which times ago does each event ask for?",
    }[drawn.name]


def answer(drawn: Matrix, events: Events, channels: int) -> str:
    """One sentence from the numbers drawn."""
    values = drawn.values
    if drawn.rows_are_events and not drawn.shares:
        reader, source = np.unravel_index(np.nanargmax(np.abs(values)), values.shape)
        size = number(float(values[reader, source]))
        return f"The largest is {size}: event {events.first + int(reader)} of event {events.first + int(source)}."
    if drawn.rows_are_events:
        own = float(np.mean(np.diagonal(values)))
        return f"On average an event gives {100 * own:.0f} % of its attention to itself, the rest to what came before."
    place = np.unravel_index(
        np.nanargmin(values) if drawn.name == "decay" else np.nanargmax(np.abs(values)), values.shape
    )
    row, step = int(place[0]), int(place[1])
    where = f"event {events.first + step} ({events.titles[step]}), channel {drawn.rows[row]}"
    shown = f"{len(drawn.rows)} of {channels} channels" if len(drawn.rows) < channels else f"all {channels} channels"
    if np.ptp(values, axis=1).max() < 1e-6:
        ends = f"from {number(float(values.min()))} to {number(float(values.max()))}"
        return f"It is the same at every event: over {shown}, {ends}."
    extreme = "The deepest forgetting" if drawn.name == "decay" else "The largest value"
    return f"{extreme} in {shown} is {number(float(values[row, step]))}, at {where}."


def table(drawn: Matrix, events: Events) -> pd.DataFrame:
    """One row an event, one column a row of the matrix."""
    columns = [f"event {events.first + n}" if drawn.rows_are_events else f"channel {n}" for n in drawn.rows.tolist()]
    frame = pd.DataFrame(drawn.values.T, columns=columns)
    frame.insert(0, "title", events.titles)
    frame.insert(0, "event", events.numbers)
    return frame


def _scale(drawn: Matrix) -> list[tuple[float, str]]:
    if drawn.signed:
        return [(0.0, ROLES["negative"]), (0.5, "rgba(128, 128, 128, 0)"), (1.0, ROLES["positive"])]
    return [(0.0, "rgba(128, 128, 128, 0)"), (1.0, ROLES[drawn.quantity.role])]
