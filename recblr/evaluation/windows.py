"""Which slices of a log a model reads to answer for which targets.

M targets, W windows, T events of the longest window of a batch
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from recblr.backbones.base import Batch
from recblr.data.log import InteractionLog
from recblr.data.splits import Split, Targets
from recblr.errors import ConfigError, DataError

Part = Literal["train", "valid", "test", "held-out"]
"""Part of a split; "held-out" = valid and test together."""

TOKENS_A_BATCH = 65_536
"""Padded events in one batch at most, so that long histories do not exhaust the memory."""


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Slices of the log, and where in them each target is answered."""

    begin: NDArray[np.int64]
    """[W] first event."""
    end: NDArray[np.int64]
    """[W] one past the last event."""
    window: NDArray[np.int64]
    """[M] window that answers for a target."""
    step: NDArray[np.int64]
    """[M] step of that window after which the target comes."""


def targets_of(log: InteractionLog, split: Split, part: Part) -> Targets:
    """Targets of a part, in the order of the log; "train" = every training event that has one before it."""
    if part == "train":
        user = np.repeat(np.arange(log.n_users), log.lengths())
        position = np.arange(log.n_events)
        inside = (position > log.offsets[user]) & (position < split.train_end[user])
        return Targets(users=user[inside], positions=position[inside])
    if part == "held-out":
        both = (split.valid, split.test)
        users = np.concatenate([one.users for one in both])
        positions = np.concatenate([one.positions for one in both])
        order = np.argsort(positions, kind="stable")
        return Targets(users=users[order], positions=positions[order])
    if part not in ("valid", "test"):
        raise ConfigError(f"no part {part!r} in a split: choose train, valid, test or held-out")
    return split.valid if part == "valid" else split.test


def some_users(targets: Targets, max_users: int | None, seed: int) -> Targets:
    """All targets of `max_users` users drawn by `seed`, or all targets."""
    users = np.unique(targets.users)
    if max_users is None or max_users >= len(users):
        return targets
    if max_users < 1:
        raise ConfigError(f"max_users is {max_users}: it must be at least 1")
    kept = np.isin(targets.users, np.random.default_rng(seed).choice(users, size=max_users, replace=False))
    return Targets(users=targets.users[kept], positions=targets.positions[kept])


def _reach(log: InteractionLog, targets: Targets) -> NDArray[np.int64]:
    """[M] events before each target."""
    reach = targets.positions - log.offsets[targets.users]
    if len(reach) and reach.min() < 1:
        user = str(log.users[targets.users[int(reach.argmin())]])
        raise DataError(f"log {log.name!r}: the first event of user {user!r} is a target, with no history to go by")
    return reach


def one_window_a_target(log: InteractionLog, targets: Targets, max_len: int) -> Windows:
    """The most recent `max_len` events before each target, answered after the last of them."""
    length = np.minimum(_reach(log, targets), max_len)
    return Windows(
        begin=targets.positions - length,
        end=targets.positions,
        window=np.arange(len(targets)),
        step=length - 1,
    )


def shared_windows(log: InteractionLog, targets: Targets, max_len: int, stride: int) -> Windows:
    """As few windows as `stride` allows, each answering for many targets of one user.

    A history of up to `max_len` events is one window. A longer one is cut into windows of `max_len` events that end
    `stride` apart, counted back from the user's last target; a window answers for the targets after its last `stride`
    steps, the oldest window for all. So a target deep in a long history is answered from at least
    ``max_len - stride + 1`` events, and with ``stride = 1`` from exactly the `max_len` before it.
    """
    if not 1 <= stride <= max_len:
        raise ConfigError(f"stride is {stride}: it must lie in 1..{max_len} (max_len of the model)")
    reach = _reach(log, targets)
    _, owner = np.unique(targets.users, return_inverse=True)
    longest = np.zeros(int(owner.max(initial=-1)) + 1, dtype=np.int64)
    np.maximum.at(longest, owner, reach)
    longest = longest[owner]  # [M] events before the last target of the same user
    oldest = -(-np.maximum(longest - max_len, 0) // stride)
    back = np.minimum((longest - reach) // stride, oldest)  # [M] windows counted back from the last
    _, window = np.unique(owner * (back.max(initial=0) + 1) + back, return_inverse=True)
    size = np.zeros(int(window.max(initial=-1)) + 1, dtype=np.int64)
    np.maximum.at(size, window, reach)  # [W] end of the window within the user
    start = np.zeros_like(size)
    start[window] = log.offsets[targets.users]
    begin = np.maximum(size - max_len, 0)
    return Windows(begin=start + begin, end=start + size, window=window, step=reach - 1 - begin[window])


def gather_ids(
    items: NDArray[np.int32], begin: NDArray[np.int64], end: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(items [B, T] right-padded with 0, index into the log [B, T]) of the slices begin:end."""
    width = int((end - begin).max(initial=0))
    index = begin[:, None] + np.arange(width)  # [B, T]
    inside = index < end[:, None]
    index = np.where(inside, index, 0)
    return np.where(inside, items[index], 0).astype(np.int64), index


def to_batch(
    log: InteractionLog, begin: NDArray[np.int64], end: NDArray[np.int64], device: torch.device | str
) -> Batch:
    """Slices begin:end of the log as a right-padded batch; padding repeats no time: it is 0."""
    items, index = gather_ids(log.items, begin, end)
    times = np.where(items > 0, log.times[index], 0)
    return Batch(items=torch.from_numpy(items).to(device), times=torch.from_numpy(times).to(device))


def batches(windows: Windows, batch_size: int) -> Iterator[NDArray[np.int64]]:
    """Window numbers batch by batch, longest first: rows of a batch are of like length, so padding is small."""
    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}: it must be at least 1")
    length = windows.end - windows.begin
    order = np.argsort(-length, kind="stable")
    begin = 0
    while begin < len(order):
        rows = max(1, min(batch_size, TOKENS_A_BATCH // int(length[order[begin]])))
        yield order[begin : begin + rows]
        begin += rows
