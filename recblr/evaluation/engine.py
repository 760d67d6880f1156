"""The forward passes of an evaluation: windows of a log in, the rank of each target out.

B rows of a batch, T time, d model width, V catalogue rows (item 0 = padding), M targets
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from recblr.backbones.base import SequentialBackbone
from recblr.data.log import InteractionLog
from recblr.data.splits import Targets
from recblr.errors import ConfigError
from recblr.evaluation.protocols import Protocol
from recblr.evaluation.ranking import rank_and_top
from recblr.evaluation.windows import Windows, batches, gather_ids, to_batch

Progress = Callable[[int, int], None]
"""Called with (targets done, targets in all) after each batch."""

SCORES_AT_ONCE = 1_000_000
"""Scores held at once: catalogue rows times the hidden states scored in one go."""


@contextmanager
def _measuring(model: SequentialBackbone, device: torch.device | str | None) -> Iterator[torch.device]:
    """Evaluation mode without gradients; the model's mode comes back afterwards. Yields where its weights are."""
    if device is not None:
        model.to(device)
    first = next(chain(model.parameters(), model.buffers()), None)
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield torch.device("cpu") if first is None else first.device
    finally:
        model.train(training)


def _rank_hidden(
    model: SequentialBackbone,
    log: InteractionLog,
    hidden: Float[Tensor, "M d"],
    positions: NDArray[np.int64],
    banned_from: NDArray[np.int64] | None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(rank, top item) of the targets at `positions` [M]; events banned_from:positions are out of the ranking."""
    longest = 0 if banned_from is None else int((positions - banned_from).max(initial=0))
    rows = max(1, SCORES_AT_ONCE // max(len(log.catalog), longest))
    ranks, top = [], []
    for begin in range(0, len(positions), rows):
        here = slice(begin, begin + rows)
        targets = torch.from_numpy(log.items[positions[here]].astype(np.int64)).to(hidden.device)
        banned = None
        if banned_from is not None:
            seen, _ = gather_ids(log.items, banned_from[here], positions[here])
            banned = torch.from_numpy(seen).to(hidden.device)
        scores = model.scores(hidden[here]).float()  # [m, V]; half precision would tie what it cannot tell apart
        rank, first = rank_and_top(scores, targets, banned)
        ranks.append(rank.cpu())
        top.append(first.cpu())
    return torch.cat(ranks).double().numpy(), torch.cat(top).numpy()


def _moments(log: InteractionLog, positions: NDArray[np.int64]) -> Int[Tensor, " B"]:
    """When the targets at `positions` are asked for: at their time, or that of the event before where it is later."""
    return torch.from_numpy(np.maximum(log.times[positions], log.times[positions - 1]))


def rank_targets(
    model: SequentialBackbone,
    log: InteractionLog,
    protocol: Protocol,
    targets: Targets,
    windows: Windows,
    *,
    batch_size: int = 256,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """([M] rank of each target, [M] item ranked first), in the order of `targets`.

    Raises ConfigError where the catalogues of model and log differ in size.
    """
    if model.config.n_items != log.catalog.n_items:
        raise ConfigError(
            f"the model ranks {model.config.n_items} items, log {log.name!r} has {log.catalog.n_items}:"
            " evaluate it on the log it was made for"
        )
    banned_from = protocol.seen_begin(log.offsets[targets.users], targets.positions, model.config.max_len)
    by_window = np.argsort(windows.window, kind="stable")  # [M] targets, those of a window side by side
    bounds = np.searchsorted(windows.window[by_window], np.arange(len(windows.begin) + 1))
    ranks, top = np.empty(len(targets)), np.empty(len(targets), dtype=np.int64)
    done = 0
    with _measuring(model, device) as place:
        for rows in batches(windows, batch_size):
            batch = to_batch(log, windows.begin[rows], windows.end[rows], place)
            if model.reads_next_time:
                batch = batch.asked_at(_moments(log, windows.end[rows]).to(place))
            hidden = model(batch)  # [B, T, d]
            which = np.concatenate([by_window[bounds[row] : bounds[row + 1]] for row in rows])
            row_of = np.repeat(np.arange(len(rows)), bounds[rows + 1] - bounds[rows])
            answers = hidden[torch.from_numpy(row_of).to(place), torch.from_numpy(windows.step[which]).to(place)]
            seen = None if banned_from is None else banned_from[which]
            ranks[which], top[which] = _rank_hidden(model, log, answers, targets.positions[which], seen)
            done += len(which)
            if progress is not None:
                progress(done, len(targets))
    return ranks, top
