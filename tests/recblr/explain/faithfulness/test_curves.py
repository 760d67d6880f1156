"""Deletion and insertion curves, erasure and agreement, on a toy whose answer a person can work out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from recblr.backbones import SequentialBackbone
from recblr.backbones.base import BackboneConfig
from recblr.errors import ExplainError, HistoryError
from recblr.explain import ask, explain
from recblr.explain.attribution import Attribution
from recblr.explain.faithfulness.agreement import agreement, ranks, spearman
from recblr.explain.faithfulness.curves import curve, random_orders, usual_counts
from recblr.explain.faithfulness.erasure import erasure, normalised_aopc, random_aopc
from recblr.explain.faithfulness.reruns import run_again, whole
from recblr.explain.question import Question

N = 12
WORTH = np.array([5.0, -3.0, 2.0, 1.0, 0.5, 0.0, 0.0, 0.0])
"""What each event of the toy's history, items 1 to 8, adds to the logit of item 12."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Config(BackboneConfig):
    """Of the toy."""


class Sum(SequentialBackbone):
    """The logit of item 12 is the sum of what the items of the history are worth; all others are 0."""

    name, title, paper = "sum", "Sum", "none"

    def __init__(self) -> None:
        super().__init__(_Config(n_items=N, d=1, max_len=20))
        self.worth = torch.nn.Embedding(N + 1, 1)
        with torch.no_grad():
            self.worth.weight.zero_()
            self.worth.weight[1:9, 0] = torch.from_numpy(WORTH)

    def embed(self, items: Tensor) -> Tensor:
        vectors: Tensor = self.worth(items)
        return vectors

    def encode(self, embeddings: Tensor, mask: Tensor, times: Tensor) -> Tensor:
        return torch.cumsum(embeddings * mask[..., None], dim=1)

    def output_embedding(self) -> tuple[Tensor, None]:
        weights = torch.zeros(N + 1, 1)
        weights[N] = 1
        return weights, None

    def scores(self, hidden: Tensor) -> Tensor:
        logits = hidden @ self.output_embedding()[0].T
        logits[..., 0] = -torch.inf
        return logits


@pytest.fixture(scope="module")
def question() -> Question:
    return ask(Sum().eval().requires_grad_(False), list(range(1, 9)), target=N)


def test_parts_of_a_history_are_run_as_if_they_were_all_there_was(
    make: Callable[..., SequentialBackbone], history: SimpleNamespace
) -> None:
    question = ask(make("recblr"), history.items, history.times.tolist(), target=10, contrast=11)
    keep = np.random.default_rng(0).random((30, len(question))) < 0.6
    keep[:, 3] = True
    found = run_again(question, keep)
    for row, kept in enumerate(keep):
        alone = question.about(question.items[kept], question.times[kept])
        assert found.logit[row] == pytest.approx(alone.logit()[0], abs=1e-5)
        assert found.log_prob[row] == pytest.approx(float(alone.scores()[0, 1:].log_softmax(0)[9]), abs=1e-5)


def test_deleting_the_planted_events_first_falls_as_the_toy_says(question: Question) -> None:
    order = np.argsort(-WORTH, kind="stable")
    found = curve(question, order)
    assert found.counts.tolist() == list(range(1, 8))
    np.testing.assert_allclose(found.most.logit, WORTH.sum() - np.cumsum(WORTH[order])[:7])
    np.testing.assert_allclose(found.least.logit, WORTH.sum() - np.cumsum(WORTH[order[::-1]])[:7])
    assert found.before.logit == pytest.approx(WORTH.sum())
    assert found.beats().all()
    area = found.area()
    assert area["most"] < area["random"] < area["least"]


def test_inserting_is_keeping_the_same_events_alone(question: Question) -> None:
    order = np.argsort(-WORTH, kind="stable")
    found = curve(question, order, "insertion")
    np.testing.assert_allclose(found.most.logit, np.cumsum(WORTH[order])[:7])
    assert found.beats().all()


def test_deletion_of_the_least_is_insertion_of_the_most(
    make: Callable[..., SequentialBackbone], history: SimpleNamespace
) -> None:
    question = ask(make("gru4rec"), history.items, history.times.tolist(), target=10)
    n, order = len(question), np.random.default_rng(1).permutation(len(question))
    gone = curve(question, order, "deletion", counts=range(1, n), draws=1)
    kept = curve(question, order, "insertion", counts=range(1, n), draws=1)
    np.testing.assert_allclose(gone.least.logit[::-1], kept.most.logit, atol=1e-5)


