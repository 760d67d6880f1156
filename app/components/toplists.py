"""The top lists component: several models' best items side by side, equal items joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from components.assets import script, style

_component = st.components.v2.component(
    "toplists", html='<div class="lists" role="group"></div>', css=style("toplists"), js=script("toplists")
)


def toplists(
    lists: Mapping[str, Sequence[tuple[str, str]]], *, key: str, truth: str | None, target: str | None, alt: str
) -> None:
    """Draw the lists: name of the model -> (item id, title), best first. `truth` is the id of what came next."""
    data = {
        "lists": [
            {"name": name, "items": [{"id": item, "title": title} for item, title in items]}
            for name, items in lists.items()
        ],
        "truth": truth,
        "target": target,
        "alt": alt,
    }
    _component(key=key, data=data)
