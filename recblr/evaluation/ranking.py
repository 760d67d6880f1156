"""Where a target stands in a full ranking, and what that is worth.

B rows, V catalogue rows (item 0 = padding), M targets, K metrics
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from recblr.errors import ConfigError, DataError, RecblrError

Banned = Bool[Tensor, "B V"] | Int[Tensor, "B S"] | None
"""Items out of the ranking: a mask, or item ids with 0 for "none"."""


def rank_and_top(
    scores: Float[Tensor, "B V"], targets: Int[Tensor, " B"], banned: Banned = None
) -> tuple[Float[Tensor, " B"], Int[Tensor, " B"]]:
    """(rank of each target, item that is ranked first: the target where it shares the best score).

    Rank 1 = best: 1 + items above the target + half of the other items level with it. Padding never competes and a
    target is never banned. Raises DataError on a target outside 1..V-1, RecblrError on NaN.
    """
    _check(scores, targets)
    rows = targets.long()[:, None]
    rivals = scores.clamp(min=torch.finfo(scores.dtype).min)  # so that -inf stands for "does not compete" alone
    own = rivals.gather(1, rows)  # [B, 1]
    if banned is not None:
        if banned.dtype == torch.bool:
            rivals.masked_fill_(banned, -torch.inf)
        else:
            rivals.scatter_(1, banned.long(), -torch.inf)
    rivals[:, 0] = -torch.inf
    rivals.scatter_(1, rows, -torch.inf)
    above, level = (one.sum(dim=1, dtype=torch.int32) for one in (rivals > own, rivals == own))
    return 1.0 + above.float() + 0.5 * level.float(), torch.where(above == 0, targets, rivals.argmax(dim=1))


def rank_of_target(
    scores: Float[Tensor, "B V"], targets: Int[Tensor, " B"], banned: Banned = None
) -> Float[Tensor, " B"]:
    """Rank of each target as in `rank_and_top`."""
    return rank_and_top(scores, targets, banned)[0]


def _check(scores: Tensor, targets: Tensor) -> None:
    if len(targets) == 0:
        return
    low, high, last = int(targets.min()), int(targets.max()), scores.shape[1] - 1
    if low < 1 or high > last:
        raise DataError(f"targets lie in {low}..{high}, the scores rank items 1..{last}: not the model's catalogue")
    if not torch.isnan(scores.sum()):  # one pass; infinities of both signs also end here
        return
    broken = torch.isnan(scores).any(dim=1)
    if broken.any():
        row = int(broken.nonzero()[0])
        column = int(torch.isnan(scores[row]).nonzero()[0])
        raise RecblrError(
            f"the scores are not numbers (NaN) in {int(broken.sum())} of {len(scores)} rows, first in row {row} at"
            f" item {column}: the training diverged; train again with a lower rate or gradient clipping"
        )


def metric_names(ks: Sequence[int] = (10, 20)) -> tuple[str, ...]:
    """Names in the order of the columns of `gains`."""
    if not ks or min(ks) < 1:
        raise ConfigError(f"cut-offs are {tuple(ks)}: give one or more numbers from 1 up")
    return tuple(f"{metric}@{k}" for k in ks for metric in ("HR", "NDCG", "MRR"))


def gains(ranks: NDArray[np.floating], ks: Sequence[int] = (10, 20)) -> NDArray[np.float64]:
    """[M, 3 * len(ks)] what each target adds to each metric, before averaging.

    With one relevant item: HR@k = [rank <= k], NDCG@k = [rank <= k] / log2(rank + 1), MRR@k = [rank <= k] / rank.
    """
    rank = np.asarray(ranks, dtype=np.float64)[:, None]  # [M, 1]
    worth = np.concatenate([np.ones_like(rank), 1 / np.log2(rank + 1), 1 / rank], axis=1)  # [M, 3]
    return np.concatenate([worth * (rank <= k) for k in ks], axis=1)


def metrics_from_ranks(ranks: NDArray[np.floating], ks: Sequence[int] = (10, 20)) -> dict[str, float]:
    """Mean HR, NDCG and MRR at each cut-off. Raises DataError where there is no rank."""
    names = metric_names(ks)
    if len(ranks) == 0:
        raise DataError("there is no target to measure: every user's history is too short, or the part is empty")
    return dict(zip(names, gains(ranks, ks).mean(axis=0).tolist(), strict=True))
