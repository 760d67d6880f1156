from __future__ import annotations

import numpy as np
import pytest
import torch

from recblr.errors import ConfigError, DataError, RecblrError
from recblr.evaluation.ranking import metrics_from_ranks, rank_and_top, rank_of_target

INF = float("inf")


def top(scores: torch.Tensor, targets: torch.Tensor, banned: torch.Tensor | None = None) -> torch.Tensor:
    return rank_and_top(scores, targets, banned)[1]


@pytest.mark.parametrize(
    ("scores", "target", "rank"),
    [
        ([0, 5, 4, 3, 2], 1, 1),
        ([0, 5, 4, 3, 2], 3, 3),
        ([0, 5, 4, 3, 2], 4, 4),
        ([0, 1, 1, 1, 1], 2, 2.5),
        ([0, 7, 1, 1, 0], 2, 2.5),
        ([0, 7, 1, 1, 1], 3, 3),
        ([0, -INF, -INF, 1, -INF], 1, 3),
        ([0, INF, INF, 1, 2], 2, 1.5),
    ],
)
def test_a_rank_is_one_plus_the_items_above_plus_half_of_those_level(
    scores: list[float], target: int, rank: float
) -> None:
    assert rank_of_target(torch.tensor([scores]).float(), torch.tensor([target])).tolist() == [rank]


def test_padding_never_competes_whatever_its_score() -> None:
    targets = torch.tensor([1, 1, 1])
    scores = torch.tensor([[9.0, 3, 2], [3.0, 3, 2], [-INF, 3, 2]])
    assert rank_of_target(scores, targets).tolist() == [1, 1, 1]
    assert top(scores, targets).tolist() == [1, 1, 1]


def test_banned_items_leave_the_ranking_as_a_mask_and_as_ids_alike() -> None:
    scores = torch.tensor([[0.0, 5, 4, 4, 3, 2], [0.0, 5, 4, 4, 3, 2]])
    targets = torch.tensor([4, 3])
    ids = torch.tensor([[1, 2, 1], [1, 0, 0]])  # 0 stands for no item, an id may repeat
    mask = torch.zeros(2, 6, dtype=torch.bool)
    mask[0, [1, 2]] = True
    mask[1, 1] = True
    assert rank_of_target(scores, targets, ids).tolist() == [2, 1.5]
    assert rank_of_target(scores, targets, mask).tolist() == [2, 1.5]
    assert top(scores, targets, ids)[0] == 3


def test_a_target_seen_before_is_never_banned() -> None:
    scores = torch.tensor([[0.0, 5, 4, 3]])
    target = torch.tensor([2])
    assert rank_of_target(scores, target, torch.tensor([[1, 2]])).tolist() == [1]
    assert rank_of_target(scores, target, torch.tensor([[True, True, True, False]])).tolist() == [1]
    assert top(scores, target, torch.tensor([[1, 2]])).tolist() == [2]


def test_ranking_leaves_the_scores_as_they_were() -> None:
    scores = torch.tensor([[0.0, 5, 4, 3]])
    before = scores.clone()
    rank_of_target(scores, torch.tensor([2]), torch.tensor([[1]]))
    assert torch.equal(scores, before)


def test_a_target_that_shares_the_best_score_is_named_first() -> None:
    scores = torch.tensor([[0.0, 5, 5, 4]]).expand(3, -1)
    assert top(scores, torch.tensor([1, 2, 3])).tolist() == [1, 2, 1]


def test_infinite_scores_of_both_signs_are_ranked() -> None:
    scores = torch.tensor([[-INF, INF, 1, -INF]]).expand(3, -1)
    assert rank_of_target(scores, torch.tensor([1, 2, 3])).tolist() == [1, 2, 3]


def test_scores_that_are_not_numbers_raise_and_say_where() -> None:
    scores = torch.zeros(3, 4)
    scores[1, 2] = torch.nan
    with pytest.raises(RecblrError, match=r"NaN.*1 of 3 rows, first in row 1 at item 2"):
        rank_of_target(scores, torch.tensor([1, 1, 1]))


@pytest.mark.parametrize("target", [0, 4, -1])
def test_a_target_outside_the_catalogue_raises(target: int) -> None:
    with pytest.raises(DataError, match=r"items 1\.\.3"):
        rank_of_target(torch.zeros(1, 4), torch.tensor([target]))


def test_metrics_equal_a_table_computed_by_hand() -> None:
    metrics = metrics_from_ranks(np.array([1, 2.5, 10, 10.5, 21]))
    by_hand = {
        "HR@10": 0.6,
        "NDCG@10": (1 + 0.553295 + 0.289065) / 5,
        "MRR@10": (1 + 0.4 + 0.1) / 5,
        "HR@20": 0.8,
        "NDCG@20": (1 + 0.553295 + 0.289065 + 0.283804) / 5,
        "MRR@20": (1 + 0.4 + 0.1 + 0.095238) / 5,
    }
    assert metrics == pytest.approx(by_hand, abs=1e-6)


@pytest.mark.parametrize(("rank", "hit"), [(1, 1), (1.5, 0), (2, 0)])
def test_a_tie_for_the_first_place_is_no_hit_at_one(rank: float, hit: float) -> None:
    assert metrics_from_ranks(np.array([rank]), ks=(1,))["HR@1"] == hit


def test_metrics_of_no_target_and_of_no_cut_off_raise() -> None:
    with pytest.raises(DataError, match="no target"):
        metrics_from_ranks(np.array([]))
    with pytest.raises(ConfigError, match="cut-offs"):
        metrics_from_ranks(np.array([1.0]), ks=())
    with pytest.raises(ConfigError, match="cut-offs"):
        metrics_from_ranks(np.array([1.0]), ks=(0, 10))
