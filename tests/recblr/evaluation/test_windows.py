from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from recblr.data.log import InteractionLog
from recblr.data.splits import Split, Targets, leave_one_out
from recblr.errors import ConfigError, DataError
from recblr.evaluation import windows as module
from recblr.evaluation.windows import (
    Windows,
    batches,
    one_window_a_target,
    shared_windows,
    some_users,
    targets_of,
    to_batch,
)

MakeLog = Callable[..., InteractionLog]


@pytest.fixture
def all_targets(random_log: InteractionLog) -> Targets:
    whole = Split(name="whole", train_end=random_log.offsets[1:], valid=no_targets(), test=no_targets())
    return targets_of(random_log, whole, "train")


def no_targets() -> Targets:
    return Targets(users=np.empty(0, dtype=np.int64), positions=np.empty(0, dtype=np.int64))


def answered(windows: Windows) -> np.ndarray:
    """Event that follows the step which answers for each target."""
    return windows.begin[windows.window] + windows.step + 1


@pytest.mark.parametrize(("max_len", "stride"), [(1, 1), (4, 1), (4, 2), (4, 4), (7, 3), (50, 25)])
def test_every_target_is_answered_right_before_it_from_enough_events_of_its_user(
    random_log: InteractionLog, all_targets: Targets, max_len: int, stride: int
) -> None:
    windows = shared_windows(random_log, all_targets, max_len, stride)
    start = random_log.offsets[all_targets.users]
    reach = all_targets.positions - start
    context = windows.step + 1
    assert np.array_equal(answered(windows), all_targets.positions)
    assert (windows.begin[windows.window] >= start).all()
    assert (windows.end - windows.begin <= max_len).all()
    assert (all_targets.positions <= windows.end[windows.window]).all()
    assert (context >= np.minimum(reach, max_len - stride + 1)).all()
    last_of_user = np.append(np.diff(all_targets.users) > 0, True)
    assert (context == np.minimum(reach, max_len))[last_of_user].all()


def test_a_history_that_fits_is_one_window(random_log: InteractionLog, all_targets: Targets) -> None:
    windows = shared_windows(random_log, all_targets, 50, 25)
    assert len(windows.begin) == len(np.unique(all_targets.users))


def test_scattered_targets_get_the_most_context_there_is(make_log: MakeLog) -> None:
    log = make_log([[1] * 20])
    targets = Targets(users=np.array([0, 0]), positions=np.array([9, 19]))
    windows = shared_windows(log, targets, 5, 3)
    assert windows.begin.tolist() == [14, 4]
    assert windows.end.tolist() == [19, 9]


def test_one_window_a_target_holds_the_most_recent_events(make_log: MakeLog) -> None:
    log = make_log([[1, 2, 3, 4, 5], [6, 7, 8]], times=[range(10, 15), range(20, 23)])
    windows = one_window_a_target(log, leave_one_out(log).test, 3)
    batch = to_batch(log, windows.begin, windows.end, "cpu")
    assert batch.items.tolist() == [[2, 3, 4], [6, 7, 0]]
    assert batch.times.tolist() == [[11, 12, 13], [20, 21, 0]]
    assert windows.step.tolist() == [2, 1]


def test_batches_hold_each_window_once_longest_first_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOKENS_A_BATCH", 40)
    length = np.array([3, 20, 7, 90, 7, 1, 1, 1, 1, 1])
    none = np.empty(0, dtype=np.int64)
    found = list(batches(Windows(begin=np.zeros_like(length), end=length, window=none, step=none), 4))
    assert sorted(np.concatenate(found).tolist()) == list(range(10))
    assert [length[rows].tolist() for rows in found] == [[90], [20, 7], [7, 3, 1, 1], [1, 1, 1]]


def test_the_parts_of_a_split_are_the_events_they_say(make_log: MakeLog) -> None:
    log = make_log([[1, 2, 3, 4], [5, 6], [7, 8, 9]])
    split = leave_one_out(log)
    positions = {part: targets_of(log, split, part).positions.tolist() for part in ("train", "valid", "test")}
    assert positions == {"train": [1, 5], "valid": [2, 7], "test": [3, 8]}
    held_out = targets_of(log, split, "held-out")
    assert held_out.positions.tolist() == [2, 3, 7, 8]
    assert held_out.users.tolist() == [0, 0, 2, 2]


def test_a_sample_of_users_keeps_all_their_targets_and_follows_the_seed(all_targets: Targets) -> None:
    some = some_users(all_targets, 5, seed=1)
    kept = np.unique(some.users)
    assert len(kept) == 5
    assert np.array_equal(some.positions, all_targets.positions[np.isin(all_targets.users, kept)])
    assert np.array_equal(some_users(all_targets, 5, seed=1).positions, some.positions)
    assert not np.array_equal(some_users(all_targets, 5, seed=2).positions, some.positions)
    assert some_users(all_targets, 10_000, seed=1) is all_targets


def test_choices_out_of_range_raise(random_log: InteractionLog, all_targets: Targets) -> None:
    with pytest.raises(ConfigError, match=r"stride is 5.*1\.\.4"):
        shared_windows(random_log, all_targets, 4, 5)
    with pytest.raises(ConfigError, match="max_users is 0"):
        some_users(all_targets, 0, seed=0)
    with pytest.raises(ConfigError, match="batch_size is 0"):
        next(batches(one_window_a_target(random_log, all_targets, 4), 0))
    with pytest.raises(ConfigError, match="no part 'tail'"):
        targets_of(random_log, leave_one_out(random_log), "tail")  # type: ignore[arg-type]


def test_a_first_event_cannot_be_a_target(make_log: MakeLog) -> None:
    log = make_log([[1, 2], [3, 4]])
    targets = Targets(users=np.array([0, 1]), positions=np.array([1, 2]))
    with pytest.raises(DataError, match="first event of user 'u1'"):
        one_window_a_target(log, targets, 5)
