"""What the tests of the app read off a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from streamlit.testing.v1 import AppTest

APP = Path(__file__).resolve().parents[2] / "app"


def shown(at: AppTest) -> str:
    """Everything that is said on a page, without the escapes of Markdown."""
    parts = [one.value for kind in (at.header, at.subheader, at.markdown, at.caption, at.info) for one in kind]
    return "\n".join(parts).replace("\\", "")


def told(at: AppTest) -> str:
    """What went wrong, in the page's words."""
    return "\n".join(one.value for kind in (at.error, at.warning) for one in kind).replace("\\", "")


def component(at: AppTest, name: str) -> dict[str, Any]:
    """The data that a component was given."""
    found = [one.proto for one in at.get("bidi_component") if one.proto.component_name.endswith(name)]
    assert len(found) == 1, f"{len(found)} components are called {name}"
    return json.loads(found[0].json)


def figures(at: AppTest) -> list[dict[str, Any]]:
    return [json.loads(one.proto.spec) for one in at.get("plotly_chart")]
