"""How a page shows a figure: its question, its answer, the picture, and on request the numbers and the Python."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import streamlit as st

from recblr.figures import View

_CONFIG = {"displayModeBar": False, "responsive": True}


# The first figure should be on the first screen: Streamlit leaves six lines of space above every page.
_CLOSER = "<style>.stMainBlockContainer { padding-top: 3.6rem; }</style>"


def page_title(text: str) -> None:
    """The question that a page answers."""
    st.html(_CLOSER)
    st.header(text, anchor=False)


def show(view: View, *, key: str, code: str, on_select: Callable[[], None] | None = None) -> None:
    """Draw a view; `on_select` makes its points choosable and runs when one is chosen (read ``session_state[key]``)."""
    heading(view.question, view.answer)
    if view.figure is not None:
        choose = {} if on_select is None else {"on_select": on_select, "selection_mode": "points"}
        st.plotly_chart(view.figure, key=key, config=_CONFIG, alt=view.alt, **choose)
    numbers(view.table, key=key, code=code)


def heading(question: str, answer: str) -> None:
    """The question as a title, and the sentence that answers it."""
    st.markdown(f"##### {plain(question)}")
    st.markdown(plain(answer))


def numbers(table: pd.DataFrame, *, key: str, code: str) -> None:
    """The numbers of a figure and the Python that makes it again; built only when they are opened."""
    box = st.expander("Table and Python", key=f"{key}_numbers", on_change="rerun")
    if not box.open:
        return
    with box:
        if len(table):
            st.dataframe(table, hide_index=True, height=min(320, 60 + 35 * len(table)), key=f"{key}_table")
        st.code(code, language="python")


def plain(text: str) -> str:
    """Text that Markdown leaves as it is: titles come from a log and may hold any character."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]()<>#+-!|~$:" else letter for letter in text)


def selected(key: str) -> dict[str, float] | None:
    """The point of a Plotly chart that was chosen last, as x and y; None where there is none."""
    points = st.session_state.get(key, {}).get("selection", {}).get("points", [])
    return points[0] if points else None
