"""The item strip component: the user's events on the shared x-axis, with cards of those around the cursor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from components.assets import script, style
from recblr.figures import Events
from recblr.figures.view import GUTTER, MARGIN, ROLES

CAUSE_COLORS = (
    "#2f7fd6",
    "#d97a17",
    "#2a9d5c",
    "#d6453d",
    "#8e63ce",
    "#b8860b",
    "#c2569b",
    "#8a8f98",
    "#3a9fa8",
    "#7a8450",
)

_HTML = """
<div class="frame" tabindex="0" role="slider"><canvas></canvas></div>
<div class="cards"></div>
<div class="bar"><button type="button" name="back" aria-label="one event back">◀</button>
<button type="button" name="on" aria-label="one event on">▶</button>
<button type="button" name="play">play</button>
<span class="hint">Click an event, or use the arrow keys.</span></div>
"""

_component = st.components.v2.component("strip", html=_HTML, css=style("strip"), js=script("strip"))


def strip(events: Events, *, key: str, subject: str, step: int, on_move: Callable[[], None]) -> None:
    """Draw it; `on_move` runs when the reader moved, with ``st.session_state[key]["move"] = {step, channel}``."""
    _component(key=key, data=payload(events, subject=subject, step=step), on_move_change=on_move)


def payload(events: Events, *, subject: str, step: int) -> dict[str, Any]:
    """What the browser gets; causes as indices into their names, the quiet one (noise) in grey."""
    names = sorted(set(events.causes))
    colors = [ROLES["quiet"] if name == "noise" else CAUSE_COLORS[place % 7] for place, name in enumerate(names)]
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
