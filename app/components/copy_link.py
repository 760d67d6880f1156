"""A button that copies the address of exactly this view."""

from __future__ import annotations

import streamlit as st

from components.assets import script, style

_HTML = '<button type="button">Copy link</button><input hidden readonly aria-label="address of this view">'

_component = st.components.v2.component(
    "copy_link", html=_HTML, css=style("copy_link"), js=script("copy_link", shared=False)
)


def copy_link(*, key: str) -> None:
    """Draw it."""
    _component(key=key)
