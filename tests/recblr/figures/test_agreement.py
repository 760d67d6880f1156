"""Agreement of lists, by hand-made lists."""

from __future__ import annotations

import pytest

from recblr.figures import horizons, jaccard, overlap, rbo, true_ranks
from recblr.trace import MemoryHorizon


def test_equal_lists_agree_fully_and_disjoint_ones_not_at_all() -> None:
    assert rbo("abcde", "abcde") == pytest.approx(1.0)
    assert jaccard("abcde", "edcba") == 1.0
    assert rbo("abc", "xyz") == jaccard("abc", "xyz") == 0.0


def test_overlap_at_the_top_weighs_more_than_at_the_bottom() -> None:
    assert rbo("abcde", "abxyz") > rbo("abcde", "xyzde") > 0
    assert jaccard("abcde", "abxyz") == jaccard("abcde", "xyzde")


def test_rank_biased_overlap_equals_its_definition_worked_by_hand() -> None:
    # Agreement at depths 1, 2, 3 of "abc" and "acb" is 1, 1/2, 1; with p = 0.5:
    # 1 * 0.5**3 + (0.5 / 0.5) * (1 * 0.5 + 0.5 * 0.25 + 1 * 0.125) = 0.125 + 0.75
    assert rbo("abc", "acb", p=0.5) == pytest.approx(0.875)
    assert rbo("acb", "abc", p=0.5) == pytest.approx(0.875)


def test_the_answer_names_the_closest_and_the_furthest_pair() -> None:
    view = overlap({"one": "abcde", "two": "abced", "three": "vwxyz"})
    assert "Closest are one and two" in view.answer
    assert "three" in view.answer
    assert view.table["items in both"].tolist() == [5, 0, 0]
    assert overlap({"one": "abc"}).figure is None


def test_the_true_item_is_placed_in_the_order_of_its_ranks() -> None:
    view = true_ranks({"far": 120.0, "near": 2.5}, "A title", 247)
    assert view.table["model"].tolist() == ["near", "far"]
    assert "near ranks it 2.5 of 247" in view.answer
    assert "1 of 2 models" in view.answer


def test_the_furthest_and_the_nearest_reach_are_named_with_their_days() -> None:
    near, far = MemoryHorizon(items=1, days=0.0, share=0.99), MemoryHorizon(items=30, days=12.5, share=0.9)
    view = horizons({"short": [near], "long": [None, far]})
    assert "layer 2 of long, 30 events, 12 days" in view.answer or "13 days" in view.answer
    assert "layer 1 of short, 1 event." in view.answer
    assert horizons({"counting": []}).figure is None
