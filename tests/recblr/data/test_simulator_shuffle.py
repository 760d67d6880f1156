"""Order is what the planted causes live on: counting predictors solve each in order, and none once it is shuffled.

Every predictor counts, in half of the users, which item follows what it looks at, and is asked about the other half.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from recblr.data.read import read_log
from recblr.data.simulator import CAUSES, Truth, load_truth
from recblr.data.simulator.shop import OUTSIDE

MIXED = Path(__file__).parents[3] / "sample_data" / "mixed"
USERS = 1000


@dataclass
class History:
    """One user's events; times keep their place when items are shuffled."""

    items: list[int]
    times: list[int]
    causes: list[str]


Key = Callable[[History, int], Hashable]
"""What a predictor looks at before the event at a position."""


@pytest.fixture(scope="module")
def truth() -> Truth:
    return load_truth(MIXED, read_log(MIXED)[0])


@pytest.fixture(scope="module")
def in_order(truth: Truth) -> list[History]:
    log, names = truth.log, truth.names()
    histories = []
    for user in range(USERS):
        items, times = log.sequence(user)
        causes = names[log.offsets[user] : log.offsets[user + 1]]
        histories.append(History(items.tolist(), times.tolist(), causes.tolist()))
    return histories


@pytest.fixture(scope="module")
def shuffled(in_order: list[History]) -> list[History]:
    rng = np.random.default_rng(5)
    histories = []
    for history in in_order:
        order = rng.permutation(len(history.items)).tolist()
        histories.append(
            History([history.items[row] for row in order], history.times, [history.causes[row] for row in order])
        )
    return histories


def hit_rate(histories: list[History], cause: str, key: Key) -> float:
    """Share of a cause's events that the commonest item after the same key gets right."""
    counts: dict[Hashable, Counter[int]] = defaultdict(Counter)
    for history in histories[::2]:
        for position, item in enumerate(history.items):
            counts[key(history, position)][item] += 1
    best = {seen: counter.most_common(1)[0][0] for seen, counter in counts.items()}
    hits = [
        best.get(key(history, position)) == item
        for history in histories[1::2]
        for position, item in enumerate(history.items)
        if history.causes[position] == cause
    ]
    assert len(hits) > 300
    return float(np.mean(hits))


def at_lag(lag: int) -> Key:
    def key(history: History, position: int) -> Hashable:
        return history.items[position - lag] if position >= lag else None

    return key


def pause_and_item(history: History, position: int) -> Hashable:
    """The item two events before, and whether the pause after it was over six hours."""
    if position < 2:
        return None
    return history.items[position - 2], history.times[position - 1] - history.times[position - 2] > 6 * 3600


def pass_and_item(passes: set[int]) -> Key:
    """The latest pass in the history, and the item before."""

    def key(history: History, position: int) -> Hashable:
        held = next((item for item in reversed(history.items[:position]) if item in passes), None)
        return held, history.items[position - 1] if position else None

    return key


def copied_after_the_same_item(histories: list[History], cause: str) -> float:
    """Share of a cause's events that repeat what followed the same item when this user last had it."""
    hits = []
    for history in histories:
        followed: dict[int, int] = {}
        for position, item in enumerate(history.items[1:], start=1):
            before = history.items[position - 1]
            if history.causes[position] == cause:
                hits.append(followed.get(before) == item)
            followed[before] = item
    return float(np.mean(hits))


def usual_aisle(histories: list[History], truth: Truth) -> float:
    """Share of choices by taste that fall into the aisle this user had visited most until then."""
    aisle = truth.world.shop.aisle.tolist()
    hits = []
    for history in histories:
        visits: Counter[int] = Counter()
        for item, cause in zip(history.items, history.causes, strict=True):
            if visits and cause == "taste" and aisle[item] != OUTSIDE:
                hits.append(visits.most_common(1)[0][0] == aisle[item])
            if aisle[item] != OUTSIDE:
                visits[aisle[item]] += 1
    return float(np.mean(hits))


@pytest.mark.parametrize(("cause", "lag"), [("sequel", 1), ("echo", 4)])
def test_a_count_at_the_right_lag_solves_sequels_and_echoes_only_in_order(
    cause: str, lag: int, in_order: list[History], shuffled: list[History]
) -> None:
    assert hit_rate(in_order, cause, at_lag(lag)) > 0.98
    assert hit_rate(in_order, cause, at_lag(lag + 1)) < 0.15
    assert hit_rate(shuffled, cause, at_lag(lag)) < 0.15


def test_the_pass_solves_recall_only_in_order(truth: Truth, in_order: list[History], shuffled: list[History]) -> None:
    passes = set(truth.world.shop.rewards)
    assert hit_rate(in_order, "recall", pass_and_item(passes)) > 0.98
    assert hit_rate(shuffled, "recall", pass_and_item(passes)) < 0.15


def test_an_earlier_pair_solves_habits_only_in_order(in_order: list[History], shuffled: list[History]) -> None:
    assert copied_after_the_same_item(in_order, "habit") > 0.9
    assert copied_after_the_same_item(shuffled, "habit") < 0.15


def test_the_pause_solves_forks_only_in_order(in_order: list[History], shuffled: list[History]) -> None:
    assert hit_rate(in_order, "fork", pause_and_item) > 0.98
    assert hit_rate(shuffled, "fork", pause_and_item) < 0.15


def test_forks_are_a_toss_without_the_pause(in_order: list[History]) -> None:
    assert hit_rate(in_order, "fork", at_lag(1)) < 0.15
    assert hit_rate(in_order, "fork", at_lag(2)) < 0.6


@pytest.mark.parametrize("cause", ["echo", "recall", "habit"])
def test_a_markov_chain_is_at_chance_where_the_last_item_does_not_tell(cause: str, in_order: list[History]) -> None:
    assert hit_rate(in_order, cause, at_lag(1)) < 0.2


def test_shuffling_leaves_taste_alone(truth: Truth, in_order: list[History], shuffled: list[History]) -> None:
    before, after = usual_aisle(in_order, truth), usual_aisle(shuffled, truth)
    assert before > 0.5
    assert after == pytest.approx(before, abs=0.03)


def test_every_cause_but_taste_trend_and_noise_is_tested_here() -> None:
    assert set(CAUSES) == {"sequel", "echo", "recall", "habit", "fork"} | {"taste", "trend", "noise"}
