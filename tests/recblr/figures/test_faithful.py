"""Faithfulness of several models beside each other: between bounds of their own, and beside chance."""

from __future__ import annotations

import numpy as np
import pytest

from recblr.explain.faithfulness.erasure import NormalisedAOPC
from recblr.figures import faithful

FOUND = {
    "large": NormalisedAOPC(aopc=20.0, best=40.0, worst=0.0, depth=5),
    "small": NormalisedAOPC(aopc=0.9, best=1.0, worst=-1.0, depth=5),
    "silent": NormalisedAOPC(aopc=0.0, best=0.0, worst=0.0, depth=5),
}
CHANCE = {"large": np.array([2.0, 24.0]), "small": np.array([-0.5, 0.5]), "silent": np.zeros(2)}


def test_models_are_ordered_by_their_place_between_their_own_bounds_not_by_their_scores() -> None:
    view = faithful(FOUND, CHANCE, "A title", {"large": "Held gates"})
    assert view.table["model"].tolist() == ["small", "large", "silent"]
    assert view.table["normalised AOPC"].tolist()[:2] == pytest.approx([0.95, 0.5])
    assert np.isnan(view.table["normalised AOPC"][2])
    assert view.table["random, highest"].tolist()[:2] == pytest.approx([0.75, 0.6])
    assert view.question == "Does each model's explanation of “A title” name the events that count?"
    assert "small gets 0.95 of the way from the worst order to the best, large 0.50" in view.answer
    assert "Of 2 models, 2 are above the mean of random orders, 1 above them all." in view.answer
    assert "No event changes what is said by silent." in view.answer
    dots = view.figure.data[-1]
    assert (list(dots.y), list(dots.x)) == (["small", "large"], pytest.approx([0.95, 0.5]))


def test_where_nothing_can_be_drawn_it_is_said_why() -> None:
    alone = faithful({"silent": FOUND["silent"]}, CHANCE, "A title", {})
    assert alone.figure is None
    assert "no event changes what is said by silent" in alone.answer
    assert "could be asked" in faithful({}, {}, "A title", {}).answer
