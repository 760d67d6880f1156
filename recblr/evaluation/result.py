"""What an evaluation found, with everything a reader needs to place the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recblr.errors import DataError
from recblr.evaluation.causes import CauseRow
from recblr.evaluation.intervals import Difference, paired_difference
from recblr.evaluation.protocols import Protocol


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Ranks of M targets, in the order of the log, and what they amount to."""

    backbone: str
    preset: str
    log: str
    fingerprint: str
    """Of the log."""
    protocol: Protocol
    part: str
    """train, valid, test or held-out."""
    every_position: bool
    """Whether one reading of a history answered for many targets."""
    max_len: int
    """Longest history read."""
    ranks: NDArray[np.float64]
    """[M] 1 = best; halves where scores are level."""
    users: NDArray[np.int64]
    """[M] rows of the log's offsets."""
    positions: NDArray[np.int64]
    """[M] index of the target in the log's items."""
    top: NDArray[np.int64]
    """[M] item the model ranks first, by internal id."""
    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    """(low, high) of each metric: 95 % bootstrap over users; empty where none was asked for."""
    per_cause: tuple[CauseRow, ...] | None
    """None where the log has no truth."""
    seconds: float

    @property
    def n_users(self) -> int:
        """Users with a target."""
        return len(np.unique(self.users))

    def as_dict(self) -> dict[str, Any]:
        """Everything but the arrays over targets, of plain types that JSON can hold."""
        return {
            "backbone": self.backbone,
            "preset": self.preset,
            "log": self.log,
            "fingerprint": self.fingerprint,
            "protocol": asdict(self.protocol),
            "part": self.part,
            "every_position": self.every_position,
            "max_len": self.max_len,
            "targets": len(self.ranks),
            "users": self.n_users,
            "metrics": dict(self.metrics),
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
            "per_cause": None if self.per_cause is None else [_row(one) for one in self.per_cause],
            "seconds": round(self.seconds, 3),
        }


def _row(row: CauseRow) -> dict[str, Any]:
    return {**asdict(row), "intervals": {name: list(ends) for name, ends in row.intervals.items()}}


def compare(
    a: Evaluation, b: Evaluation, ks: Sequence[int] = (10, 20), *, draws: int = 1000, seed: int = 0
) -> dict[str, Difference]:
    """Metrics of `a` minus those of `b` with paired intervals. Raises DataError unless both rank the same targets."""
    for field in ("fingerprint", "protocol", "part"):
        if getattr(a, field) != getattr(b, field):
            raise DataError(f"the evaluations differ in {field}: compare two of the same log, protocol and part")
    if not np.array_equal(a.positions, b.positions):
        raise DataError("the evaluations rank other targets: give both the same max_users and seed")
    return paired_difference(a.ranks, b.ranks, a.users, ks, draws=draws, seed=seed)
