"""Bootstrap intervals over users: how far a figure would move with other users of the same kind.

    M targets, U users, K metrics, R draws

Users are resampled, not targets: the targets of one user hang together. A draw of n users with replacement is a vector
of how often each was drawn, so a draw's metrics are one matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recblr.errors import DataError
from recblr.evaluation.ranking import gains, metric_names

_CELLS = 2_000_000
"""Draws x users that are held at once."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One metric of run A minus that of run B on the same targets."""

    mean: float
    low: float
    high: float
    """Ends of the interval; where it holds 0 the runs are not told apart."""


def resample(
    values: NDArray[np.float64], users: NDArray[np.int64], *, draws: int = 1000, seed: int = 0
) -> NDArray[np.float64]:
    """[R, K] mean over targets of `values` [M, K] in each draw of users; `users` [M] says whose target each is.

    A user's targets enter together, so a draw averages over as many targets as its users have.
    """
    if len(values) != len(users) or len(users) == 0:
        raise DataError(f"{len(values)} values and {len(users)} users: give one user for each of at least one target")
    _, owner = np.unique(users, return_inverse=True)
    n_users = int(owner.max()) + 1
    columns = [np.bincount(owner, weights=column, minlength=n_users) for column in values.T]
    totals = np.stack([*columns, np.bincount(owner, minlength=n_users)], axis=1)  # [U, K + 1]
    generator = np.random.default_rng(seed)
    chunk = max(1, _CELLS // n_users)
    means = []
    for begin in range(0, draws, chunk):
        rows = min(chunk, draws - begin)
        picks = generator.integers(0, n_users, size=(rows, n_users)) + n_users * np.arange(rows)[:, None]
        times = np.bincount(picks.ravel(), minlength=rows * n_users).reshape(rows, n_users)  # [r, U]
        sums = times.astype(np.float64) @ totals  # [r, K + 1]
        means.append(sums[:, :-1] / sums[:, -1:])
    return np.concatenate(means)


def _ends(means: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """[2, K] percentiles that leave (1 - level) / 2 on each side."""
    tail = 50 * (1 - level)
    return np.percentile(means, [tail, 100 - tail], axis=0)


def bootstrap_intervals(
    ranks: NDArray[np.floating],
    users: NDArray[np.int64],
    ks: Sequence[int] = (10, 20),
    *,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """(low, high) of each metric by the percentile bootstrap over users."""
    low, high = _ends(resample(gains(ranks, ks), users, draws=draws, seed=seed), level).tolist()
    return {name: (low[i], high[i]) for i, name in enumerate(metric_names(ks))}


def paired_difference(
    ranks_a: NDArray[np.floating],
    ranks_b: NDArray[np.floating],
    users: NDArray[np.int64],
    ks: Sequence[int] = (10, 20),
    *,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Difference]:
    """Metric of A minus metric of B on the same targets, with a bootstrap interval: both runs see the same draws."""
    if len(ranks_a) != len(ranks_b):
        raise DataError(f"the runs rank {len(ranks_a)} and {len(ranks_b)} targets: a paired difference needs the same")
    values = gains(ranks_a, ks) - gains(ranks_b, ks)
    low, high = _ends(resample(values, users, draws=draws, seed=seed), level).tolist()
    mean = values.mean(axis=0).tolist()
    return {name: Difference(mean=mean[i], low=low[i], high=high[i]) for i, name in enumerate(metric_names(ks))}
