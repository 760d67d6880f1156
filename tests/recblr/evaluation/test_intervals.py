from __future__ import annotations

import numpy as np
import pytest

from recblr.errors import DataError
from recblr.evaluation import intervals
from recblr.evaluation.intervals import bootstrap_intervals, paired_difference, resample


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    ranks, users = np.random.default_rng(0).integers(1, 40, size=200).astype(float), np.arange(200)
    assert bootstrap_intervals(ranks, users) == bootstrap_intervals(ranks, users)
    assert bootstrap_intervals(ranks, users, seed=1) != bootstrap_intervals(ranks, users)


def test_a_draw_is_the_mean_over_the_targets_of_the_users_drawn() -> None:
    values = np.array([[1.0], [2.0], [4.0], [8.0]])
    users = np.array([7, 7, 3, 5])
    rows = {3: [4.0], 5: [8.0], 7: [1.0, 2.0]}
    picks = np.random.default_rng(5).integers(0, 3, size=(50, 3))
    by_hand = [np.mean([value for pick in draw for value in rows[(3, 5, 7)[pick]]]) for draw in picks]
    assert resample(values, users, draws=50, seed=5)[:, 0] == pytest.approx(np.array(by_hand))


def test_drawing_in_pieces_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values, users = np.random.default_rng(0).random((60, 2)), np.arange(60) // 2
    whole = resample(values, users, draws=25)
    monkeypatch.setattr(intervals, "_CELLS", 100)
    assert resample(values, users, draws=25) == pytest.approx(whole, rel=1e-12)  # a product of matrices may round


def test_targets_of_one_user_are_no_further_evidence() -> None:
    ranks, users = np.random.default_rng(0).integers(1, 40, size=100).astype(float), np.arange(100)
    once = bootstrap_intervals(ranks, users)
    repeated = bootstrap_intervals(np.repeat(ranks, 10), np.repeat(users, 10))
    assert {name: pytest.approx(ends) for name, ends in once.items()} == repeated


def test_the_interval_covers_the_true_value_about_95_times_in_100() -> None:
    generator = np.random.default_rng(11)
    ranks = np.where(generator.random((600, 120)) < 0.3, 1.0, 99.0)  # true HR@10 = 0.3
    ends = [bootstrap_intervals(row, np.arange(120), draws=300)["HR@10"] for row in ranks]
    covered = np.mean([low <= 0.3 <= high for low, high in ends])
    assert 0.94 <= covered <= 0.975


def test_four_times_the_users_halve_the_interval() -> None:
    generator = np.random.default_rng(2)
    ranks = np.where(generator.random(1600) < 0.3, 1.0, 99.0)
    width = {
        size: np.subtract(*bootstrap_intervals(ranks[:size], np.arange(size))["HR@10"][::-1]) for size in (400, 1600)
    }
    assert width[400] / width[1600] == pytest.approx(2, rel=0.15)


def test_a_paired_difference_cancels_what_both_runs_share() -> None:
    generator = np.random.default_rng(4)
    users = np.arange(400)
    a = generator.integers(1, 40, size=400).astype(float)
    b = np.where(generator.random(400) < 0.1, a + 5, a)  # never better than a, worse on a tenth
    paired = paired_difference(a, b, users)["NDCG@10"]
    low, high = bootstrap_intervals(a, users)["NDCG@10"]
    assert 0 < paired.low < paired.mean < paired.high
    assert paired.high - paired.low < (high - low) / 3


def test_a_run_does_not_differ_from_itself() -> None:
    ranks = np.arange(1.0, 30)
    for one in paired_difference(ranks, ranks, np.arange(29)).values():
        assert (one.mean, one.low, one.high) == (0, 0, 0)


def test_runs_on_other_targets_are_not_compared() -> None:
    with pytest.raises(DataError, match="3 and 2 targets"):
        paired_difference(np.ones(3), np.ones(2), np.arange(3))
    with pytest.raises(DataError, match="one user for each"):
        bootstrap_intervals(np.ones(3), np.arange(2))
