"""The per-cause table: what a model gets right of each thing the simulator planted.

An overall figure hides the causes: models that differ from 0 to 1 on one of them agree on it to the second digit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from recblr.data.log import InteractionLog
from recblr.errors import DataError
from recblr.evaluation.intervals import bootstrap_intervals
from recblr.evaluation.ranking import metrics_from_ranks

CAUSE_METRICS = ("HR@1", "HR@10", "NDCG@10")
_KS = (1, 10)


@runtime_checkable
class Truth(Protocol):
    """What the simulator knows of each event of its log."""

    @property
    def cause(self) -> NDArray[np.integer]:
        """[N] code of the cause of each event."""

    @property
    def cause_pos(self) -> NDArray[np.integer]:
        """[N] index within the user's history of the event that triggered this one, or -1 where none did."""

    def names(self) -> NDArray[np.str_]:
        """[N] name of the cause of each event."""


@dataclass(frozen=True, kw_only=True)
class CauseRow:
    """How a model does on the targets of one cause."""

    cause: str
    planted: bool
    """Triggered by an earlier event of the user; the others (taste, trend, noise) are drawn anew each time."""
    targets: int
    metrics: Mapping[str, float]
    """HR@1, HR@10 and NDCG@10 over the targets of this cause."""
    intervals: Mapping[str, tuple[float, float]]
    """(low, high) of each metric."""
    false_alarms: float | None
    """Share of the targets that nothing planted for which the model puts one of this cause's own items first.

    Own items are those that come from this cause in most of their events. None where the cause is not planted, has no
    item of its own, or no target is unplanted. A rule that does not always fire leaves even the best model with some.
    """


def _own_items(log: InteractionLog, of_cause: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[V] items that come from a cause in more than half of their events; `of_cause` [N] marks its events."""
    size = len(log.catalog)
    seen = np.bincount(log.items, minlength=size)
    own = np.bincount(log.items[of_cause], minlength=size)
    return 2 * own > seen


def cause_table(
    log: InteractionLog,
    truth: Truth,
    *,
    ranks: NDArray[np.float64],
    top: NDArray[np.int64],
    users: NDArray[np.int64],
    positions: NDArray[np.int64],
    draws: int = 1000,
    seed: int = 0,
) -> tuple[CauseRow, ...]:
    """One row for each cause that has a target, in the order of the codes.

    `ranks`, `top` (item ranked first), `users` and `positions` are [M]. Raises DataError where the truth is of
    another log.
    """
    if len(truth.cause) != log.n_events:
        raise DataError(f"the truth describes {len(truth.cause)} events, log {log.name!r} has {log.n_events}")
    cause, unplanted = truth.cause[positions], truth.cause_pos[positions] < 0
    codes, first = np.unique(cause, return_index=True)
    names = truth.names()[positions[first]].tolist()
    rows = []
    for code, name in zip(codes.tolist(), names, strict=True):
        here = cause == code
        metrics = metrics_from_ranks(ranks[here], _KS)
        spread = bootstrap_intervals(ranks[here], users[here], _KS, draws=draws, seed=seed) if draws else {}
        of_cause = np.asarray(truth.cause == code)
        planted = bool((truth.cause_pos[of_cause] >= 0).any())
        own = _own_items(log, of_cause)
        alarms = float(own[top[unplanted]].mean()) if planted and own.any() and unplanted.any() else None
        rows.append(
            CauseRow(
                cause=name,
                planted=planted,
                targets=int(here.sum()),
                metrics={metric: metrics[metric] for metric in CAUSE_METRICS},
                intervals={metric: spread[metric] for metric in CAUSE_METRICS if metric in spread},
                false_alarms=alarms,
            )
        )
    return tuple(rows)
