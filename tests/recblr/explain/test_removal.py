from dataclasses import replace

import numpy as np
import pytest

from recblr.backbones import REGISTRY
from recblr.errors import ExplainError, HistoryError
from recblr.explain import Variant, ask, explain, minimal_removal
from recblr.explain.outcomes import outcomes
from recblr.explain.question import padded


@pytest.fixture
def variant(history):
    return Variant(items=history.items, times=history.times)


@pytest.mark.parametrize(
    ("name", "preset"), [(name, preset) for name, cls in REGISTRY.items() for preset in cls.presets]
)
def test_a_removal_is_what_the_model_says_without_the_event(make, history, name, preset):
    model = make(name, preset)
    found = explain(model, history.items, history.times, target=10, contrast=11, method="removal")
    assert found.exactness == "intervention"
    whole = ask(model, history.items, history.times, target=10, contrast=11)
    for position in (0, 4, 8):
        keep = np.arange(9) != position
        one = padded([(history.items[keep], history.times[keep])])
        assert found.values[position] == pytest.approx(float(whole.logit()[0] - whole.logit(one)[0]), abs=1e-4)


def test_a_history_of_one_cannot_lose_its_event(make):
    with pytest.raises(HistoryError, match="history has one event"):
        explain(make("recblr"), [3], target=10, method="removal")
    with pytest.raises(HistoryError, match="history has one event"):
        minimal_removal(ask(make("recblr"), [3], target=10))


def test_removing_an_event_makes_one_gap_of_two(variant, history):
    closed = variant.remove(3)
    gaps = np.diff(history.times)
    assert np.diff(closed.times).tolist() == [*gaps[:2], gaps[2] + gaps[3], *gaps[4:]]
    assert closed.items.tolist() == [3, 1, 7, 9, 4, 1, 8, 5]


def test_every_edit_is_a_new_variant_that_knows_its_parent(variant):
    before = variant.items.tolist()
    edited = variant.remove(0).swap(0, 1).insert(2, 12).change_gap(1, 999).replace(0, 11).move(0, 3)
    assert variant.items.tolist() == before
    assert [len(one) for one in edited.ancestors()] == [9, 9, 9, 9, 8, 8, 9]
    assert edited.edits == (
        "remove 0",
        "swap 0 and 1",
        "insert item 12 before 2",
        "gap before 1 becomes 999 seconds",
        "replace 0 by item 11",
        "move 0 to 3",
    )
    with pytest.raises(ValueError, match="read-only"):
        edited.items[0] = 1


def test_edits_do_what_they_say(variant, history):
    assert variant.swap(0, 2).items.tolist() == [7, 1, 3, 2, 9, 4, 1, 8, 5]
    assert variant.move(0, 8).items.tolist() == [1, 7, 2, 9, 4, 1, 8, 5, 3]
    assert variant.move(8, 0).items.tolist() == [5, 3, 1, 7, 2, 9, 4, 1, 8]
    between = variant.insert(2, 12)
    assert between.items.tolist() == [3, 1, 12, 7, 2, 9, 4, 1, 8, 5]
    assert between.times[2] == history.times[1] + 3600
    assert variant.insert(9, 12).times[-1] == history.times[-1]
    assert variant.insert(9, 12, time=int(history.times[-1]) + 5).times[-1] == history.times[-1] + 5
    shifted = variant.change_gap(2, 10)
    assert np.diff(shifted.times).tolist() == [60, 10, *np.diff(history.times)[2:]]


@pytest.mark.parametrize(
    ("edit", "word"),
    [
        (lambda one: one.remove(9), "position 9 is outside the history: its positions run from 0 to 8"),
        (lambda one: one.remove(-1), "position -1 is outside"),
        (lambda one: one.change_gap(0, 5), "the first event has no gap"),
        (lambda one: one.change_gap(1, -5), "give 0 or more"),
        (lambda one: one.insert(0, 4, time=2**40), "puts an event before one that came earlier"),
        (lambda one: one.remove(*range(9)), "leaves no event"),
        (lambda one: one.insert(10, 4), "positions run from 0 to 9"),
    ],
)
def test_an_edit_that_cannot_be_says_why(variant, edit, word):
    with pytest.raises(HistoryError, match=word):
        edit(variant)


def test_the_minimal_removal_pushes_the_target_out_when_the_model_is_run_again(make, history):
    model = make("recblr")
    scores = ask(model, history.items, history.times, target=1).scores()[0].numpy()
    question = ask(model, history.items, history.times, target=int(np.argmax(scores[1:])) + 1)
    found = minimal_removal(question, k=2)
    assert found.found
    assert found.rank_before == 1
    again = question.scores(padded([(found.variant.items, found.variant.times)]))[0].numpy()
    assert 1 + (again[1:] > again[question.target]).sum() == found.rank_after > 2
    assert found.variant.items.tolist() == np.delete(history.items, found.positions).tolist()


def test_no_smaller_removal_would_have_done(make, history):
    model = make("recblr")
    question = ask(model, history.items, history.times, target=1)
    scores = question.scores()[0].numpy()
    question = ask(model, history.items, history.times, target=int(np.argmax(scores[1:])) + 1)
    found = minimal_removal(question, k=3)
    if len(found.positions) == 2:
        keep = [padded([(np.delete(history.items, p), np.delete(history.times, p))]) for p in range(9)]
        ranks = [1 + (s[1:] > s[question.target]).sum() for s in (question.scores(one)[0].numpy() for one in keep)]
        assert max(ranks) <= 3
    assert found.smallest


def test_popularity_cannot_be_talked_out_of_its_favourite(make, history):
    model = make("popularity")
    favourite = int(model.counts.argmax())
    found = minimal_removal(ask(model, history.items, target=favourite), k=1)
    assert not found.found
    assert found.positions == ()
    assert found.rank_after == found.rank_before == 1


def test_an_item_outside_the_top_cannot_be_pushed_out_of_it(make, history):
    question = ask(make("popularity"), history.items, target=int(make("popularity").counts[1:].argmin()) + 1)
    with pytest.raises(ExplainError, match="outside the top 2"):
        minimal_removal(question, k=2)
    with pytest.raises(ExplainError, match="k is 0"):
        minimal_removal(question, k=0)


def test_a_search_on_an_edited_history_begins_at_the_rank_that_the_history_has(make, history):
    """Also where items too old to be read were seen, and where the item taken out would lead the list."""
    model = make("recblr")
    asked = ask(model, history.items, history.times, target=10)
    scores = asked.scores()[0, 1:].numpy()
    best = [int(item) for item in 1 + np.argsort(-scores) if item + 1 != 10]
    asked = replace(asked, seen=asked.seen | set(best[:2]))
    edited = Variant(items=history.items, times=history.times).remove(0)
    rank = outcomes(asked, [edited], mask_seen=True).rank[0]
    assert rank < outcomes(asked, [edited]).rank[0]
    found = minimal_removal(asked.about(edited.items, edited.times), k=int(np.ceil(rank)), mask_seen=True)
    assert found.rank_before == rank
