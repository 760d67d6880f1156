"""The shared choices: every page opens on every kind of address, and says what it could not do."""

from __future__ import annotations

from collections.abc import Callable

import links
import pytest
from streamlit.testing.v1 import AppTest
from tests_app import component, shown, told

Open = Callable[..., AppTest]
PAGES = ("start", "trace", "why", "what_if", "compare")
NONSENSE = {
    "user": "nobody",
    "step": "9999",
    "layer": "-1",
    "show": "<script>",
    "head": "7",
    "channel": "NaN",
    "target": "no such item",
    "pin": "a~b~c~d",
    "models": ["gpt", "recblr"],
    "k": "0",
    "all": "perhaps",
    "unseen": "2",
    "unheard": "of",
}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_opens_with_its_defaults(app: Open, page: str) -> None:
    at = app(page)
    assert not at.exception
    assert not at.error
    assert at.header[0].value.endswith("?")


@pytest.mark.parametrize("page", PAGES)
def test_nonsense_in_the_address_falls_back_to_the_defaults(app: Open, page: str) -> None:
    at = app(page, **NONSENSE)
    assert not at.exception
    assert not at.error
    if page != "start":
        assert "There is no user “nobody”" in told(at)
        assert at.selectbox(key="user_box").value == next(iter(links.named_users("mixed")))


@pytest.mark.parametrize("run", ["none/such", "../../etc", "/etc/passwd"])
def test_no_address_leads_out_of_the_allowed_folders(app: Open, run: str) -> None:
    at = app("trace", run=run)
    assert not at.exception
    assert f"There is no run “{run}” in the allowed folders" in told(at)
    assert at.selectbox(key="run").value == "mixed/recblr"


@pytest.mark.parametrize("page", ["trace", "why", "what_if", "compare"])
@pytest.mark.parametrize(
    ("run", "says"),
    [
        ("broken/truncated", "model.safetensors"),
        ("broken/no-config", "config.yaml"),
        ("elsewhere/foreign", "another catalogue"),
        ("elsewhere/recblr", "not on this machine"),
    ],
)
def test_a_run_that_cannot_be_shown_says_why_and_the_others_still_work(
    app: Open, page: str, run: str, says: str
) -> None:
    at = app(page, run=run)
    assert not at.exception
    assert says in told(at)
    at.selectbox(key="run").set_value("mixed/recblr").run()
    assert not at.exception
    assert not told(at)
    assert "event" in shown(at)


def test_a_run_without_its_log_answers_for_a_typed_history(app: Open) -> None:
    at = app("trace", run="elsewhere/recblr", history="a, b,zzz\nc")
    assert not at.error
    assert "1 of the typed ids are not in the catalogue of elsewhere/recblr: “zzz”" in told(at)
    strip = component(at, "strip")
    assert strip["titles"] == ["Apple", "Bread & <b>butter</b>", "*Cake*"]
    assert strip["when"] == ["", "", ""]
    assert at.slider(key="step_slider").value == 3


def test_a_typed_history_of_unknown_ids_alone_says_so_and_shows_the_user(app: Open) -> None:
    at = app("trace", history="nothing, known")
    assert "2 of the typed ids" in told(at)
    assert "After event" in shown(at)


def test_a_typed_history_of_ten_thousand_items_is_cut_to_what_the_model_reads(app: Open) -> None:
    at = app("trace", run="elsewhere/recblr", history=",".join("abcd" * 2500))
    assert not at.exception
    assert not at.error
    strip = component(at, "strip")
    assert (strip["first"], strip["last"], len(strip["titles"])) == (9989, 10000, 12)
    at.slider(key="step_slider").set_value(7).run()
    assert not at.exception
    strip = component(at, "strip")
    assert strip["first"] <= 7 <= strip["last"]


def test_a_typed_history_of_one_item_is_traced(app: Open) -> None:
    at = app("trace", run="elsewhere/recblr", history="a")
    assert not at.exception
    assert not at.error
    assert "that event alone (Apple)" in shown(at)


def test_a_new_user_puts_the_step_back_to_the_last_but_one_event(app: Open) -> None:
    at = app("trace", user="u0002", step="5")
    assert at.slider(key="step_slider").value == 5
    at.selectbox(key="user_box").set_value("u0003").run()
    assert at.slider(key="step_slider").value == at.slider(key="step_slider").max - 1


def test_a_random_user_is_another_user_of_the_log(app: Open) -> None:
    at = app("trace", user="u0002")
    next(one for one in at.button if one.label == "Random user").click().run()
    assert not at.exception
    assert at.selectbox(key="user_box").value != "u0002"
    assert not told(at)


def test_a_pinned_history_stays_beside_the_next_one_until_it_is_unpinned(app: Open) -> None:
    at = app("trace", user="u0002", step="9")
    next(one for one in at.button if one.label == "Pin").click().run()
    at.selectbox(key="user_box").set_value("u0003").run()
    assert "Pinned, user u0002 in mixed/recblr: After event 9," in shown(at)
    next(one for one in at.button if one.label == "Unpin").click().run()
    assert "Pinned" not in shown(at)


def test_an_item_asked_about_is_ranked_and_kept_by_its_id(app: Open) -> None:
    at = app("trace", target="i001")
    assert "asked about, it ranks" in shown(at)
    assert at.query_params["target"] == "i001"
    again = app("trace", target="1' OR 1=1")
    assert "asked about" not in shown(again)
    assert "target" not in again.query_params
