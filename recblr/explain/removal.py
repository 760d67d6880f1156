"""Removal: what would the model say had an event not happened?

    T events, R variants of the history

An event is removed by closing the history up and running the model again, its neighbours' gaps become one
(`recblr.explain.variants`). All single removals go through the model as one batch. Values are effects, the fall of the
logit, and sum to nothing in particular: two events that say the same are each dispensable.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from recblr.errors import ExplainError, HistoryError
from recblr.explain.attribution import Attribution
from recblr.explain.question import Question, padded
from recblr.explain.variants import Variant

_CELLS = 16 * 200
"""Events that go through a model at once: larger batches leave a CPU's cache and are slower."""


def without(question: Question, positions: Iterable[Sequence[int]]) -> list[Variant]:
    """The history without each set of positions."""
    given = Variant(items=question.items, times=question.times)
    return [given.remove(*one) for one in positions]


def scores_of(question: Question, variants: Sequence[Variant]) -> Float[NDArray[np.float32], "R V"]:
    """Logits of the whole catalogue after each variant, in batches of histories of like length."""
    found: list[NDArray[np.float32]] = []
    at_once = max(1, _CELLS // max(len(one) for one in variants))
    for start in range(0, len(variants), at_once):
        batch = padded([(one.items, one.times) for one in variants[start : start + at_once]])
        found.append(question.scores(batch).float().numpy())
    return np.concatenate(found)


def logits_of(question: Question, variants: Sequence[Variant]) -> Float[NDArray[np.float64], " R"]:
    """What is explained, after each variant."""
    return question.difference(torch.from_numpy(scores_of(question, variants)).double()).numpy()


def attribute(question: Question) -> Attribution:
    """The fall of the logit when each event alone is removed. Raises HistoryError for a history of one."""
    if len(question) == 1:
        raise HistoryError(
            "the history has one event: without it a model says nothing, so its removal has no effect to measure;"
            " give at least two events, or choose held_gates"
        )
    logit = float(question.logit()[0])
    after = logits_of(question, without(question, ((position,) for position in range(len(question)))))
    values = logit - after
    return question.answer(
        values=values,
        method="removal",
        exactness="intervention",
        logit=logit,
        remainder=logit - float(values.sum()),
        error=0.0,
        details={"logit_without": after},
    )


@dataclass(frozen=True, kw_only=True)
class MinimalRemoval:
    """The smallest set of events found whose removal pushes the target out of the top k."""

    positions: tuple[int, ...]
    """Of the events to remove, ascending; empty where none was found within the limit."""
    found: bool
    rank_before: float
    """1 = best; items with the same score count half."""
    rank_after: float
    """Without `positions`, as the model answers when it is run again."""
    k: int
    smallest: bool
    """Whether no smaller set exists: known for one event; for two among the pairs that were tried, if all were."""
    variant: Variant
    """The history without them."""
    tried: int
    """Histories that the model was run on."""


def minimal_removal(
    question: Question, k: int = 10, *, most: int = 10, pairs_of: int = 20, mask_seen: bool = False
) -> MinimalRemoval:
    """Remove as few events as it takes to push the target out of the top k.

    Exactly minimal sets are too costly in general, so: each event alone; then pairs among the `pairs_of` events whose
    removal lowers the target most; then greedily one event more, at most `most`. Each step is run, not estimated, and
    the answer is judged by the rank of the target among all items. With `mask_seen`, items of the history as given do
    not compete. Raises HistoryError for a history of one, ExplainError where the target is not in the top k to begin
    with or k is no rank.
    """
    if len(question) == 1:
        raise HistoryError("the history has one event: without it a model says nothing; give at least two events")
    if k < 1:
        raise ExplainError(f"k is {k}: give a rank of at least 1")
    return _Search(question, k, mask_seen).run(most, pairs_of)


class _Search:
    """Runs sets of removals, each once."""

    def __init__(self, question: Question, k: int, mask_seen: bool) -> None:
        self.question, self.k, self.tried = question, k, 0
        banned = question.seen - {question.target} if mask_seen else frozenset()
        self.banned = np.array(sorted({0} | banned))
        self.given = Variant(items=question.items, times=question.times)
        self.before = float(self._ranks([self.given])[0][0])
        if self.before > k:
            raise ExplainError(
                f"item {question.name(question.target)} has rank {self.before:g}, outside the top {k}: there is nothing"
                " to push it out of; choose a recommended item or a larger k"
            )

    def _ranks(self, variants: Sequence[Variant]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(rank, score of the target minus that of the k-th item) after each variant."""
        scores = scores_of(self.question, variants).astype(np.float64)
        self.tried += len(variants)
        scores[:, self.banned] = -np.inf
        own = scores[:, [self.question.target]]
        rank = 1 + (scores > own).sum(1) + ((scores == own).sum(1) - 1) / 2
        kth = -np.partition(-scores, min(self.k, scores.shape[1] - 1), axis=1)[:, min(self.k, scores.shape[1] - 1)]
        return rank, own[:, 0] - kth

    def _best(self, sets: Sequence[tuple[int, ...]]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """(ranks after each set, the order of the sets from the one that lowers the target most)."""
        rank, lead = self._ranks([self.given.remove(*one) for one in sets])
        return rank, np.lexsort((lead, rank <= self.k))

    def run(self, most: int, pairs_of: int) -> MinimalRemoval:
        last = len(self.given) - 1
        singles = [(position,) for position in range(len(self.given))]
        rank, order = self._best(singles)
        chosen = singles[order[0]]
        if rank[order[0]] > self.k or last < 2:
            return self._result(chosen, float(rank[order[0]]), smallest=True)
        among = sorted(int(one) for one in order[:pairs_of])
        pairs = list(combinations(among, 2))
        rank, order = self._best(pairs)
        chosen, now = pairs[order[0]], float(rank[order[0]])
        if now > self.k:
            return self._result(chosen, now, smallest=True)
        while now <= self.k and len(chosen) < min(most, last):
            further = [tuple(sorted((*chosen, one))) for one in range(len(self.given)) if one not in chosen]
            rank, order = self._best(further)
            chosen, now = further[order[0]], float(rank[order[0]])
        return self._result(chosen, now, smallest=len(chosen) == 3 and pairs_of > last)

    def _result(self, chosen: tuple[int, ...], rank: float, *, smallest: bool) -> MinimalRemoval:
        found = rank > self.k
        variant = self.given.remove(*chosen) if found else self.given
        return MinimalRemoval(
            positions=chosen if found else (),
            found=found,
            rank_before=self.before,
            rank_after=rank if found else self.before,
            k=self.k,
            smallest=found and smallest,
            variant=variant,
            tried=self.tried,
        )
