"""The registry of pages: a new page is one file in app_pages/ and one line here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cache
import streamlit as st


@dataclass(frozen=True, kw_only=True)
class PageInfo:
    """One page of the app."""

    name: str
    """File in app_pages/ without .py, and the path in the URL."""
    title: str
    question: str
    """What the page answers."""
    default: bool = False

    @property
    def file(self) -> str:
        return f"app_pages/{self.name}.py"


PAGES = {
    page.name: page
    for page in (
        PageInfo(name="start", title="Start", question="What is this, and what can I see in a minute?", default=True),
        PageInfo(name="trace", title="Trace", question="What does the model remember of this user, and since when?"),
        PageInfo(name="why", title="Why", question="Why was this item recommended, and not another?"),
        PageInfo(name="what_if", title="What if", question="What would change the recommendation?"),
        PageInfo(name="trust", title="Trust", question="Can these explanations be trusted?"),
        PageInfo(name="compare", title="Compare", question="Do other backbones agree, and do they look as far back?"),
        PageInfo(name="kernel", title="Kernel live", question="How fast is the scan, and is it right?"),
    )
}


def navigation() -> Any:
    """The page to run. The heavy imports start in the background, so that they are done when a page needs them."""
    cache.warm_up()
    return st.navigation(
        [
            st.Page(page.file, title=page.title, url_path=None if page.default else page.name, default=page.default)
            for page in PAGES.values()
        ],
        position="top",
    )
