from __future__ import annotations

import numpy as np
import pytest

from recblr.data.log import Catalog, InteractionLog
from recblr.data.splits import Split, global_time, leave_one_out
from recblr.errors import ConfigError, DataError


def log_of(*times: list[int], has_times: bool = True) -> InteractionLog:
    """One user per list of event times; items are numbered in order of appearance."""
    flat = np.array([one for user in times for one in user], dtype=np.int64)
    ids = np.array(["", *(f"i{number}" for number in range(len(flat)))])
    return InteractionLog(
        name="toy",
        items=np.arange(1, len(flat) + 1, dtype=np.int32),
        times=flat,
        offsets=np.cumsum([0, *(len(user) for user in times)]).astype(np.int64),
        users=np.array([f"u{number}" for number in range(len(times))]),
        catalog=Catalog(ids=ids),
        has_times=has_times,
    )


def random_log(seed: int, n_users: int = 30, span: int = 60) -> InteractionLog:
    draw = np.random.default_rng(seed)
    return log_of(*(sorted(draw.integers(0, span, draw.integers(0, 12)).tolist()) for _ in range(n_users)))


def trained_positions(log: InteractionLog, split: Split) -> np.ndarray:
    ranges = [np.arange(log.offsets[user], split.train_end[user]) for user in range(log.n_users)]
    return np.concatenate(ranges)


def test_leave_one_out_tests_on_the_last_event_and_validates_on_the_one_before():
    split = leave_one_out(log_of([1, 2, 3, 4], [5, 6, 7]))
    assert split.test.positions.tolist() == [3, 6]
    assert split.valid.positions.tolist() == [2, 5]
    assert split.train_end.tolist() == [2, 5]
    assert split.test.users.tolist() == [0, 1]


def test_leave_one_out_lets_users_with_fewer_than_three_events_train_only():
    split = leave_one_out(log_of([1, 2], [], [3], [4, 5, 6]))
    assert split.test.users.tolist() == [3]
    assert split.train_end.tolist() == [2, 2, 3, 4]


def test_leave_one_out_refuses_a_log_where_nobody_has_three_events():
    with pytest.raises(DataError, match="no user has 3 events"):
        leave_one_out(log_of([1, 2], [3]))


def test_global_time_cuts_where_the_shares_say():
    split = global_time(log_of(list(range(10)), list(range(10))), valid_share=0.2, test_share=0.3)
    assert split.train_end.tolist() == [5, 15]
    assert split.valid.positions.tolist() == [5, 6, 15, 16]
    assert split.test.positions.tolist() == [7, 8, 9, 17, 18, 19]


def test_global_time_cuts_exactly_where_floating_point_falls_just_short():
    # 10 * (1 - 0.5 - 0.4) is 0.99.. in floating point; cutting at event 0 would leave nothing to train on.
    split = global_time(log_of(list(range(10))), valid_share=0.5, test_share=0.4)
    assert split.train_end.tolist() == [1]
    assert split.test.positions.tolist() == [6, 7, 8, 9]


def test_global_time_puts_events_tied_at_a_cut_into_the_later_part():
    split = global_time(log_of([0, 1, 2, 3, 4, 4, 4, 7, 8, 8]), valid_share=0.4, test_share=0.2)
    # event 4 of ten is at time 4 (the start of validation), event 8 at time 8 (the start of the test)
    assert split.train_end.tolist() == [4]
    assert split.valid.positions.tolist() == [4, 5, 6, 7]
    assert split.test.positions.tolist() == [8, 9]


@pytest.mark.parametrize("seed", range(20))
def test_global_time_never_trains_on_a_moment_as_late_as_a_target(seed):
    log = random_log(seed)
    split = global_time(log)
    trained = log.times[trained_positions(log, split)]
    valid, test = log.times[split.valid.positions], log.times[split.test.positions]
    assert trained.max() < valid.min()
    assert valid.max() < test.min()


@pytest.mark.parametrize("seed", range(20))
def test_global_time_uses_every_event_but_the_first_of_a_user_exactly_once(seed):
    log = random_log(seed)
    split = global_time(log)
    used = np.concatenate([trained_positions(log, split), split.valid.positions, split.test.positions])
    assert len(np.unique(used)) == len(used)
    unused = np.setdiff1d(np.arange(log.n_events), used)
    assert np.isin(unused, log.offsets[:-1]).all()


@pytest.mark.parametrize("seed", range(5))
def test_global_time_names_the_owner_of_each_target(seed):
    log = random_log(seed)
    for targets in (global_time(log).valid, global_time(log).test):
        assert (log.offsets[targets.users] < targets.positions).all()
        assert (targets.positions < log.offsets[targets.users + 1]).all()


def test_global_time_gives_no_target_to_a_user_whose_first_event_is_late():
    split = global_time(log_of(list(range(20)), [19], [18, 19]))
    assert 1 not in split.test.users
    assert split.test.positions[split.test.users == 2].tolist() == [22]


def test_global_time_refuses_a_log_without_times():
    with pytest.raises(DataError, match="has no times: use the leave-one-out split"):
        global_time(log_of([0, 0, 0], has_times=False))


def test_global_time_refuses_a_log_whose_events_are_all_at_one_moment():
    with pytest.raises(DataError, match="too few distinct times"):
        global_time(log_of([5, 5, 5, 5]))


def test_global_time_refuses_a_log_where_nobody_has_events_on_both_sides_of_a_cut():
    with pytest.raises(DataError, match="before and after each cut"):
        global_time(log_of(*([moment] for moment in range(20))))


@pytest.mark.parametrize("shares", [(0.0, 0.1), (0.1, 0.0), (0.5, 0.5), (-0.1, 0.3)])
def test_global_time_refuses_shares_that_leave_a_part_empty(shares):
    with pytest.raises(ConfigError, match="above 0, and their sum below 1"):
        global_time(log_of(list(range(20))), *shares)
