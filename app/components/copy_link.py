"""A button that copies the address of exactly this view."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from components.assets import script, style

_HTML = '<button type="button">Copy link</button><input hidden readonly aria-label="address of this view">'

_component = st.components.v2.component(
    "copy_link", html=_HTML, css=style("copy_link"), js=script("copy_link", shared=False)
)


def copy_link(choices: Mapping[str, str | None], *, key: str) -> None:
    """Draw it; `choices` are the parameters that the link names even where they stand at their default."""
    _component(key=key, data=dict(choices), width="content")
