"""The event that a reader looks at: chosen in a list, or by a click on a bar, and told in a few sentences."""

from __future__ import annotations

import choices
import explain_choices
import links
import streamlit as st
from cache.sources import Asked
from choice import Choice
from draw import plain
from pages import PAGES

from recblr.explain import Attribution, Method
from recblr.figures import Events
from recblr.figures.reason import event_facts
from recblr.figures.waterfall import signed


def event_panel(
    choice: Choice,
    asked: Asked,
    method: Method,
    found: Attribution,
    events: Events,
    chosen: int | None,
    effects: tuple,
) -> None:
    """The list of events, and what the chosen one is, adds, and is worth; `effects`: (without each or None, now)."""
    with st.container(border=True, key="event_panel"):
        _box(found, events, chosen)
        if chosen is None:
            st.caption("Choose an event here, or click its bar in a figure: then it says what happens without it.")
            return
        without, now = effects
        facts = event_facts(found, events, chosen, choice.catalog, name=method.title, without=without, now=now)
        st.markdown("\n".join(f"- {plain(one)}" for one in facts))
        here = explain_choices.address(asked)
        with st.container(horizontal=True):
            links.link(PAGES["trace"].file, "See it in Trace", here | {"step": str(chosen)})
            if without is not None:
                gone = {"edits": f"0:remove:{chosen - events.first + 1}"}
                links.link(PAGES["what_if"].file, "Remove it in What if", here | gone)


def _box(found: Attribution, events: Events, chosen: int | None) -> None:
    def named(event: int) -> str:
        value = float(found.values[events.index(event)])
        return f"{event} · {events.title(event)} · {signed(value)}"

    st.session_state["event_box"] = chosen
    st.selectbox(
        "Event looked at",
        events.numbers.tolist(),
        index=None,
        format_func=named,
        key="event_box",
        placeholder="choose an event, or click a bar",
        on_change=_take,
    )


def _take() -> None:
    """Callback of the box."""
    event = st.session_state["event_box"]
    choices.keep("event", None if event is None else str(event))
