"""Deletion and insertion curves, each beside a band of random orders.

    K counts of events, T events, D random draws

Deletion takes out the k events that an explanation calls most important, insertion keeps them alone; the history closes
up and the model is run again. A faithful order makes the first curve fall, and the second rise, faster than chance.
Without the band a curve means nothing: any removal changes the answer. All runs of a curve are batched.

Source: Petsiuk et al. 2018, arXiv 1806.07421 (deletion and insertion); POS-P and NEG-P of recommenders: most and least
important first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Int
from numpy.typing import NDArray

from recblr.errors import ExplainError, HistoryError
from recblr.explain.attribution import Attribution
from recblr.explain.faithfulness.reruns import Answers, Measure, run_again
from recblr.explain.question import Question

Kind = Literal["deletion", "insertion"]

DRAWS = 20
"""Random orders behind a band."""
BAND = (0.0, 1.0)
"""Quantiles over the draws that bound the band: all of them, so that by chance one order more lies below 20 others in
one case of 21."""
POINTS = 12
"""Counts of events that a curve is drawn at."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """What the model says of the target as events are removed, or kept, in the order of an explanation."""

    kind: Kind
    n_events: int
    counts: Int[NDArray[np.int64], " K"]
    """Events removed (deletion) or kept (insertion)."""
    before: Answers
    """After the whole history, [1]."""
    most: Answers
    """[K] the most important events first."""
    least: Answers
    """[K] the least important events first."""
    random: Answers
    """[D, K] in random order."""

    def band(
        self, measure: Measure = "logit", quantiles: tuple[float, float] = BAND
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """(low [K], mean [K], high [K]) of the random orders."""
        drawn = self.random.read(measure)
        low, high = np.quantile(drawn, quantiles, axis=0)
        return low, drawn.mean(0), high

    def beats(self, measure: Measure = "logit", *, edge: bool = False) -> Bool[NDArray[np.bool_], " K"]:
        """Where the order of the explanation does better than random ones do in the mean, or with `edge` than the
        better edge of their band: below it for deletion, above it for insertion (for a rank the other way round)."""
        low, mean, high = self.band(measure)
        own = self.most.read(measure)
        falls = (self.kind == "deletion") != (measure == "rank")
        if falls:
            return np.asarray(own < (low if edge else mean))
        return np.asarray(own > (high if edge else mean))

    def area(self, measure: Measure = "logit") -> dict[str, float]:
        """Mean over the share of the history, by trapezoids over counts: "most", "least" and "random" (mean)."""
        share = self.counts / self.n_events
        span = share[-1] - share[0]

        def mean(values: NDArray[np.float64]) -> float:
            return float(values[0]) if span == 0 else float(np.trapezoid(values, share) / span)

        return {
            "most": mean(self.most.read(measure)),
            "least": mean(self.least.read(measure)),
            "random": mean(self.random.read(measure).mean(0)),
        }

    def rows(self) -> list[dict[str, Any]]:
        """The table behind the picture: one row a count."""
        measures: tuple[Measure, ...] = ("logit", "log_prob", "rank")
        bands = {measure: self.band(measure) for measure in measures}
        return [
            {
                "events": int(count),
                **{f"{one}_most": float(self.most.read(one)[n]) for one in measures},
                **{f"{one}_least": float(self.least.read(one)[n]) for one in measures},
                **{
                    f"{one}_random_{name}": float(values[n])
                    for one in measures
                    for name, values in zip(("low", "mean", "high"), bands[one], strict=True)
                },
            }
            for n, count in enumerate(self.counts)
        ]


def usual_counts(n_events: int, points: int = POINTS) -> NDArray[np.int64]:
    """At most `points` counts from 1 to n_events - 1, closer together where few events are concerned."""
    last = n_events - 1
    if last <= points:
        return np.arange(1, last + 1)
    return np.unique(np.rint(np.geomspace(1, last, points)).astype(np.int64))


def random_orders(n_events: int, draws: int, seed: int) -> Int[NDArray[np.int64], "D T"]:
    """Permutations of the events, one a row."""
    return np.random.default_rng(seed).permuted(np.tile(np.arange(n_events), (draws, 1)), axis=1)


def curve(
    question: Question,
    explanation: Attribution | Sequence[int] | NDArray[np.int64],
    kind: Kind = "deletion",
    *,
    counts: Sequence[int] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    beside: Curve | None = None,
) -> Curve:
    """The curve of an attribution of this question, or of an order of its positions, most important first.

    `beside` is a curve of the same kind and question, whose counts and random draws this one takes over.
    Raises HistoryError for a history of one, ExplainError for an order or counts that do not fit it.
    """
    order = checked_order(question, explanation)
    n = len(order)
    at = _checked_counts(counts, kind, n, beside)
    if draws < 1:
        raise ExplainError(f"draws is {draws}: a band needs at least 1 random order")
    orders = np.array([order, order[::-1]])
    if beside is None:
        orders = np.concatenate([orders, random_orders(n, draws, seed)])  # [2 + D, T]
    place = np.argsort(orders, axis=1)  # place of each event in each order
    first = place[:, None, :] < at[:, None]  # [2 + D, K, T] the first k events
    keep = (~first if kind == "deletion" else first).reshape(-1, n)
    found = run_again(question, np.concatenate([np.ones((1, n), dtype=bool), keep]))
    runs = found.at(slice(1, None)).shaped(len(orders), len(at))
    return Curve(
        kind=kind,
        n_events=n,
        counts=at,
        before=found.at(slice(0, 1)),
        most=runs.at(0),
        least=runs.at(1),
        random=runs.at(slice(2, None)) if beside is None else beside.random,
    )


def _checked_counts(counts: Sequence[int] | None, kind: Kind, n: int, beside: Curve | None) -> NDArray[np.int64]:
    if beside is not None:
        if (beside.kind, beside.n_events) != (kind, n):
            raise ExplainError(f"a {kind} curve of {n} events beside a {beside.kind} curve of {beside.n_events}")
        return beside.counts
    at = usual_counts(n) if counts is None else np.array(sorted(set(counts)), dtype=np.int64)
    if len(at) == 0 or at[0] < 1 or at[-1] > n - 1:
        raise ExplainError(f"counts {at.tolist()}: a history of {n} events has curves at 1 to {n - 1} events")
    return at


def checked_order(
    question: Question, explanation: Attribution | Sequence[int] | NDArray[np.int64]
) -> Int[NDArray[np.int64], " T"]:
    """Positions of the history, most important first."""
    n = len(question)
    if n < 2:
        raise HistoryError(
            "the history has one event: there is nothing to remove and nothing to order; give at least two events"
        )
    if not isinstance(explanation, Attribution):
        order = np.asarray(explanation, dtype=np.int64)
    elif np.array_equal(explanation.items, question.items) and explanation.target == question.target:
        order = explanation.order()
    else:
        raise ExplainError("the attribution is of another history or target than the question: explain this one")
    if not np.array_equal(np.sort(order), np.arange(n)):
        raise ExplainError(f"an order names each position from 0 to {n - 1} once")
    return order
