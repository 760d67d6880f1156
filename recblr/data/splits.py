"""Which events a model may learn from, and which it is asked about.

A split is positions into a log's CSR arrays; the history of a target is the view
``items[offsets[user]:position]``, so no prefix is ever copied.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recblr.data.log import InteractionLog
from recblr.errors import ConfigError, DataError


@dataclass(frozen=True, kw_only=True)
class Targets:
    """Events to predict from what came before them."""

    users: NDArray[np.int64]
    """[M] rows of the log's offsets."""
    positions: NDArray[np.int64]
    """[M] index of the target event in the log's items."""

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True, kw_only=True)
class Split:
    """Training part, validation targets, test targets."""

    name: str
    train_end: NDArray[np.int64]
    """[U] user u trains on events offsets[u]:train_end[u]."""
    valid: Targets
    test: Targets


def leave_one_out(log: InteractionLog) -> Split:
    """Last event of each user = test, second last = validation; users with fewer than 3 events only train."""
    start, end = log.offsets[:-1], log.offsets[1:]
    users = np.flatnonzero(end - start >= 3)
    if len(users) == 0:
        raise DataError(f"log {log.name!r}: no user has 3 events, so leave-one-out has nothing to test")
    train_end = end.copy()
    train_end[users] -= 2
    return Split(
        name="leave-one-out",
        train_end=train_end,
        valid=Targets(users=users, positions=end[users] - 2),
        test=Targets(users=users, positions=end[users] - 1),
    )


def global_time(log: InteractionLog, valid_share: float = 0.1, test_share: float = 0.1) -> Split:
    """Events after a moment T2 = test, between T1 and T2 = validation; T1 and T2 are quantiles of all event times.

    Events at T1 or T2 itself belong to the later part, so nothing trained on is as late as a validation target.
    An event with no earlier event of the same user is no target (there is nothing to predict from).
    """
    if not (valid_share > 0 and test_share > 0 and valid_share + test_share < 1):
        raise ConfigError(f"shares of {valid_share} and {test_share}: both must be above 0, and their sum below 1")
    if not log.has_times:
        raise DataError(f"log {log.name!r} has no times: use the leave-one-out split, or map a time column")
    moments = np.sort(log.times)
    # The small term keeps products such as 10 * (1 - 0.5 - 0.4) = 0.99.. from falling to the event before.
    cut_valid = moments[int(len(moments) * (1 - valid_share - test_share) + 1e-6)]
    cut_test = moments[min(len(moments) - 1, int(len(moments) * (1 - test_share) + 1e-6))]
    if not moments[0] < cut_valid < cut_test:
        raise DataError(f"log {log.name!r}: too few distinct times for a global time split")
    user_of = np.repeat(np.arange(log.n_users), log.lengths())
    first = np.zeros(log.n_events, dtype=bool)
    first[log.offsets[:-1][log.lengths() > 0]] = True
    is_valid = (log.times >= cut_valid) & (log.times < cut_test) & ~first
    is_test = (log.times >= cut_test) & ~first
    before = np.concatenate([[0], np.cumsum(log.times < cut_valid)])
    train_end = log.offsets[:-1] + before[log.offsets[1:]] - before[log.offsets[:-1]]
    valid, test = np.flatnonzero(is_valid), np.flatnonzero(is_test)
    if len(valid) == 0 or len(test) == 0:
        raise DataError(f"log {log.name!r}: no user has an event before and after each cut: use leave-one-out")
    return Split(
        name="global-time",
        train_end=train_end,
        valid=Targets(users=user_of[valid], positions=valid),
        test=Targets(users=user_of[test], positions=test),
    )


def by_user(log: InteractionLog, valid_share: float = 0.1, test_share: float = 0.1, seed: int = 0) -> Split:
    """A share of the users, drawn by `seed`, is held out for validation and one for the test; they do not train at all.

    Every event of a held-out user but the first is a target. Users with one event always train.
    """
    users = np.random.default_rng(seed).permutation(np.flatnonzero(log.lengths() >= 2))
    n_valid, n_test = round(len(users) * valid_share), round(len(users) * test_share)
    if min(n_valid, n_test) < 1 or n_valid + n_test >= len(users):
        raise DataError(
            f"log {log.name!r}: {len(users)} users with 2 events or more cannot give {n_valid} for validation,"
            f" {n_test} for the test and one to train on: use leave-one-out, or other shares"
        )
    train_end = log.offsets[1:].copy()
    train_end[users[: n_valid + n_test]] = log.offsets[users[: n_valid + n_test]]
    return Split(
        name="by-user",
        train_end=train_end,
        valid=_every_event(log, np.sort(users[:n_valid])),
        test=_every_event(log, np.sort(users[n_valid : n_valid + n_test])),
    )


def _every_event(log: InteractionLog, users: NDArray[np.int64]) -> Targets:
    """Every event but the first of each of `users` (rows of offsets, ascending)."""
    owner = np.repeat(users, log.lengths()[users] - 1)
    positions = np.concatenate([np.arange(log.offsets[user] + 1, log.offsets[user + 1]) for user in users])
    return Targets(users=owner, positions=positions)
