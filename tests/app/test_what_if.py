"""The What if page: every edit a variant with its parent, and every answer the model's own."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import edits
import pytest
from edits import Edit
from streamlit.testing.v1 import AppTest
from tests_app import component, figures, shown, told

import recblr
from recblr.data.log import InteractionLog
from recblr.errors import RecblrError
from recblr.explain import Variant

Open = Callable[..., AppTest]
RECALL = {"user": "u0012", "step": "28"}
TREE = "0:remove:1;0:gap:28:864000;1:swap:2:5"


@pytest.mark.parametrize(
    "edit",
    [
        Edit(parent=0, kind="remove", numbers=(5,)),
        Edit(parent=0, kind="swap", numbers=(2, 7)),
        Edit(parent=0, kind="gap", numbers=(4, 86400)),
        Edit(parent=0, kind="insert", numbers=(1,), item="a:b;c, d/é"),
    ],
)
def test_an_edit_is_read_back_as_it_was_written(edit: Edit) -> None:
    again = Edit(parent=1, kind="move", numbers=(1, 3))
    assert edits.read(edits.write([edit, again])) == [edit, again]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0:remove", "is no edit"),
        ("0:explode:3", "is no edit"),
        ("0:remove:-1", "whole numbers"),
        ("0:remove:²", "whole numbers"),
        ("1:remove:1", "not made before it"),
        ("0:insert:1", "is no edit"),
        (";".join(["0:remove:1"] * 41), "40 at most"),
    ],
)
def test_what_is_no_edit_is_refused_in_words(text: str, says: str) -> None:
    with pytest.raises(RecblrError, match=says):
        edits.read(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0:remove:4", "no event 4: the history has the events 1 to 3"),
        ("0:swap:1:0", "no event 0"),
        ("0:insert:5:i001", "no event 5"),
        ("0:replace:1:nothing", "“nothing” is not in the catalogue"),
        ("0:gap:1:60", "first event has no gap"),
        ("0:remove:1;1:remove:1;2:remove:1", "only event"),
    ],
)
def test_an_edit_that_cannot_be_made_names_the_event_as_the_page_does(
    sample_log: InteractionLog, text: str, says: str
) -> None:
    given = Variant(items=[1, 2, 3], times=[10, 20, 30])
    with pytest.raises(RecblrError, match=says):
        edits.variants(given, edits.read(text), sample_log.catalog)


def test_the_python_of_a_variant_makes_that_variant(sample_log: InteractionLog) -> None:
    given, catalog = Variant(items=[1, 2, 3, 4], times=[10, 20, 30, 40]), sample_log.catalog
    made = edits.read("0:remove:2;1:insert:4:i007;0:swap:1:2;2:gap:3:500;4:move:1:3;5:replace:2:i009")
    for number, variant in enumerate(edits.variants(given, made, catalog)):
        again = eval(edits.python(made, number), {"given": given, "catalog": catalog})
        assert again.items.tolist() == variant.items.tolist()
        assert again.times.tolist() == variant.times.tolist()


def test_the_address_makes_every_variant_with_its_parent_and_its_rank(app: Open, sample_log: InteractionLog) -> None:
    at = app("what_if", edits=TREE, **RECALL)
    assert not at.exception
    listed = at.radio(key="variant_list")
    texts = [one.replace("\\", "") for one in listed.options]
    assert listed.value == 3
    assert texts[0] == "0 · as given · rank 1"
    assert texts[3].startswith("3 · from 1: swap events 2 (")
    items, times = sample_log.sequence(sample_log.user_index["u0012"])
    ids, moments = sample_log.catalog.ids[items].tolist()[1:28], times.tolist()[1:28]
    model = recblr.load("mixed/recblr")
    scores = model.scores(ids, moments)
    target = sample_log.catalog.index["i247"]
    assert texts[1].endswith(f"rank {1 + (scores[1:] > scores[target]).sum()}")


def test_choosing_the_parent_undoes_and_forgets_nothing(app: Open) -> None:
    at = app("what_if", edits=TREE, **RECALL)
    next(one for one in at.button if one.label == "Back to its parent").click().run()
    assert at.radio(key="variant_list").value == 1
    assert len(at.radio(key="variant_list").options) == 4
    assert at.query_params["variant"] == "1"


def test_an_applied_edit_is_a_new_variant_of_the_one_shown_and_stands_in_the_address(app: Open) -> None:
    at = app("what_if", edits=TREE, variant="0", event="5", **RECALL)
    next(one for one in at.button if one.label == "Apply").click().run()
    assert not at.exception
    assert at.query_params["edits"] == TREE + ";0:remove:5"
    assert at.radio(key="variant_list").value == 4
    assert len(component(at, "strip")["titles"]) == 27
    assert "Edit variant 4" in shown(at)


def test_the_lists_before_and_after_are_the_models_own(app: Open, sample_log: InteractionLog) -> None:
    at = app("what_if", edits="0:remove:1", **RECALL)
    at.session_state["movement_numbers"] = True
    at.run()
    table = next(one.value for one in at.dataframe if "rank after" in one.value)
    items, times = sample_log.sequence(sample_log.user_index["u0012"])
    ids, moments = sample_log.catalog.ids[items].tolist(), times.tolist()
    model = recblr.load("mixed/recblr")
    for column, (first, last) in {"rank before": (0, 28), "rank after": (1, 28)}.items():
        best = model.recommend(ids[first:last], k=10, times=moments[first:last], mask_seen=False)
        drawn = table.dropna(subset=column).sort_values(column)
        assert drawn["item"].tolist() == [row.item for row in best]
    names: dict[str, Any] = {}
    exec(at.code[0].value, names)
    assert names["view"].answer in shown(at)
    assert len(figures(at)) == 1


def test_the_smallest_removal_is_found_on_request_and_verified(app: Open) -> None:
    assert "Switch the search on" in shown(app("what_if", **RECALL))
    at = app("what_if", smallest="true", **RECALL)
    assert "Without event" in shown(at)
    next(one for one in at.button if one.label == "Make it a variant").click().run()
    assert not at.exception
    rank = float(at.radio(key="variant_list").options[-1].rpartition(" ")[2])
    assert rank > 10
    assert "there is nothing to push it out of" in shown(at)


@pytest.mark.parametrize("what", ["Forget all before it", "Write nothing"])
def test_an_edit_inside_moves_the_list_and_its_python_says_the_same(app: Open, what: str) -> None:
    at = app("what_if", search="Inside the model", inside=what, event="28", **RECALL)
    assert not at.exception
    assert not told(at)
    said = next(line for line in shown(at).splitlines() if line.startswith("The state after event 28"))
    assert "from rank 1 to" in said
    at.session_state["inside_movement_numbers"] = True
    at.run()
    names: dict[str, Any] = {}
    exec(at.code[0].value, names)
    assert f"from rank 1 to {names['found'].after.rank:g}." in said
    assert f"by {names['found'].effect:+.3g} logits" in said


@pytest.mark.parametrize("what", ["Forget all before it", "Forget nothing"])
def test_the_first_event_has_nothing_before_it_to_forget(app: Open, what: str) -> None:
    at = app("what_if", search="Inside the model", inside=what, event="1", **RECALL)
    assert not at.exception
    assert not told(at)
    assert "Event 1 is the first: there is nothing before it to forget." in shown(at)


def test_an_edit_that_a_model_cannot_have_names_the_event_as_the_page_does(app: Open) -> None:
    at = app("what_if", run="mixed/deltanet", search="Inside the model", inside="Write nothing", event="28", **RECALL)
    assert not at.exception
    assert not told(at)
    assert "its gates cannot be held one by one" in shown(at)
    same = app(
        "what_if", search="Inside the model", inside="Paste the pinned state", event="28", pin="mixed/recblr~u0012~28",
        **RECALL,
    )  # fmt: skip
    assert "nothing was touched" in shown(same)
    assert "at event 28" in shown(same)
    assert "at event 27" not in shown(same)


def test_a_history_longer_than_the_model_reads_says_where_its_numbers_begin(app: Open) -> None:
    at = app("what_if", run="elsewhere/recblr", history=",".join("abc" * 10))
    assert not at.exception
    assert (
        "The model reads the last 12 of 30 events: these are numbered from 1 here, so its event 1 is event 19 on the "
        "other pages."
    ) in shown(at)


def test_ranks_inside_the_model_are_among_the_items_that_the_page_ranks(app: Open) -> None:
    inside = {"search": "Inside the model", "inside": "Forget all before it", "event": "28", "target": "i040"}
    ranks = []
    for unseen in ({}, {"unseen": "true"}):
        text = shown(app("what_if", **unseen, **inside, **RECALL))
        ranks.append(float(re.search(r"The state after event 28.* from rank (\S+) to", text)[1]))
    assert ranks[1] < ranks[0]  # items of the history stand before it and are left out


def test_a_history_that_is_not_edited_says_so(app: Open) -> None:
    text = shown(app("what_if", **RECALL))
    assert "Nothing is edited yet, so both sides are the same" in text
    assert "its score stays 9" in text
    assert "Nothing is edited yet" not in shown(app("what_if", edits="0:remove:1", **RECALL))


def test_the_state_of_the_pinned_user_is_pasted(app: Open) -> None:
    inside = {"search": "Inside the model", "inside": "Paste the pinned state"}
    assert "Nothing is pinned" in shown(app("what_if", **inside, **RECALL))
    assert "states of another model do not fit" in shown(
        app("what_if", pin="mixed/lrurec~u0002~20", **inside, **RECALL)
    )
    at = app("what_if", pin="mixed/recblr~u0002~20", **inside, **RECALL)
    assert not at.exception
    assert not told(at)
    said = next(line for line in shown(at).splitlines() if line.startswith("The state after event 28"))
    at.session_state["inside_movement_numbers"] = True
    at.run()
    names: dict[str, Any] = {}
    exec(at.code[0].value, names)
    assert f"to {names['found'].after.rank:g}." in said


def test_a_model_without_a_state_has_nothing_inside_to_edit(app: Open) -> None:
    at = app("what_if", run="mixed/sasrec", search="Inside the model", **RECALL)
    assert not at.exception
    assert "there is nothing inside to edit" in shown(at)


def test_edits_that_cannot_be_made_here_are_told_and_dropped(app: Open) -> None:
    at = app("what_if", edits="0:remove:500", **RECALL)
    assert not at.exception
    assert "There is no event 500" in told(at)
    assert at.radio(key="variant_list").options == ["0 · as given · rank 1"]
    assert "is no edit" in told(app("what_if", edits="<script>", **RECALL))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"variant": "9"}, "There is no variant “9”: the last is 0, which is shown."),
        ({"variant": "²"}, "There is no variant “²”"),
        ({"edit": "explode"}, "“explode” is no choice of “Edit” here"),
        ({"search": "Inside the model", "in_layer": "9"}, "“9” is no choice of “In layer” here: there is all, 1, 2."),
        ({"target": "nothing"}, "The target “nothing” is not in the catalogue"),
    ],
)
def test_what_an_address_asks_for_in_vain_is_named(app: Open, wrong: dict[str, str], says: str) -> None:
    at = app("what_if", **{**RECALL, **wrong})
    assert not at.exception
    assert not at.error
    assert says in told(at)
    assert at.radio(key="variant_list").options == ["0 · as given · rank 1"]


def test_the_only_event_cannot_be_removed(app: Open) -> None:
    at = app("what_if", history="i001", smallest="true")
    assert not at.exception
    assert "it cannot be left out" in shown(at)
    next(one for one in at.button if one.label == "Apply").click().run()
    assert not at.exception
    assert "This is the only event" in told(at)


def test_a_history_without_times_has_no_gap_to_change(app: Open) -> None:
    at = app("what_if", history="i001,i002", edit="Change a gap")
    assert "Change a gap" not in at.get("button_group")[0].options
    assert not at.exception


def test_a_link_to_other_edits_shows_the_last_of_them_whatever_was_looked_at_before(app: Open) -> None:
    at = app("what_if", edits=TREE, **RECALL)
    at.radio(key="variant_list").set_value(0).run()
    assert at.radio(key="variant_list").value == 0
    at.query_params.clear()
    for key, value in {**RECALL, "edits": "0:remove:1;1:remove:1"}.items():
        at.query_params[key] = value
    at.run()
    assert at.radio(key="variant_list").value == 2


def test_another_user_starts_without_the_edits_of_the_last(app: Open) -> None:
    at = app("what_if", edits=TREE, **RECALL)
    at.selectbox(key="user_box").set_value("u0002").run()
    assert not at.exception
    assert len(at.radio(key="variant_list").options) == 1
    assert "edits" not in at.query_params
