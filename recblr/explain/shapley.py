"""Shapley values: what an event adds to the logit, averaged over the orders in which the events could have joined.

    value_s = mean over orders of logit(those before s, and s) - logit(those before s)

A set of events is the history closed up to them (`recblr.explain.removal`), run again. No model answers for the empty
set; it stands for a history of one mean item, at the time of the last event. The values sum to logit - logit(empty).

For few events every set is run, and the values are exact; for more, orders are drawn, and every value has its standard
error over them. Source: Castro et al. 2009, doi 10.1016/j.cor.2008.04.004; the sampling is captum's.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import comb

import numpy as np
import torch
from captum.attr import ShapleyValueSampling
from numpy.typing import NDArray
from torch import Tensor

from recblr.errors import ExplainError
from recblr.explain.attribution import Attribution
from recblr.explain.embedded import Embedded, Progress
from recblr.explain.question import Question
from recblr.explain.removal import logits_of
from recblr.explain.variants import Variant

EVERY_SET = 8
"""Most events of which every set is run: 2^8 histories."""


class _Game:
    """What a set of events is worth."""

    def __init__(self, question: Question, progress: Progress | None, total: int) -> None:
        self.question, self.progress, self.done, self.total = question, progress, 0, total
        self.given = Variant(items=question.items, times=question.times)
        function = Embedded.of(question.about(question.items[-1:], question.times[-1:]))
        self.empty = float(function.plain(function.item_mean()[None, None])[0])

    def worth(self, keep: NDArray[np.bool_]) -> NDArray[np.float64]:
        """keep [R, T] -> [R]."""
        values = np.full(len(keep), self.empty)
        some = np.flatnonzero(keep.any(1))
        order = some[np.argsort(keep[some].sum(1), kind="stable")]  # like lengths are padded together
        if len(order):
            sets = [self.given.remove(*np.flatnonzero(~keep[row]).tolist()) for row in order]
            values[order] = logits_of(self.question, sets)
        self.done += len(keep)
        if self.progress is not None:
            self.progress(min(self.done, self.total), self.total)
        return values


def attribute(
    question: Question, *, permutations: int = 16, seed: int = 0, progress: Progress | None = None
) -> Attribution:
    """Over `permutations` drawn orders, or over all of them where at most `EVERY_SET` events make that cheaper.

    Raises ExplainError for less than 2 permutations.
    """
    if permutations < 2:
        raise ExplainError(f"permutations is {permutations}: a standard error needs at least 2")
    events = len(question)
    every = events <= EVERY_SET
    game = _Game(question, progress, 2**events if every else permutations * (events + 1))
    each = _exact(game, events)[None] if every else np.stack(list(_drawn(game, events, permutations, seed)))
    values, logit = each.mean(0), float(question.logit()[0])
    return question.answer(
        values=values,
        method="shapley",
        exactness="estimate",
        logit=logit,
        remainder=game.empty,
        error=abs(float(values.sum()) + game.empty - logit),
        standard_error=np.zeros(events) if every else each.std(0, ddof=1) / np.sqrt(permutations),
        notes=("Every set of events was run: the values are exact.",) if every else (),
        details={"permutations": None if every else permutations, "histories": game.done},
    )


def _drawn(game: _Game, events: int, permutations: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """[T] marginal contributions in each of the drawn orders."""
    rng = np.random.default_rng(seed)

    def forward(keep: Tensor) -> Tensor:
        return torch.from_numpy(game.worth(keep.numpy() > 0.5))

    sampling = ShapleyValueSampling(forward)
    sampling.permutation_generator = lambda features, n: (rng.permutation(features).tolist() for _ in range(n))
    whole = torch.ones(1, events, dtype=torch.float64)
    for _ in range(permutations):
        with torch.no_grad():
            one = sampling.attribute(whole, baselines=0.0, n_samples=1, perturbations_per_eval=events)
        yield one[0].double().numpy()


def _exact(game: _Game, events: int) -> NDArray[np.float64]:
    """[T] from the worth of every set."""
    codes = np.arange(2**events)
    keep = (codes[:, None] >> np.arange(events)) & 1 == 1
    worth, size = game.worth(keep), keep.sum(1)
    weight = np.array([1 / (events * comb(events - 1, n)) for n in range(events)])
    values = np.empty(events)
    for event in range(events):
        without = codes[~keep[:, event]]
        values[event] = (weight[size[without]] * (worth[without + (1 << event)] - worth[without])).sum()
    return values
