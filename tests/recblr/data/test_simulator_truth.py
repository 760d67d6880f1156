"""The true distribution is exact: it sums to 1, equals p_true, is calibrated, and follows Bayes' rule."""

from __future__ import annotations

import numpy as np
import pytest

from recblr.data.simulator import (
    Simulated,
    SimulatorConfig,
    bayes_ceiling,
    ceiling_by_cause,
    ranking_metrics,
    simulate,
    true_ranks,
)
from recblr.data.simulator.observer import Observer
from recblr.data.simulator.rules import UserTaste
from recblr.data.splits import Targets, leave_one_out
from recblr.errors import DataError


@pytest.fixture(scope="module")
def small() -> Simulated:
    return simulate(SimulatorConfig(n_users=200, seed=3))


def every_event(simulated: Simulated) -> Targets:
    log = simulated.log
    return Targets(users=np.repeat(np.arange(log.n_users), log.lengths()), positions=np.arange(log.n_events))


def test_p_true_is_the_distribution_at_the_item_that_came(small: Simulated) -> None:
    log = small.log
    assert log.catalog.n_items == 247
    for row in np.random.default_rng(0).choice(log.n_events, 200, replace=False).tolist():
        user = int(np.searchsorted(log.offsets, row, side="right")) - 1
        distribution = small.truth.next_item_distribution(user, row - int(log.offsets[user]))
        assert distribution.shape == (len(log.catalog),)
        assert distribution.sum() == pytest.approx(1.0, abs=1e-12)
        assert distribution.min() >= 0
        assert distribution[0] == 0
        assert distribution[log.items[row]] == pytest.approx(small.truth.p_true[row], rel=1e-6)


def test_the_true_probabilities_are_calibrated(small: Simulated) -> None:
    """Of the events whose likeliest item has probability p, a share p is that item, within four standard errors."""
    log, top, hit = small.log, [], []
    for user in range(log.n_users):
        items, times = log.sequence(user)
        observer = Observer(small.truth.world)
        for item, time in zip(items.tolist(), times.tolist(), strict=True):
            distribution = observer.distribution(time)
            top.append(distribution.max())
            hit.append(distribution.argmax() == item)
            observer.observe(item, time)
    p, hits = np.array(top), np.array(hit)
    for low, high in ((0, 0.07), (0.07, 0.1), (0.1, 0.2), (0.2, 0.9), (0.9, 1)):
        inside = (p > low) & (p <= high)
        assert inside.sum() > 100
        error = np.sqrt((p[inside] * (1 - p[inside])).sum()) / inside.sum()
        assert abs(hits[inside].mean() - p[inside].mean()) < 4 * error


def test_a_certain_outcome_has_the_probability_of_no_noise(small: Simulated) -> None:
    certain = np.isin(small.truth.names(), ["sequel", "echo", "recall", "fork"])
    noise = small.truth.config.share("noise")
    assert small.truth.p_true[certain] == pytest.approx(1 - noise + noise / 247, rel=1e-5)


def test_the_distribution_equals_bayes_rule_over_all_homes_and_coffees() -> None:
    """The running posterior equals enumerating every home aisle, and every coffee of each machine, from the start."""
    simulated = simulate(SimulatorConfig(n_users=4, seed=8))
    truth, shop = simulated.truth, simulated.truth.world.shop
    for user in range(4):
        own, times = (column.tolist() for column in simulated.log.sequence(user))
        items = truth.shop_items[own].tolist()
        home, coffee = shop.popularity.copy(), np.ones((len(shop.machines), len(shop.coffees)))
        observer = Observer(truth.world)
        for item, time in zip(items, times, strict=True):
            likely = UserTaste(home / home.sum(), coffee / coffee.sum(axis=1, keepdims=True))
            expected = probabilities(observer, time, likely)
            np.testing.assert_allclose(observer.distribution(time), expected, rtol=1e-9)
            home *= [probabilities(observer, time, likely._replace(home=one))[item] for one in np.eye(len(home))]
            for row in range(len(coffee)):
                for column in range(coffee.shape[1]):
                    sure = likely.coffee.copy()
                    sure[row] = np.eye(coffee.shape[1])[column]
                    coffee[row, column] *= probabilities(observer, time, likely._replace(coffee=sure))[item]
            observer.observe(item, time)


