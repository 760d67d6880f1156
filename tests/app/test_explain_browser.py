"""Why, What if and Trust in Chromium: what is drawn, what a click does, and that an address brings back its view."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from tests_app import settle

pytestmark = pytest.mark.browser

Visit = Callable[..., Any]
RECALL = "run=mixed/recblr&user=u0012&step=28"


def chart(page: Any, key: str, milliseconds: int | None = None) -> Any:
    """A figure, once it is drawn."""
    drawn = page.locator(f".st-key-{key} .js-plotly-plot")
    drawn.locator(".main-svg").first.wait_for(state="attached", timeout=milliseconds)
    return drawn


def fits(page: Any, width: int) -> bool:
    main = "document.querySelector('[data-testid=stMain]').scrollWidth"
    return bool(page.evaluate(f"Math.max(document.documentElement.scrollWidth, {main})") <= width)


def test_the_pages_draw_in_the_dark_theme_and_fit_a_phone(visit: Visit) -> None:
    for path, key in ((f"/why?{RECALL}", "waterfall"), (f"/what_if?{RECALL}", "movement")):
        page = visit(path, width=390, scheme="dark")
        chart(page, key)
        assert fits(page, 390), path
    page = visit("/trust?run=mixed/recblr", width=390, scheme="dark")
    page.get_by_test_id("stBaseButton-primary").filter(has_text="Measure").wait_for()
    assert fits(page, 390)


def point_at(page: Any, drawn: Any, x: float, y: float) -> None:
    """Move to a point of a figure, in pixels from its corner, until it is hovered: only then can it be clicked."""
    drawn.scroll_into_view_if_needed()
    box = drawn.bounding_box()
    page.mouse.move(box["x"] + x - 4, box["y"] + y - 4)
    page.mouse.move(box["x"] + x, box["y"] + y)
    drawn.locator(".hoverlayer .hovertext").first.wait_for()


def test_a_click_on_a_bar_of_the_waterfall_looks_at_its_event_and_the_address_brings_it_back(visit: Visit) -> None:
    page = visit(f"/why?{RECALL}")
    drawn = chart(page, "waterfall")
    bar = drawn.locator(".bars .point path").first  # the event that speaks most for the item
    drawn.scroll_into_view_if_needed()
    frame, box = drawn.bounding_box(), bar.bounding_box()
    x, y = box["x"] - frame["x"] + box["width"] / 2, box["y"] - frame["y"] + box["height"] / 2
    point_at(page, drawn, x, y)
    page.mouse.click(frame["x"] + x, frame["y"] + y)
    page.wait_for_url(re.compile("[?&]event=1(&|$)"))
    panel = page.locator(".st-key-event_panel")
    panel.get_by_text("by running the model again: rank 1 → ").wait_for()
    assert page.get_by_role("combobox", name=re.compile("Event looked at")).input_value().startswith("1 · Opal pass")
    again = visit("", address=page.url).locator(".st-key-event_panel")
    again.get_by_text("by running the model again").wait_for()
    assert again.locator("li").all_inner_texts() == panel.locator("li").all_inner_texts()


def test_the_event_looked_at_can_be_chosen_by_keys_alone_and_leads_to_its_removal(visit: Visit) -> None:
    page = visit(f"/why?{RECALL}")
    chart(page, "waterfall")
    box = page.get_by_role("combobox", name=re.compile("Event looked at"))
    box.focus()
    box.press("ArrowDown")
    page.get_by_role("option").first.wait_for()
    box.press("Enter")
    page.wait_for_url(re.compile("[?&]event=1(&|$)"))
    page.get_by_role("link", name="Remove it in What if").click()
    page.wait_for_url(re.compile("edits=0%3Aremove%3A1"))
    page.get_by_text("1 · from 0: remove event 1 (Opal pass)").wait_for()


def test_a_click_on_a_bar_over_time_looks_at_its_event(visit: Visit) -> None:
    page = visit(f"/why?{RECALL}")
    chart(page, "waterfall")
    profile = chart(page, "profile")
    profile.scroll_into_view_if_needed()
    box = profile.bounding_box()
    x = 64 + (1 - 0.5) * (box["width"] - 64 - 12) / 28  # the margins that views over events share
    point_at(page, profile, x, box["height"] / 2)
    box = profile.bounding_box()
    page.mouse.click(box["x"] + x, box["y"] + box["height"] / 2)
    page.wait_for_url(re.compile("[?&]event=1(&|$)"))
    page.locator(".st-key-event_panel").get_by_text("Event 1, “Opal pass”").wait_for()


def test_an_edit_of_what_if_stands_in_the_address_which_brings_back_the_same_lists(visit: Visit) -> None:
    page = visit(f"/what_if?{RECALL}&event=1")
    chart(page, "movement")
    page.get_by_role("button", name="Apply").click()
    page.wait_for_url(re.compile("edits=0%3Aremove%3A1"))
    page.get_by_text("falls from rank 1 to").wait_for()
    again = visit("", address=page.url)
    chart(again, "movement")
    assert (
        again.get_by_text("falls from rank 1 to").inner_text() == page.get_by_text("falls from rank 1 to").inner_text()
    )
    again.get_by_role("button", name="Back to its parent").click()
    again.get_by_text("stays at rank 1").wait_for()


def test_a_measured_cell_of_trust_leads_to_a_user_whose_explanation_opens(visit: Visit) -> None:
    page = visit("/trust?run=mixed/recblr&events=5&methods=Held+gates")
    page.get_by_test_id("stBaseButton-primary").filter(has_text="Measure").click()
    page.get_by_role("button", name="Cancel").wait_for()
    chart(page, "live_board", 240_000)  # a process is started, and has less of a busy machine than the pages
    page.get_by_role("button", name="Cancel").wait_for(state="hidden")
    settle(page)  # a click before the end of the measurement is drawn would be lost
    board = chart(page, "live_board")
    board.scroll_into_view_if_needed()
    box = board.bounding_box()
    x = box["x"] + 150 + 1.5 * (box["width"] - 150 - 12) / 5  # the second of five causes, right of the methods' names
    y = box["y"] + 8 + 18 * (box["height"] - 68) / (3 * 36)
    page.mouse.move(x - 4, y - 4)
    page.mouse.move(x, y)
    board.locator(".hoverlayer .hovertext").wait_for()
    page.mouse.click(x, y)
    page.wait_for_url(re.compile("cause=echo"))
    page.get_by_text("Who is behind Held gates, echo?").wait_for()
    page.get_by_role("link", name=re.compile("user u")).first.click()
    chart(page, "waterfall")
    page.get_by_text("True cause: event").wait_for()
