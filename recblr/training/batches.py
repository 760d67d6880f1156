"""Training batches cut out of a log's CSR arrays: no prefix and no window is ever stored.

    L max_len, B windows or prefixes a batch

Objective "all": each user's training events are cut into windows of at most L + 1 events that overlap by one, so that
every event but the first is a target exactly once an epoch; the first cut falls at another place in each epoch, so that
no position is always short of context. Objective "last": every prefix is a sample whose last event is the target.
Batches hold rows of like length and as many targets each, in random order: little padding, which is never scored, and
every target weighs alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recblr.backbones.base import Batch
from recblr.data.log import InteractionLog
from recblr.data.splits import Split

_BUCKET = 50
"""Batches whose rows are sorted by length together."""


@dataclass(frozen=True, kw_only=True)
class TrainingBatch:
    inputs: Batch
    """[B, T] events to read."""
    targets: Tensor
    """int64 [B, T] next event of each, 0 where nothing is trained."""
    weights: Tensor
    """float32 [B, T] weight of each target, at most 1."""

    def to(self, device: torch.device) -> TrainingBatch:
        inputs = Batch(
            items=self.inputs.items.to(device, non_blocking=True), times=self.inputs.times.to(device, non_blocking=True)
        )
        targets, weights = (part.to(device, non_blocking=True) for part in (self.targets, self.weights))
        return TrainingBatch(inputs=inputs, targets=targets, weights=weights)


def windows(
    log: InteractionLog, split: Split, max_len: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(starts, ends) of the windows of one epoch: events starts:ends, the last one only as a target."""
    begin, end = log.offsets[:-1], split.train_end
    keep = end - begin >= 2
    begin, end = begin[keep], end[keep]
    gaps = end - begin - 1  # targets of each user
    phase = np.where(gaps > max_len, rng.integers(0, max_len, len(gaps)), 0)  # length of a short first window
    pieces = np.where(gaps > max_len, -(-(gaps - phase) // max_len) + (phase > 0), 1)
    owner = np.repeat(np.arange(len(gaps)), pieces)
    nth = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    shift = np.where(phase > 0, phase - max_len, 0)[owner]
    starts = np.maximum(nth * max_len + shift, 0) + begin[owner]
    ends = np.minimum((nth + 1) * max_len + shift + begin[owner], end[owner] - 1) + 1
    return starts, ends


def prefixes(log: InteractionLog, split: Split, max_len: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(starts, ends) of every prefix, cut to its most recent max_len + 1 events; the last one is the target."""
    begin, end = log.offsets[:-1], split.train_end
    counts = np.maximum(end - begin - 1, 0)
    owner = np.repeat(np.arange(len(counts)), counts)
    nth = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    ends = begin[owner] + nth + 2
    return np.maximum(begin[owner], ends - 1 - max_len), ends


def epoch_order(
    lengths: NDArray[np.int64], targets: NDArray[np.int64], batch_size: int, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Rows of each batch: shuffled, sorted by length within buckets, cut into like shares of the targets, shuffled.

    The loss is a mean over a batch. Were batches cut by rows, one of short rows would hold a tenth of the targets of
    one of long rows, and each of them would move the weights ten times as far.
    """
    order = rng.permutation(len(lengths))
    share = batch_size * targets.sum() / max(len(targets), 1)
    batches: list[NDArray[np.int64]] = []
    for at in range(0, len(order), batch_size * _BUCKET):
        bucket = order[at : at + batch_size * _BUCKET]
        bucket = bucket[np.argsort(lengths[bucket], kind="stable")]
        upto = np.cumsum(targets[bucket])
        n = max(round(upto[-1] / share), 1)
        cuts = np.searchsorted(upto, upto[-1] * np.arange(1, n) / n) + 1
        batches.extend(rows for rows in np.split(bucket, cuts) if len(rows))
    return [batches[k] for k in rng.permutation(len(batches))]


class EpochBatches:
    """The batches of one epoch, decided by (seed, epoch) alone."""

    def __init__(
        self,
        log: InteractionLog,
        split: Split,
        *,
        objective: str,
        max_len: int,
        batch_size: int,
        seed: int,
        epoch: int,
        recency: int = 0,
    ) -> None:
        rng = np.random.default_rng([seed, epoch])
        self.log, self.split, self.last_only, self.recency = log, split, objective == "last", recency
        cut = prefixes(log, split, max_len) if self.last_only else windows(log, split, max_len, rng)
        self.starts, self.ends = cut
        lengths = self.ends - self.starts - 1
        targets = np.ones_like(lengths) if self.last_only else lengths
        self.batches = epoch_order(lengths, targets, batch_size, rng)
        self.n_targets = int(targets.sum())

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[TrainingBatch]:
        for rows in self.batches:
            yield self._gather(self.starts[rows], self.ends[rows])

    def _gather(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> TrainingBatch:
        log, lengths = self.log, ends - starts - 1
        columns = np.arange(lengths.max())
        inside = columns < lengths[:, None]  # [B, T]
        index = np.where(inside, starts[:, None] + columns, 0)
        items = np.where(inside, log.items[index], 0).astype(np.int64)
        times = np.where(inside, log.times[index], 0)
        trained = inside & (columns == lengths[:, None] - 1) if self.last_only else inside
        targets = np.where(trained, log.items[np.where(inside, index + 1, 0)], 0).astype(np.int64)
        return TrainingBatch(
            inputs=Batch(items=torch.from_numpy(items), times=torch.from_numpy(times)),
            targets=torch.from_numpy(targets),
            weights=torch.from_numpy(self._weights(starts, index)),
        )

    def _weights(self, starts: NDArray[np.int64], index: NDArray[np.int64]) -> NDArray[np.float32]:
        """[B, T] 0.5 ** (age / recency), with age the events from the target to the user's last training event."""
        if self.recency == 0:
            return np.ones(index.shape, dtype=np.float32)
        user = np.searchsorted(self.log.offsets, starts, side="right") - 1
        age = np.maximum(self.split.train_end[user][:, None] - 2 - index, 0)
        weights: NDArray[np.float32] = np.exp2(-age / self.recency).astype(np.float32)
        return weights
