"""How far explanations agree: rank correlations of their values over the events of one history.

A attributions, T events
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from recblr.errors import ExplainError, HistoryError
from recblr.explain.attribution import Attribution


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Spearman's rank correlation of each pair of attributions."""

    methods: tuple[str, ...]
    correlation: Float[NDArray[np.float64], "A A"]
    """1 on the diagonal; NaN where all values of an attribution are equal."""
    same_first: NDArray[np.bool_]
    """[A, A] whether both put the same event first."""

    def rows(self) -> list[dict[str, Any]]:
        """The table behind the picture: one row a pair."""
        return [
            {
                "method": one,
                "other": other,
                "correlation": float(self.correlation[a, b]),
                "same_first": bool(self.same_first[a, b]),
            }
            for a, one in enumerate(self.methods)
            for b, other in enumerate(self.methods)
            if a < b
        ]


def ranks(values: NDArray[np.floating]) -> Float[NDArray[np.float64], " T"]:
    """1 = smallest; equal values share the mean of their ranks."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return np.asarray((last - (count - 1) / 2)[place], dtype=np.float64)


def spearman(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Rank correlation, -1 to 1; NaN where all values of either are equal."""
    a, b = ranks(one), ranks(other)
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum() / size) if size > 0 else float("nan")


def agreement(attributions: Sequence[Attribution]) -> Agreement:
    """Of attributions of one question by several methods.

    Raises HistoryError for a history of one, ExplainError where they explain different things.
    """
    if len(attributions) < 2:
        raise ExplainError(f"{len(attributions)} attributions: agreement needs at least two methods")
    first = attributions[0]
    for one in attributions[1:]:
        if (one.target, one.contrast) != (first.target, first.contrast) or not np.array_equal(one.items, first.items):
            raise ExplainError(
                f"{first.method} and {one.method} explain different questions: give attributions of one history,"
                " target and contrast"
            )
    if len(first.values) < 2:
        raise HistoryError("the history has one event: there is no order to agree on; give at least two events")
    order = np.array([one.order()[0] for one in attributions])
    return Agreement(
        methods=tuple(one.method for one in attributions),
        correlation=np.array([[spearman(a.values, b.values) for b in attributions] for a in attributions]),
        same_first=order[:, None] == order,
    )
