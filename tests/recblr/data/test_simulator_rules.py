"""The planted causes, checked on the shipped mixed log by the events that each planted one points to.

The regeneration test shows that the shipped log is what the simulator makes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from recblr.data.read import read_log
from recblr.data.simulator import CAUSES, Simulated, load_truth

MIXED = Path(__file__).parents[3] / "sample_data" / "mixed"
HOUR, DAY = 3600, 86_400


@pytest.fixture(scope="module")
def mixed() -> Simulated:
    log, _ = read_log(MIXED)
    return Simulated(log=log, truth=load_truth(MIXED, log))


def planted(mixed: Simulated, cause: str) -> Iterator[tuple[NDArray, NDArray, int, int, int]]:
    """(items, times, position, cause_pos, cue_pos) of every event of a cause."""
    log, truth = mixed.log, mixed.truth
    for row in np.flatnonzero(truth.cause == CAUSES.index(cause)).tolist():
        user = int(np.searchsorted(log.offsets, row, side="right")) - 1
        items, times = log.sequence(user)
        yield items, times, row - int(log.offsets[user]), int(truth.cause_pos[row]), int(truth.cue_pos[row])


def test_every_cause_is_plentiful(mixed: Simulated) -> None:
    share = np.bincount(mixed.truth.cause, minlength=len(CAUSES)) / mixed.log.n_events
    assert (share[1:] > 0.04).all()
    assert 0.38 < share[1:].sum() < 0.5
    assert share[CAUSES.index("noise")] == pytest.approx(0.08, abs=0.005)
    assert mixed.log.n_users == 2000
    assert 82_000 < mixed.log.n_events < 86_000
    assert 150 <= mixed.log.catalog.n_items <= 400


def test_titles_are_unique_and_every_item_occurs(mixed: Simulated) -> None:
    titles = mixed.log.catalog.titles
    assert titles is not None
    assert len(set(titles[1:].tolist())) == mixed.log.catalog.n_items
    assert np.bincount(mixed.log.items, minlength=len(mixed.log.catalog))[1:].min() > 0
    assert all(mixed.log.catalog.columns["text"][1:] != "")
    assert len(set(mixed.log.catalog.columns["aisle"][1:].tolist())) == 12


def test_a_sequel_follows_its_first_part_at_once(mixed: Simulated) -> None:
    sequel = mixed.truth.world.shop.sequel
    for items, _, position, cause_pos, cue_pos in planted(mixed, "sequel"):
        assert (cause_pos, cue_pos) == (position - 1, -1)
        assert sequel[items[cause_pos]] == items[position]


def test_an_echo_follows_its_first_part_after_the_lag(mixed: Simulated) -> None:
    refill, lag = mixed.truth.world.shop.echo, mixed.truth.config.echo_lag
    for items, _, position, cause_pos, cue_pos in planted(mixed, "echo"):
        assert (cause_pos, cue_pos) == (position - lag, -1)
        assert refill[items[cause_pos]] == items[position]


def test_a_reward_is_that_of_the_pass_held_when_it_was_redeemed(mixed: Simulated) -> None:
    shop, (low, high) = mixed.truth.world.shop, mixed.truth.config.recall_gap
    for items, _, position, cause_pos, cue_pos in planted(mixed, "recall"):
        assert cue_pos == position - 1
        assert items[cue_pos] == shop.redeem
        assert low <= cue_pos - cause_pos <= high
        assert shop.rewards[items[cause_pos]] == items[position]
        assert not any(item in shop.rewards for item in items[cause_pos + 1 : cue_pos].tolist())


def test_a_habit_repeats_the_coffee_that_followed_the_machine_before(mixed: Simulated) -> None:
    machines = set(mixed.truth.world.shop.machines.tolist())
    for items, _, position, cause_pos, cue_pos in planted(mixed, "habit"):
        assert cue_pos == position - 1
        assert items[cue_pos] in machines
        assert items[cause_pos] == items[position]
        assert items[cause_pos - 1] == items[cue_pos]


def test_habits_are_a_matter_of_the_user(mixed: Simulated) -> None:
    coffees = defaultdict(set)
    for items, _, position, _, cue_pos in planted(mixed, "habit"):
        coffees[int(items[cue_pos])].add(int(items[position]))
    shop = mixed.truth.world.shop
    assert all(len(chosen) == len(shop.coffees) for chosen in coffees.values())
    assert len(coffees) == len(shop.machines)


def test_the_pause_before_the_last_event_decides_a_fork(mixed: Simulated) -> None:
    fork = mixed.truth.world.shop.fork
    for items, times, position, cause_pos, cue_pos in planted(mixed, "fork"):
        assert (cause_pos, cue_pos) == (position - 2, position - 1)
        late = times[cue_pos] - times[cause_pos] >= mixed.truth.config.fork_hours * HOUR
        assert fork[items[cause_pos]][int(late)] == items[position]


def test_both_ways_of_each_fork_are_equally_likely(mixed: Simulated) -> None:
    late = defaultdict(list)
    for items, _, position, cause_pos, _ in planted(mixed, "fork"):
        first = int(items[cause_pos])
        late[first].append(int(items[position] == mixed.truth.world.shop.fork[first][1]))
    assert all(0.42 < np.mean(taken) < 0.58 for taken in late.values())
    assert np.mean([way for ways in late.values() for way in ways]) == pytest.approx(0.5, abs=0.025)


def test_what_fashion_sells_moves_through_the_aisles_with_the_date(mixed: Simulated) -> None:
    shop = mixed.truth.world.shop
    for items, times, position, cause_pos, cue_pos in planted(mixed, "trend"):
        assert (cause_pos, cue_pos) == (-1, -1)
        centre = (times[position] - mixed.truth.config.start) / DAY / 364 * shop.n_aisles % shop.n_aisles
        distance = abs(shop.aisle[items[position]] - centre)
        assert min(distance, shop.n_aisles - distance) < 1


def test_noise_is_uniform_over_the_items(mixed: Simulated) -> None:
    noise = mixed.log.items[mixed.truth.cause == CAUSES.index("noise")]
    counts = np.bincount(noise, minlength=len(mixed.log.catalog))[1:]
    chi_square = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
    degrees = len(counts) - 1
    assert abs(chi_square - degrees) < 4 * np.sqrt(2 * degrees)


def test_times_rise_in_sessions_with_weekends_and_nights(mixed: Simulated) -> None:
    log = mixed.log
    gaps = np.concatenate([np.diff(log.sequence(user)[1]) for user in range(log.n_users)])
    assert gaps.min() > 0
    assert not ((gaps > HOUR) & (gaps < DAY)).any()
    assert 0.6 < (gaps <= HOUR).mean() < 0.85
    weekday = (log.times // DAY + 3) % 7
    assert (weekday >= 5).mean() > 2 / 7 + 0.1
    hour = log.times % DAY // HOUR
    assert ((hour >= 18) & (hour < 22)).mean() > 3 * ((hour >= 2) & (hour < 6)).mean() > 0