def test_the_band_of_random_orders_contains_each_of_them(question: Question) -> None:
    drawn = random_orders(len(question), 20, seed=7)
    for order in drawn:
        found = curve(question, order, seed=7)
        low, mean, high = found.band()
        assert (low <= found.most.logit + 1e-9).all()
        assert (found.most.logit <= high + 1e-9).all()
        assert ((low <= mean) & (mean <= high)).all()


def test_nine_in_ten_random_attributions_lie_in_the_band(question: Question) -> None:
    inside = []
    first = curve(question, np.arange(8), seed=0)
    for order in random_orders(len(question), 60, seed=1):
        found = curve(question, order, beside=first)
        low, _, high = found.band()
        inside.append((low - 1e-9 <= found.most.logit) & (found.most.logit <= high + 1e-9))
    assert 0.8 < np.mean(inside) < 1


def test_a_random_order_does_not_beat_the_band(question: Question) -> None:
    first = curve(question, np.arange(8), seed=0)
    wins = [
        curve(question, order, beside=first).beats(edge=True).all()
        for order in random_orders(len(question), 40, seed=2)
    ]
    assert sum(wins) <= 2


def test_a_curve_beside_another_takes_over_its_draws_and_counts(question: Question) -> None:
    first = curve(question, np.arange(8), counts=[1, 4], draws=3, seed=5)
    found = curve(question, np.arange(8)[::-1], beside=first)
    assert found.random is first.random
    assert found.counts.tolist() == [1, 4]
    with pytest.raises(ExplainError, match="insertion curve of 8 events beside a deletion curve"):
        curve(question, np.arange(8), "insertion", beside=first)


def test_each_row_of_a_curves_table_has_its_band(question: Question) -> None:
    rows = curve(question, np.arange(8)).rows()
    assert [row["events"] for row in rows] == list(range(1, 8))
    assert all(row["rank_random_low"] <= row["rank_random_mean"] <= row["rank_random_high"] for row in rows)


