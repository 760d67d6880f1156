"""Figures of memory that ask the model again: after every event, after other pauses, after fewer events."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recblr.backbones import REGISTRY, make_config
from recblr.data.log import Catalog
from recblr.explain import ask
from recblr.explain.memory import GapResponse, LastItem, Lens, RecentItems, gap_response, lens
from recblr.figures import describe, needed, pauses, since_when
from recblr.figures.events import Events

DAY = 86_400
ITEMS = 30
CATALOG = Catalog(
    ids=np.array([""] + [f"i{n}" for n in range(1, ITEMS + 1)]),
    titles=np.array([""] + [f"Title {n}" for n in range(1, ITEMS + 1)]),
)


def events(count: int, first: int = 1) -> Events:
    return describe(1 + np.arange(count), DAY * np.arange(count), CATALOG, first=first)


def made(rank: list[float], *below: list[float]) -> Lens:
    ranks = np.array([*below, rank], dtype=np.float64)
    names = (*(f"layer {n + 1} · toy" for n in range(len(below))), "answer")
    return Lens(layers=names, rank=ranks, log_prob=-ranks, top=np.ones(ranks.shape, dtype=np.int64))


@pytest.mark.parametrize(
    ("ranks", "step", "words"),
    [
        ([9, 1, 4, 1, 1], 4, "and has done so since event 14, for 2 events"),
        ([9, 3, 1], 2, "after the event before, it stood at 3"),
        ([1, 1, 1], 2, "as after every event that it read"),
        ([9, 2, 7], 2, "highest it stood after event 12, at 2"),
        ([9, 8, 7], 2, "higher than after any event before"),
        ([9, 8, 1], 1, "After event 12 it ranks “Title 5” 8 of 30"),
    ],
)
def test_it_is_said_since_which_event_the_item_stands_where_it_stands(
    ranks: list[float], step: int, words: str
) -> None:
    view = since_when(made(ranks), 5, events(len(ranks), first=11), CATALOG, step=step)
    assert words in view.answer
    assert view.table["rank"].tolist() == ranks
    assert view.figure.layout.shapes[0]["x0"] == 11 + step


def test_a_layer_below_is_named_as_one_that_was_not_trained_to_be_read() -> None:
    view = since_when(made([4, 1], [20, 12.5]), 5, events(2), CATALOG, step=1)
    assert "not trained to be read so, it would stand: layer 1 · toy at 12.5." in view.answer
    assert view.table["rank, layer 1 · toy"].tolist() == [20, 12.5]
    assert len(view.figure.data) == 2


@pytest.mark.parametrize("name", REGISTRY)
def test_every_causal_backbone_is_asked_after_every_event_and_the_time_aware_ones_after_other_pauses(name: str) -> None:
    torch.manual_seed(0)
    cls = REGISTRY[name]
    model = cls(make_config(cls, n_items=ITEMS, max_len=50, d=8)).eval()
    question = ask(model, list(range(1, 8)), (DAY * np.arange(7)).tolist(), target=9)
    view = since_when(lens(question), 9, events(7), CATALOG, step=6)
    scores = question.scores()[0, 1:].double()
    own = 1 + int((scores > scores[8]).sum()) + (int((scores == scores[8]).sum()) - 1) / 2
    assert view.table["rank"].tolist()[-1] == own
    if cls.uses_time:
        view = pauses(gap_response(question, gaps=(0, DAY, 30 * DAY)), 9, CATALOG, event=7)
        assert view.table["rank of Title 9"].tolist()[1] == own
        assert "The pause was 1 day." in view.answer
        view.figure.to_json()


def test_a_pause_is_told_by_what_is_kept_and_by_what_is_recommended() -> None:
    found = GapResponse(
        position=3, gaps=np.array([0, DAY, 30 * DAY]), decay=np.array([[0.99, 0.97, 0.5], [0.999, 0.99, 0.91]]),
        layers=("layer 1", "layer 2"), logit=np.array([3.0, 2.0, 1.0]), rank=np.array([1.0, 2.0, 14.0]),
        top=np.array([5, 7, 7]), as_given=DAY,
    )  # fmt: skip
    view = pauses(found, 5, CATALOG, event=4)
    assert "The median channel of layer 2 keeps 99.9 % of the old state without a pause, 91.0 % after 30 days" in (
        view.answer
    )
    assert "“Title 5” stands at 1 without a pause and at 14 after 30 days" in view.answer
    assert "the first choice is “Title 5” without a pause and “Title 7” after 30 days" in view.answer
    assert view.figure.layout.shapes[0]["x0"] == 1
    assert view.table["as it was"].tolist() == [False, True, False]


def test_attention_has_ranks_but_nothing_that_fades() -> None:
    found = GapResponse(
        position=3, gaps=np.array([0, DAY]), decay=np.full((1, 2), np.nan), layers=("layer 1",),
        logit=np.zeros(2), rank=np.array([2.0, 2.0]), top=np.array([5, 5]), as_given=7,
    )  # fmt: skip
    view = pauses(found, 5, CATALOG, event=4)
    assert "No layer fades by itself" in view.answer
    assert "stands at 2 whatever the pause" in view.answer
    assert len(view.figure.data) == 1
    assert not view.figure.layout.shapes


def test_the_fewest_events_that_suffice_are_named_with_what_the_last_item_does() -> None:
    found = RecentItems(
        k95=4, counts=np.array([1, 2, 4, 50]), hit_rate=np.array([0.2, 0.5, 0.58, 0.6]), whole=0.6
    )  # fmt: skip
    last = LastItem(in_top=0.25, k=10, cosine=np.array([0.1, 0.3, 0.4]))
    view = needed(found, last, users=120)
    assert "Over 120 users, the last 4 events are the fewest that keep 95 % of its hit rate" in view.answer
    assert "HR@10 0.600 with up to 50 events" in view.answer
    assert "among its first 10 for 25 % of them" in view.answer
    assert "is 0.30 (median)" in view.answer
    assert view.table["part of that of all events"].tolist()[2] == pytest.approx(0.58 / 0.6)
    assert list(view.figure.data[1].x) == [4]
    assert "last item" not in needed(found, None, users=120).answer
