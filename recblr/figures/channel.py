"""What one channel holds at a step, event by event: the unrolled recurrence.

state_t = sum over s <= t of (decay_{s+1} ... decay_t) * entered_s  +  (decay_1 ... decay_t) * start
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recblr.figures.channels import rotation, start_state
from recblr.figures.events import Events
from recblr.figures.horizon import events_axis
from recblr.figures.view import ROLES, View, cursor, new_figure, nothing, number
from recblr.trace import LayerTrace, Trace


def parts(layer: LayerTrace, channel: int, step: int, *, row: int = 0) -> tuple[NDArray[np.float64], float]:
    """([step+1] what each event left in the channel at `step`, what the start state left); real parts where complex."""
    if layer.decay is None or layer.entered is None:
        raise ValueError(f"{layer.name} has no recurrence to unroll")
    turn = np.broadcast_to(rotation(layer), layer.decay.shape[-1:])[channel]
    factor = layer.decay[row, : step + 1, channel].astype(np.float64) * turn  # [step+1]
    start = start_state(layer, row=row)[channel]
    left = np.empty(step + 1, dtype=np.complex128)
    weight = 1.0 + 0j
    for s in range(step, -1, -1):
        left[s] = weight * layer.entered[row, s, channel]
        weight *= factor[s]
    return left.real, float((weight * start).real)


def channel_parts(trace: Trace, layer: int, channel: int, step: int, events: Events) -> View:
    """Signed bars of what each event left in the channel, with the sum, the state, and the error between them."""
    record = trace.layers[layer]
    question = f"Which events fill channel {channel} after event {events.first + step}?"
    if record.state is None or record.decay is None or record.entered is None:
        note = "This layer keeps no running state, so there is nothing to take apart."
        return nothing(question, note)
    left, start = parts(record, channel, step)
    state = float(record.state[0, step, channel].real)
    error = abs(left.sum() + start - state)
    bars = np.zeros(len(events))
    bars[: step + 1] = left
    bar = {
        "type": "bar",
        "x": events.numbers,
        "y": bars,
        "marker": {"color": np.where(bars >= 0, ROLES["positive"], ROLES["negative"]).tolist(), "line": {"width": 0}},
        "customdata": events.titles,
        "hovertemplate": "event %{x}: %{customdata}<br>%{y:+.3~g}<extra></extra>",
    }
    figure = new_figure(
        [bar],
        height=220,
        x_title="event",
        y_title="left in the channel",
        x=events_axis(events),
        y={"zeroline": True, "zerolinecolor": ROLES["quiet"]},
        shapes=[cursor(events.first + step)],
        bargap=0.15,
    )
    table = events.frame().iloc[: step + 1].assign(**{"left in the channel": left}).iloc[::-1]
    return View(question=question, answer=_answer(left, start, state, error, events), figure=figure, table=table)


def _answer(left: NDArray[np.float64], start: float, state: float, error: float, events: Events) -> str:
    most = int(np.argmax(np.abs(left)))
    warm = f", the start {start:+.3g}" if start else ""
    total = number(float(left.sum() + start))
    return (
        f"Event {events.first + most} (“{events.titles[most]}”) left most, {left[most]:+.3g}. All bars{warm} add up to "
        f"{total}, and the channel holds {number(state)}: exact, with an error of {error:.0e}."
    )
