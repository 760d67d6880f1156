"""What other histories would lead to: the rank and the score of the target, and the top of the list, of each.

    R histories, k places in a list

Ranks are those of the model run again on each history, among all items that compete.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from recblr.errors import ExplainError
from recblr.explain.question import Question
from recblr.explain.removal import scores_of
from recblr.explain.variants import Variant


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """Of R histories, in the order they were given."""

    rank: NDArray[np.float64]
    """[R] of the target; 1 = best, items with the same score count half."""
    score: NDArray[np.float64]
    """[R] logit of the target."""
    lead: NDArray[np.float64]
    """[R] what is explained: the target's logit, minus the contrast's where there is one."""
    top: NDArray[np.int64]
    """[R, k] internal ids, best first; 0 where fewer items compete."""
    top_scores: NDArray[np.float64]
    """[R, k] their logits."""

    def __len__(self) -> int:
        return len(self.rank)


def outcomes(question: Question, variants: Sequence[Variant], *, k: int = 10, mask_seen: bool = False) -> Outcomes:
    """Run the model on each variant. With `mask_seen`, neither items of the history as given nor those of the variant
    compete, the target excepted. Of a variant longer than the model reads, its last max_len events count.

    Raises ExplainError where k is no rank.
    """
    if k < 1:
        raise ExplainError(f"k is {k}: give a rank of at least 1")
    limit = question.model.config.max_len
    read = [Variant(items=one.items[-limit:], times=one.times[-limit:]) for one in variants]
    scores = scores_of(question, read).astype(np.float64)  # [R, V]
    lead = question.difference(torch.from_numpy(scores)).numpy()
    scores[:, 0] = -np.inf
    own = scores[:, question.target].copy()
    if mask_seen:
        scores[:, sorted(question.seen)] = -np.inf
        for row, one in enumerate(variants):
            scores[row, one.items] = -np.inf
        scores[:, question.target] = own
    rank = 1 + (scores > own[:, None]).sum(1) + ((scores == own[:, None]).sum(1) - 1) / 2
    top = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    top_scores = np.take_along_axis(scores, top, axis=1)
    return Outcomes(
        rank=rank, score=own, lead=lead, top=np.where(np.isfinite(top_scores), top, 0), top_scores=top_scores
    )