@pytest.mark.parametrize(
    ("order", "options", "error", "words"),
    [
        ([0, 1], {}, ExplainError, "names each position from 0 to 7 once"),
        (range(8), {"counts": [8]}, ExplainError, "curves at 1 to 7 events"),
        (range(8), {"counts": []}, ExplainError, "curves at 1 to 7 events"),
        (range(8), {"draws": 0}, ExplainError, "at least 1 random order"),
    ],
)
def test_what_a_curve_cannot_be_drawn_of_is_said(
    question: Question, order: Any, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        curve(question, list(order), **options)


def test_a_history_of_one_has_no_curve(question: Question) -> None:
    alone = ask(question.model, [3], target=N)
    for measure in (curve, erasure, normalised_aopc, lambda asked, _: random_aopc(asked)):
        with pytest.raises(HistoryError, match="one event"):
            measure(alone, [0])


def test_an_attribution_of_another_target_is_refused(question: Question) -> None:
    other = explain(question.model, list(range(1, 9)), target=11, method="removal")
    with pytest.raises(ExplainError, match="another history or target"):
        curve(question, other)


@pytest.mark.parametrize("n", [2, 3, 13, 14, 200])
def test_counts_run_from_one_to_all_but_one(n: int) -> None:
    counts = usual_counts(n)
    assert counts[0] == 1
    assert counts[-1] == n - 1
    assert (np.diff(counts) > 0).all()
    assert len(counts) <= 12


def test_comprehensiveness_and_sufficiency_are_those_of_the_toy(question: Question) -> None:
    order = np.argsort(-WORTH, kind="stable")
    found = erasure(question, order, shares=(0.01, 0.25), measure="logit")
    assert found.counts.tolist() == [1, 2]
    np.testing.assert_allclose(found.without_top, [5, 7])
    np.testing.assert_allclose(found.top_alone, [WORTH.sum() - 5, WORTH.sum() - 7])
    assert found.comprehensiveness == pytest.approx(6)
    with pytest.raises(ExplainError, match="parts of the history"):
        erasure(question, order, shares=(1.5,))


def test_at_least_one_event_is_taken_out_and_one_is_left(question: Question) -> None:
    assert erasure(question, np.arange(8), shares=(0.001, 1.0)).counts.tolist() == [1, 7]


def test_the_best_order_of_the_toy_has_normalised_aopc_one_and_the_worst_zero(question: Question) -> None:
    order = np.argsort(-WORTH, kind="stable")
    best = normalised_aopc(question, order, depth=3, measure="logit")
    worst = normalised_aopc(question, order[::-1], depth=3, measure="logit")
    assert best.normalised == pytest.approx(1)
    assert worst.normalised == pytest.approx(0)
    assert best.aopc == pytest.approx((5 + 7 + 8) / 3)
    assert best.worst == pytest.approx((-3 - 3 - 3) / 3)
    middle = normalised_aopc(question, np.arange(8), depth=3, measure="logit")
    assert 0 < middle.normalised < 1


def test_the_area_of_random_orders_is_that_of_each_of_the_orders_drawn(question: Question) -> None:
    found = random_aopc(question, depth=3, draws=6, seed=2, measure="logit")
    orders = random_orders(8, 6, 2)
    by_hand = [normalised_aopc(question, order, depth=3, measure="logit").aopc for order in orders]
    np.testing.assert_allclose(found, by_hand, atol=1e-6)
    np.testing.assert_allclose(found, np.cumsum(WORTH[orders], axis=1)[:, :3].mean(axis=1), atol=1e-6)
    bounds = normalised_aopc(question, orders[0], depth=3, measure="logit")
    assert bounds.place(found)[0] == pytest.approx(bounds.normalised)
    with pytest.raises(ExplainError, match="at least 1"):
        random_aopc(question, draws=0)


def test_where_no_event_matters_no_order_is_better_than_another(make: Callable[..., SequentialBackbone]) -> None:
    found = normalised_aopc(ask(make("popularity"), [1, 2, 3, 4], target=5), np.arange(4))
    assert not found.decided
    assert found.normalised == 0.5
    assert found.place(np.array([1.0, -2.0])).tolist() == [0.5, 0.5]


def test_normalised_aopc_finds_pairs_that_only_work_together(
    make: Callable[..., SequentialBackbone], history: SimpleNamespace
) -> None:
    question = ask(make("sasrec"), history.items, history.times.tolist(), target=10)
    everything = normalised_aopc(question, np.arange(9), depth=2, width=9, candidates=9)
    greedy = normalised_aopc(question, np.arange(9), depth=2, width=1, candidates=9)
    before = float(whole(question).log_prob[0])
    falls = {}
    for a in range(9):
        for b in range(9):
            if a != b:
                keep = np.ones((2, 9), dtype=bool)
                keep[0, a] = keep[1, a] = keep[1, b] = False
                falls[a, b] = before - run_again(question, keep).log_prob.mean()
    assert everything.best == pytest.approx(max(falls.values()), abs=1e-5)
    assert everything.worst == pytest.approx(min(falls.values()), abs=1e-5)
    assert greedy.best <= everything.best + 1e-9


def test_ranks_share_places_and_correlation_is_spearmans() -> None:
    assert ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1, 3.5, 2]
    assert spearman(np.array([1.0, 2.0, 9.0]), np.array([0.1, 5.0, 5.1])) == pytest.approx(1)
    assert spearman(np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 1.0, 4.0, 3.0])) == pytest.approx(0.6)
    assert np.isnan(spearman(np.ones(3), np.arange(3.0)))


def _attribution(values: list[float], method: str, target: int = 12) -> Attribution:
    return Attribution(
        values=np.array(values, dtype=np.float64),
        items=np.arange(1, len(values) + 1),
        target=target,
        method=method,
        exactness="intervention",
        logit=float(sum(values)),
        remainder=0.0,
        error=0.0,
    )


def test_agreement_compares_every_pair() -> None:
    found = agreement([_attribution([1, 2, 3], "a"), _attribution([2, 4, 9], "b"), _attribution([3, 2, 1], "c")])
    np.testing.assert_allclose(found.correlation, [[1, 1, -1], [1, 1, -1], [-1, -1, 1]])
    assert found.same_first[0].tolist() == [True, True, False]
    assert [(row["method"], row["other"]) for row in found.rows()] == [("a", "b"), ("a", "c"), ("b", "c")]


def test_explanations_of_different_things_do_not_agree_or_disagree() -> None:
    one = _attribution([1, 2], "a")
    with pytest.raises(ExplainError, match="a and b explain different questions"):
        agreement([one, _attribution([1, 2], "b", target=11)])
    with pytest.raises(ExplainError, match="at least two methods"):
        agreement([one])
    with pytest.raises(HistoryError, match="one event"):
        agreement([_attribution([1], "a"), _attribution([1], "b")])
