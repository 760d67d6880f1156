"""Comprehensiveness and sufficiency, and the area over the deletion curve as a part of what any order could reach.

    comprehensiveness_k = f(history) - f(history without the top k)          high is good
    sufficiency_k       = f(history) - f(the top k alone)                    low is good
    AOPC                = mean over k = 1..n of comprehensiveness_k
    normalised AOPC     = (AOPC - worst) / (best - worst)                    0 to 1, comparable across models

with k a share of the history, at least one event; worst and best are those of orders that a beam search finds.

Source: DeYoung et al. 2020 (ERASER), arXiv 1911.03429; Edin et al. 2025 (normalised AOPC), arXiv 2408.08137. Differs
from ERASER: events are taken out and the history closes up; f is a log-probability by default.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from recblr.errors import ExplainError
from recblr.explain.attribution import Attribution
from recblr.explain.faithfulness.curves import DRAWS, checked_order, random_orders
from recblr.explain.faithfulness.reruns import Measure, run_again
from recblr.explain.question import Question

SHARES = (0.01, 0.02, 0.03, 0.05, 0.10)
"""Parts of the history that are taken out, or kept alone."""


@dataclass(frozen=True, kw_only=True)
class Erasure:
    """What the model loses without the top k events, and with nothing else."""

    measure: Measure
    counts: Int[NDArray[np.int64], " K"]
    """Events for each share of the history: at least 1, and at least one event is left."""
    without_top: Float[NDArray[np.float64], " K"]
    """Comprehensiveness at each count."""
    top_alone: Float[NDArray[np.float64], " K"]
    """Sufficiency at each count."""

    @property
    def comprehensiveness(self) -> float:
        """Mean over the shares."""
        return float(self.without_top.mean())

    @property
    def sufficiency(self) -> float:
        """Mean over the shares."""
        return float(self.top_alone.mean())


def erasure(
    question: Question,
    explanation: Attribution | Sequence[int] | NDArray[np.int64],
    shares: Sequence[float] = SHARES,
    measure: Measure = "log_prob",
) -> Erasure:
    """Both at once, in one batch. Raises HistoryError for a history of one, ExplainError for shares outside 0..1."""
    order = checked_order(question, explanation)
    n = len(order)
    if not shares or not all(0 < share <= 1 for share in shares):
        raise ExplainError(f"shares are {tuple(shares)}: give parts of the history above 0 and at most 1")
    counts = np.clip(np.ceil(np.array(shares) * n - 1e-9).astype(np.int64), 1, n - 1)
    top = np.argsort(order) < counts[:, None]  # [K, T]
    keep = np.concatenate([np.ones((1, n), dtype=bool), ~top, top])
    f = run_again(question, keep).read(measure)
    drop = -(f[0] - f[1:]) if measure == "rank" else f[0] - f[1:]
    without, alone = np.split(drop, 2)
    return Erasure(measure=measure, counts=counts, without_top=without, top_alone=alone)


@dataclass(frozen=True, kw_only=True)
class NormalisedAOPC:
    """Area over the perturbation curve of the first `depth` removals, between the worst and the best order found."""

    aopc: float
    """In units of the measure."""
    best: float
    """Of the best order that the search found, or of the explanation's own where that is better."""
    worst: float
    depth: int
    """Events removed, one after another."""

    @property
    def normalised(self) -> float:
        """0 to 1; .5 where no order differs from another."""
        return float(self.place(np.array(self.aopc)))

    @property
    def decided(self) -> bool:
        """Whether the order of removals matters at all."""
        return self.best - self.worst > 1e-9

    def place(self, aopc: NDArray[np.float64]) -> NDArray[np.float64]:
        """Other orders between the same bounds; below 0 or above 1 where one is beyond what the search found."""
        return (aopc - self.worst) / (self.best - self.worst) if self.decided else np.full_like(aopc, 0.5)


def normalised_aopc(
    question: Question,
    explanation: Attribution | Sequence[int] | NDArray[np.int64],
    *,
    depth: int = 5,
    width: int = 3,
    candidates: int = 20,
    measure: Measure = "log_prob",
) -> NormalisedAOPC:
    """AOPC of an order, bounded by a beam of `width` orders each way.

    The beams try the `candidates` events whose removal alone does most (or least); 1 wide it is a greedy search.
    Raises as `erasure`.
    """
    order = checked_order(question, explanation)
    if min(depth, width, candidates) < 1:
        raise ExplainError(f"depth {depth}, width {width} and candidates {candidates}: each must be at least 1")
    n = len(order)
    steps = min(depth, n - 1)
    sign = -1.0 if measure == "rank" else 1.0
    own = np.argsort(order) >= np.arange(1, steps + 1)[:, None]  # [steps, T] kept
    keep = np.concatenate([np.ones((1, n), dtype=bool), own, ~np.eye(n, dtype=bool)])
    f = sign * run_again(question, keep).read(measure)
    aopc = float((f[0] - f[1 : 1 + steps]).mean())
    singles = f[0] - f[1 + steps :]  # [T] fall by each removal alone
    best, worst = (
        _beam(question, sense * sign, sense * f[0], sense * singles, steps, width, candidates, measure) * sense
        for sense in (1.0, -1.0)
    )
    return NormalisedAOPC(aopc=aopc, best=max(best, aopc), worst=min(worst, aopc), depth=steps)


def random_aopc(
    question: Question, *, depth: int = 5, draws: int = DRAWS, seed: int = 0, measure: Measure = "log_prob"
) -> Float[NDArray[np.float64], " D"]:
    """AOPC of random orders: what chance reaches. Raises as `normalised_aopc`."""
    n = len(checked_order(question, np.arange(len(question))))
    if min(depth, draws) < 1:
        raise ExplainError(f"depth {depth} and draws {draws}: each must be at least 1")
    steps = min(depth, n - 1)
    place = np.argsort(random_orders(n, draws, seed), axis=1)
    kept = place[:, None, :] >= np.arange(1, steps + 1)[:, None]  # [D, steps, T]
    f = run_again(question, np.concatenate([np.ones((1, n), dtype=bool), kept.reshape(-1, n)])).read(measure)
    sign = -1.0 if measure == "rank" else 1.0
    return np.asarray(sign * (f[0] - f[1:]).reshape(draws, steps).mean(axis=1))


def _beam(
    question: Question,
    sign: float,
    before: float,
    singles: NDArray[np.float64],
    steps: int,
    width: int,
    candidates: int,
    measure: Measure,
) -> float:
    """Largest mean fall of sign * measure over `steps` removals, of the orders that the beam meets."""
    n = len(singles)
    among = np.argsort(-singles, kind="stable")[: max(candidates, steps)]
    kept = ~np.eye(n, dtype=bool)[among[:width]]  # [W, T]
    total = singles[among[:width]]
    for _ in range(steps - 1):
        parent, event = np.nonzero(kept[:, among])
        keep = kept[parent]
        keep[np.arange(len(parent)), among[event]] = False
        keep, total, parent = _best_of_same(keep, total, parent)
        fall = before - sign * run_again(question, keep).read(measure)
        total = total[parent] + fall
        chosen = np.argsort(-total, kind="stable")[:width]
        kept, total = keep[chosen], total[chosen]
    return float(total.max() / steps)


def _best_of_same(
    keep: Bool[NDArray[np.bool_], "R T"], total: NDArray[np.float64], parent: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.int64]]:
    """Each set of kept events once, from the parent with the largest total so far."""
    order = np.argsort(-total[parent], kind="stable")
    _, first = np.unique(keep[order], axis=0, return_index=True)
    rows = order[first]
    return keep[rows], total, parent[rows]
