"""A model run again on parts of a history: many at once, closed up, oldest first.

R parts of a history, T its events, V catalogue rows
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from recblr.backbones.base import Batch
from recblr.errors import HistoryError
from recblr.evaluation.ranking import rank_of_target
from recblr.explain.question import Question

Measure = Literal["logit", "log_prob", "probability", "rank"]
"""What is read off an answer; of a rank, 1 is best."""

_CELLS = 64 * 200
"""Events that go through a model at once: past this a CPU gains nothing by larger batches."""
_SCORES = 4_000_000
"""Scores held at once: rows times catalogue."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What the model says of the target after each part of the history; arrays of one shape, [R] or any other."""

    logit: NDArray[np.float64]
    """What the question asks about: the target's logit, minus the contrast's where there is one."""
    log_prob: NDArray[np.float64]
    """Log of the target's softmax over the catalogue, nats."""
    rank: NDArray[np.float64]
    """Of the target among all items; items with the same score count half."""

    def read(self, measure: Measure) -> NDArray[np.float64]:
        """One of the measures."""
        return np.exp(self.log_prob) if measure == "probability" else np.asarray(getattr(self, measure))

    def at(self, index: int | slice | tuple[slice | int, ...]) -> Answers:
        """Some of them."""
        return Answers(logit=self.logit[index], log_prob=self.log_prob[index], rank=self.rank[index])

    def shaped(self, *shape: int) -> Answers:
        """The same in another shape."""
        return Answers(
            logit=self.logit.reshape(shape), log_prob=self.log_prob.reshape(shape), rank=self.rank.reshape(shape)
        )


def closed_up(question: Question, keep: Bool[NDArray[np.bool_], "R T"]) -> Batch:
    """The kept events of each row side by side, at their own moments, padded on the right."""
    kept = keep.sum(1)
    longest = int(kept.max())
    order = np.argsort(~keep, axis=1, kind="stable")[:, :longest]  # [R, longest] kept events first, in their order
    inside = np.arange(longest) < kept[:, None]
    items, times = np.where(inside, question.items[order], 0), np.where(inside, question.times[order], 0)
    return Batch(items=torch.from_numpy(items), times=torch.from_numpy(times))


def run_again(question: Question, keep: Bool[NDArray[np.bool_], "R T"]) -> Answers:
    """Answers after the events that each row keeps. Raises HistoryError where a row keeps none."""
    kept = keep.sum(1)
    if len(keep) == 0 or kept.min() < 1:
        raise HistoryError("a part of the history without any event: a model says nothing before the first; keep one")
    out: Float[NDArray[np.float64], "3 R"] = np.empty((3, len(keep)))
    order = np.argsort(-kept, kind="stable")  # rows of like length together, so that padding is small
    begin = 0
    while begin < len(order):
        width = max(int(kept[order[begin]]), -(-_CELLS * (question.model.config.n_items + 1) // _SCORES))
        rows = order[begin : begin + max(1, _CELLS // width)]
        out[:, rows] = _answers(question, closed_up(question, keep[rows]))
        begin += len(rows)
    return Answers(logit=out[0], log_prob=out[1], rank=out[2])


def whole(question: Question) -> Answers:
    """Answers after the history as it is, [1]."""
    return run_again(question, np.ones((1, len(question)), dtype=bool))


def _answers(question: Question, batch: Batch) -> Float[NDArray[np.float64], "3 R"]:
    scores = question.scores(batch).float()  # [R, V]
    targets = torch.full((len(scores),), question.target, device=scores.device)
    log_prob = scores[:, question.target].double() - torch.logsumexp(scores[:, 1:].double(), dim=1)
    rank = rank_of_target(scores, targets)
    return torch.stack([question.difference(scores.double()), log_prob, rank.double()]).cpu().numpy()
