"""What other histories would lead to: ranks and lists of the model as it is run again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import recblr
from recblr.backbones import backbone, make_config
from recblr.errors import ExplainError
from recblr.explain import Variant, ask, minimal_removal
from recblr.explain.outcomes import outcomes
from recblr.explain.question import Question

ITEMS = 30


@pytest.fixture(scope="module")
def question() -> Question:
    torch.manual_seed(0)
    cls = backbone("recblr")
    model = cls(make_config(cls, n_items=ITEMS, max_len=12, d=8)).eval()
    return ask(model, [3, 9, 4, 17, 9, 2], [100, 200, 300, 400, 500, 600], target=5, contrast=7)


def given(question: Question) -> Variant:
    return Variant(items=question.items, times=question.times)


def test_ranks_scores_and_lists_are_those_of_the_scores(question: Question) -> None:
    variants = [given(question), given(question).remove(1), given(question).swap(0, 5)]
    found = outcomes(question, variants, k=4)
    for row, one in enumerate(variants):
        scores = question.about(one.items, one.times).scores()[0, 1:].numpy()
        assert found.rank[row] == 1 + (scores > scores[4]).sum()
        assert found.score[row] == pytest.approx(scores[4])
        assert found.lead[row] == pytest.approx(scores[4] - scores[6], abs=1e-6)
        np.testing.assert_array_equal(found.top[row], 1 + np.argsort(-scores, kind="stable")[:4])
        np.testing.assert_allclose(found.top_scores[row], np.sort(scores)[::-1][:4], rtol=1e-5)


def test_seen_items_do_not_compete_on_request_those_of_the_variant_neither(question: Question) -> None:
    edited = given(question).replace(0, 20)
    found = outcomes(question, [edited], k=ITEMS, mask_seen=True)
    listed = set(found.top[0][found.top[0] > 0].tolist())
    assert listed == set(range(1, ITEMS + 1)) - set(question.items.tolist()) - {20}
    assert (found.top[0] == 0).sum() == ITEMS - len(listed)


def test_a_target_that_was_seen_still_has_a_rank(question: Question) -> None:
    seen = ask(question.model, question.items, question.times, target=9)
    found = outcomes(seen, [given(seen)], k=ITEMS, mask_seen=True)
    assert 9 in found.top[0]
    assert np.isfinite(found.rank).all()


def test_a_history_longer_than_the_model_reads_counts_by_its_last_events(question: Question) -> None:
    long = Variant(items=[1, 2, 3] * 5, times=range(15))
    short = Variant(items=long.items[-12:], times=long.times[-12:])
    both = outcomes(question, [long, short])
    assert both.score[0] == both.score[1]


def test_the_rank_after_the_smallest_removal_is_the_one_that_the_search_verified() -> None:
    model = recblr.load("mixed/recblr")
    ids = [str(one) for one in model.run.catalog.ids[[4, 8, 15, 16, 23, 42]]]
    best = model.recommend(ids, k=1, mask_seen=False).rows[0].item
    question = ask(model, ids, target=best, mask_seen=False)
    found = minimal_removal(question, k=3)
    assert found.found
    assert outcomes(question, [found.variant]).rank[0] == found.rank_after > 3


def test_no_rank_is_refused(question: Question) -> None:
    with pytest.raises(ExplainError, match="k is 0"):
        outcomes(question, [given(question)], k=0)
