"""The item strip component: the user's events on the shared x-axis, with cards of those around the cursor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from components.assets import script, style
from recblr.figures import Events
from recblr.figures.view import GUTTER, MARGIN, ROLES

CAUSE_COLORS = {
    "taste": "#7d8ca3",
    "sequel": "#d97a17",
    "echo": "#2f7fd6",
    "recall": "#8e63ce",
    "habit": "#2a9d5c",
    "fork": "#d6453d",
    "trend": "#b8860b",
}
"""The same colour for a cause on every page; the many events of taste are quiet, so that planted stories stand out."""

_HTML = """
<div class="frame" tabindex="0" role="slider"><canvas></canvas></div>
<div class="cards"></div>
<div class="bar"><button type="button" name="back" aria-label="one event back">◀</button>
<button type="button" name="on" aria-label="one event on">▶</button>
<button type="button" name="play">play</button>
<span class="causes"></span><span class="hint">Click an event, or use the arrow keys.</span></div>
"""

_component = st.components.v2.component("strip", html=_HTML, css=style("strip"), js=script("strip"))


def strip(events: Events, *, key: str, subject: str, step: int, on_move: Callable[[], None]) -> None:
    """Draw it; `on_move` runs when the reader moved, with ``st.session_state[key]["move"] = {step, channel}``."""
    _component(key=key, data=payload(events, subject=subject, step=step), on_move_change=on_move)


def payload(events: Events, *, subject: str, step: int) -> dict[str, Any]:
    """What the browser gets, with causes as indices into their names."""
    names = sorted(set(events.causes))
    colors = [CAUSE_COLORS.get(name, "#b9bdc4") for name in names]
    return {
        "subject": subject,
        "first": events.first,
        "last": events.last,
        "step": step,
        "channel": None,
        "titles": list(events.titles),
        "when": list(events.when),
        "pauses": list(events.pause_texts),
        "session_starts": events.session_starts.tolist(),
        "causes": [names.index(name) for name in events.causes],
        "cause_names": names,
        "cause_colors": colors,
        "cause_from": list(events.cause_from) or [0] * len(events),
        "color": ROLES["state"],
        "gutter": GUTTER,
        "margin": MARGIN,
        "alt": f"The user's {len(events)} events in order; arrow keys move from event to event.",
    }
