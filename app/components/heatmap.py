"""The heat map component: a matrix on a canvas, with hover arithmetic, a click for step and channel, and arrow keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from components.assets import packed, script, style
from recblr.figures import Events
from recblr.figures.matrix import Arithmetic, Matrix
from recblr.figures.view import GUTTER, MARGIN, ROLES

LARGEST_MESSAGE = 480_000
"""Bytes of a message that still feels instant; above it the hover text names values and leaves out their arithmetic."""

_HTML = """
<div class="frame" tabindex="0" role="group"><canvas></canvas></div>
<div class="foot"><output aria-live="polite"></output>
<div class="legend" aria-label="colour range"><span></span><i></i><span></span></div></div>
"""

_component = st.components.v2.component("heatmap", html=_HTML, css=style("heatmap"), js=script("heatmap"))


def heatmap(
    drawn: Matrix,
    terms: Arithmetic | None,
    events: Events,
    *,
    key: str,
    subject: str,
    step: int,
    channel: int | None,
    alt: str,
    on_move: Callable[[], None],
) -> None:
    """Draw it; `on_move` runs when the reader moved, with ``st.session_state[key]["move"] = {step, channel}``."""
    data = payload(drawn, terms, events, subject=subject, step=step, channel=channel, alt=alt)
    _component(key=key, data=data, on_move_change=on_move)


def payload(
    drawn: Matrix,
    terms: Arithmetic | None,
    events: Events,
    *,
    subject: str,
    step: int,
    channel: int | None,
    alt: str,
) -> dict[str, Any]:
    """What the browser gets. `subject` names what is shown, so that a new user's cursor is not taken for a move."""
    rows, columns = drawn.values.shape
    data = {
        "subject": subject,
        "name": drawn.name,
        "rows": rows,
        "columns": columns,
        "values": packed(drawn.values),
        "terms": None if drawn.rows_are_events else _terms(terms, rows * columns),
        "low": drawn.low,
        "high": drawn.high,
        "signed": drawn.signed,
        "clipped": drawn.clipped,
        "rows_are_events": drawn.rows_are_events,
        "shares": drawn.shares,
        "row_numbers": drawn.rows.tolist(),
        "labels": list(drawn.labels),
        "titles": list(events.titles),
        "first": events.first,
        "last": events.last,
        "step": step,
        "channel": channel,
        "colors": _colors(drawn),
        "row_height": _row_height(rows, drawn.rows_are_events),
        "gutter": GUTTER,
        "margin": MARGIN,
        "alt": f"{alt} Left and right arrows move the event, up and down the channel.",
    }
    if drawn.rows_are_events:
        data["row_numbers"] = drawn.rows.tolist()
        data["labels"] = [str(number) for number in events.numbers]
    return data


def _terms(terms: Arithmetic | None, cells: int) -> dict[str, str | None] | None:
    if terms is None:
        return None
    arrays = {"decay": terms.decay, "state": terms.state, "start": terms.start}
    arrays |= {name: one for name, one in (("write", terms.write), ("phase", terms.phase)) if one is not None}
    bytes_sent = (cells + sum(array.size for array in arrays.values())) * 4 * 4 / 3
    return None if bytes_sent > LARGEST_MESSAGE else {name: packed(array) for name, array in arrays.items()}


def _colors(drawn: Matrix) -> dict[str, str]:
    if drawn.signed:
        return {"positive": ROLES["positive"], "negative": ROLES["negative"]}
    return {"positive": ROLES[drawn.quantity.role], "negative": ROLES["negative"]}


def _row_height(rows: int, rows_are_events: bool) -> int:
    """Pixels: tall enough to read a few rows, low enough to see all of many."""
    if rows <= 16:
        return 20
    return max(3, min(12, (420 if rows_are_events else 640) // rows))