def probabilities(observer: Observer, time: int, taste: UserTaste) -> np.ndarray:
    return sum(branch.weight * branch.items for branch in observer.branches(time, taste))


def test_the_future_never_moves_a_distribution(small: Simulated) -> None:
    truth, log = small.truth, small.log
    before = truth.next_item_distribution(0, 12)
    cut = Observer(truth.world)
    for item, time in zip(*(column[:12].tolist() for column in log.sequence(0)), strict=True):
        cut.observe(item, time)
    np.testing.assert_array_equal(cut.distribution(int(log.sequence(0)[1][12])), before)


def test_the_event_to_come_has_a_distribution_and_a_later_one_has_none(small: Simulated) -> None:
    length = int(small.log.lengths()[0])
    assert small.truth.next_item_distribution(0, length).sum() == pytest.approx(1.0)
    for position in (-1, length + 1):
        with pytest.raises(DataError, match=f"position {position} is outside 0..{length}"):
            small.truth.next_item_distribution(0, position)


def test_the_ceiling_lies_well_above_popularity(small: Simulated) -> None:
    targets = leave_one_out(small.log).test
    counts = np.bincount(small.log.items, minlength=len(small.log.catalog))
    popular = (np.argsort(np.argsort(-counts)) + 1.0)[small.log.items[targets.positions]]
    assert bayes_ceiling(small, targets)["HR@10"] > 3 * ranking_metrics(popular)["HR@10"] > 0


def test_the_true_ranking_solves_the_planted_causes_and_not_the_noise(small: Simulated) -> None:
    by_cause = ceiling_by_cause(small, every_event(small), k=1)
    assert list(by_cause) == ["taste", "sequel", "echo", "recall", "habit", "fork", "trend", "noise"]
    assert all(by_cause[name]["HR@1"] == 1.0 for name in ("sequel", "echo", "recall", "fork"))
    assert by_cause["habit"]["HR@1"] > 0.98
    assert by_cause["noise"]["HR@1"] < 0.03
    assert sum(row["targets"] for row in by_cause.values()) == small.log.n_events


def test_ranks_do_not_depend_on_the_order_of_the_targets(small: Simulated) -> None:
    every = every_event(small)
    some = np.random.default_rng(1).choice(len(every), 300, replace=False)
    mixed_up = Targets(users=every.users[some], positions=every.positions[some])
    in_order = Targets(users=every.users[np.sort(some)], positions=every.positions[np.sort(some)])
    np.testing.assert_array_equal(true_ranks(small, mixed_up)[np.argsort(some)], true_ranks(small, in_order))


def test_ranking_metrics_are_those_computed_by_hand() -> None:
    metrics = ranking_metrics(np.array([1.0, 3.0, 11.0, 2.0]), k=10)
    assert metrics["HR@10"] == 0.75
    assert metrics["NDCG@10"] == pytest.approx((1 + 1 / 2 + 1 / np.log2(3)) / 4)
    assert metrics["MRR@10"] == pytest.approx((1 + 1 / 3 + 1 / 2) / 4)
    assert metrics["MRR"] == pytest.approx((1 + 1 / 3 + 1 / 2 + 1 / 11) / 4)


def test_unlikely_items_tie_in_the_middle_of_their_ranks() -> None:
    """Noise alone decides among the items of the desk: those of equal probability share the mean of their ranks."""
    simulated = simulate(SimulatorConfig(n_users=20, causes=("taste", "noise"), shares={"noise": 0.9}))
    ranks = true_ranks(simulated, every_event(simulated))
    assert ranks.min() >= 1
    assert ranks.max() <= simulated.log.catalog.n_items
    assert np.allclose(ranks * 2, np.rint(ranks * 2))
