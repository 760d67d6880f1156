"""The app in Chromium: what only a browser can show."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.browser

Visit = Callable[..., Any]
TRACE = "/trace?run=mixed/recblr&user=u0002&step=20"


def heat_map(page: Any) -> Any:
    """The canvas, once its cells are drawn and what is above it no longer pushes it down."""
    page.wait_for_function("document.querySelector('.st-key-heatmap') !== null")
    canvas = page.locator(".st-key-heatmap canvas")
    canvas.wait_for(state="visible")
    before, now = None, canvas.bounding_box()
    while now != before:
        page.wait_for_timeout(250)
        before, now = now, canvas.bounding_box()
    return canvas


def x_of(page: Any, width: float, step: int) -> float:
    """Pixels from the left edge of a view over events to the middle of a step."""
    left, right = 64, 12  # the margins that all these views share
    events = int(page.locator(".st-key-strip .frame").get_attribute("aria-valuemax"))
    return left + (step - 0.5) * (width - left - right) / events


def url_has(page: Any, name: str, value: object) -> None:
    page.wait_for_url(re.compile(rf"[?&]{name}={re.escape(str(value))}(&|$)"))


@pytest.mark.parametrize("path", ["/", TRACE, "/trace?run=mixed/sasrec&user=u0002", "/compare?user=u0002"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1300, 390])
def test_a_page_draws_in_both_themes_and_on_a_phone_without_sideways_scrolling(
    visit: Visit, path: str, scheme: str, width: int
) -> None:
    page = visit(path, width=width, scheme=scheme)
    page.locator("h2").first.wait_for()
    if path.startswith("/trace"):
        heat_map(page)
    main = "document.querySelector('[data-testid=stMain]').scrollWidth"
    assert page.evaluate(f"Math.max(document.documentElement.scrollWidth, {main})") <= width


def test_a_click_on_a_cell_moves_the_step_the_channel_the_url_and_the_sentence(visit: Visit) -> None:
    page = visit(TRACE)
    box = heat_map(page).bounding_box()
    page.mouse.click(box["x"] + x_of(page, box["width"], 30), box["y"] + 3.5 * 20)
    url_has(page, "step", 30)
    page.wait_for_url(re.compile("channel="))
    page.get_by_text("After event 30,").first.wait_for()
    assert page.get_by_role("slider", name="Event last read").input_value() == "30"


def test_arrow_keys_move_the_cursor_at_once_and_the_url_follows(visit: Visit) -> None:
    page = visit(TRACE)
    heat_map(page)
    frame = page.locator(".st-key-heatmap .frame")
    frame.focus()
    for _ in range(5):
        frame.press("ArrowRight")
    strip = page.locator(".st-key-strip .frame")
    assert strip.get_attribute("aria-valuenow") == "25", "the strip waits for the server"
    url_has(page, "step", 25)
    page.get_by_text("After event 25,").first.wait_for()
    frame.press("Home")
    url_has(page, "step", 1)
    frame.press("ArrowDown")
    page.wait_for_url(re.compile("channel="))


def test_a_card_in_the_strip_moves_the_cursor(visit: Visit) -> None:
    page = visit(TRACE)
    heat_map(page)
    page.locator(".st-key-strip .card", has_text="event 22").click()
    url_has(page, "step", 22)
    assert page.locator(".st-key-strip .card.now .number").inner_text().startswith("event 22")


def test_pointing_at_a_cell_shows_arithmetic_that_is_right(visit: Visit) -> None:
    page = visit(TRACE)
    box = heat_map(page).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 10)
    text = page.locator(".st-key-heatmap output").inner_text()
    number = r"(−?[\d.]+(?:e[−+]?\d+)?)"
    found = re.search(rf"h\[\d+, \d+\] = {number} × {number} \+ {number} × {number} = {number}", text)
    assert found, text
    decay, before, write, entered, now = (float(one.replace("−", "-")) for one in found.groups())
    assert decay * before + write * entered == pytest.approx(now, abs=0.01 * (abs(before) + abs(entered) + 0.01))


def test_a_point_of_a_chart_over_events_moves_the_step(visit: Visit) -> None:
    page = visit(TRACE)
    chart = page.locator(".st-key-memory .js-plotly-plot")
    chart.scroll_into_view_if_needed()
    chart.locator(".bars .point path").nth(9).wait_for(state="attached")
    box = chart.bounding_box()
    x, y = box["x"] + x_of(page, box["width"], 10), box["y"] + box["height"] - 48
    page.mouse.move(x - 4, y - 5)
    page.mouse.move(x, y)
    chart.locator(".hoverlayer .hovertext").wait_for()  # only a bar that is pointed at can be clicked
    page.mouse.click(x, y)
    url_has(page, "step", 10)


def test_the_choice_follows_from_page_to_page_and_back(visit: Visit) -> None:
    page = visit(TRACE)
    heat_map(page)
    page.get_by_role("link", name="Compare", exact=True).click()
    page.get_by_text("What does each model recommend after event 20?").wait_for()
    url_has(page, "user", "u0002")
    page.get_by_role("link", name="Trace", exact=True).click()
    page.get_by_text("After event 20,").first.wait_for()
    url_has(page, "user", "u0002")
    page.go_back()
    page.get_by_text("event 20").first.wait_for()


def test_a_copied_link_opens_the_same_view_in_a_fresh_session(visit: Visit) -> None:
    page = visit("/trace?user=u0002&show=decay&layer=2&channel=3&step=7")
    heat_map(page)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator(".st-key-copy_link button").click()
    page.get_by_text("Copied").wait_for()
    link = page.evaluate("navigator.clipboard.readText()")
    again = visit("", address=link)
    heat_map(again)
    said = ".st-key-heatmap output"
    assert "run=" in link
    assert "user=" in link
    assert again.locator(said).inner_text() == page.locator(said).inner_text()


def test_a_new_user_moves_the_cursor_to_the_new_users_end(visit: Visit) -> None:
    page = visit("/trace?user=u0002&step=5")
    heat_map(page)
    page.get_by_role("combobox", name=re.compile("User")).click()
    page.get_by_role("combobox", name=re.compile("User")).fill("u0003")
    page.get_by_role("option", name="u0003").first.click()
    url_has(page, "user", "u0003")
    page.get_by_text("After event 26,").first.wait_for()


def test_pointing_at_an_item_marks_it_in_every_list(visit: Visit) -> None:
    page = visit("/compare?user=u0012&step=28")
    shared = page.locator(".st-key-toplists li.shared")
    shared.first.wait_for()
    item = shared.first.get_attribute("data-item")
    shared.first.hover()
    marked = page.locator(".st-key-toplists li.marked")
    assert marked.count() >= 2
    assert {marked.nth(n).get_attribute("data-item") for n in range(marked.count())} == {item}


def test_an_example_card_opens_its_view(visit: Visit) -> None:
    page = visit("/")
    page.get_by_role("link", name=re.compile("Open in Trace")).first.click()
    heat_map(page)
