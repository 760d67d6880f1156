"""Measure a model on a log under a protocol.

`evaluate` reads the history of each target anew and works for every backbone; `evaluate_every_position` reads each
history once and takes, from a causal backbone, an answer after every event.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch

from recblr.backbones.base import SequentialBackbone
from recblr.data.log import InteractionLog
from recblr.data.splits import Split, Targets
from recblr.errors import DataError, RecblrError
from recblr.evaluation.causes import Truth, cause_table
from recblr.evaluation.engine import Progress, rank_targets
from recblr.evaluation.intervals import bootstrap_intervals
from recblr.evaluation.protocols import Protocol
from recblr.evaluation.protocols import protocol as named_protocol
from recblr.evaluation.ranking import metrics_from_ranks
from recblr.evaluation.result import Evaluation
from recblr.evaluation.windows import (
    Part,
    Windows,
    one_window_a_target,
    shared_windows,
    some_users,
    targets_of,
)


def evaluate(
    model: SequentialBackbone,
    log: InteractionLog,
    protocol: Protocol | str,
    part: Part = "test",
    *,
    split: Split | None = None,
    truth: Truth | None = None,
    ks: Sequence[int] = (10, 20),
    batch_size: int = 256,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
    max_users: int | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Rank each target of a part after the `max_len` events before it.

    `split` stands in for the protocol's own, for a caller that evaluates often. `device` moves the model there, to
    stay. `max_users` measures on that many users drawn by `seed`. `draws` = 0 leaves the intervals out. Raises
    ConfigError where the model is of another catalogue or a choice is out of range, DataError where the part has no
    target, RecblrError where scores are NaN.
    """
    return _measure(
        model, log, protocol, part, lambda targets: one_window_a_target(log, targets, model.config.max_len),
        every_position=False, split=split, truth=truth, ks=ks, batch_size=batch_size, device=device,
        progress=progress, max_users=max_users, draws=draws, seed=seed,
    )  # fmt: skip


def evaluate_every_position(
    model: SequentialBackbone,
    log: InteractionLog,
    protocol: Protocol | str,
    part: Part = "test",
    *,
    stride: int | None = None,
    split: Split | None = None,
    truth: Truth | None = None,
    ks: Sequence[int] = (10, 20),
    batch_size: int = 256,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
    max_users: int | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Rank every target of a part, reading each history once: the output at a step answers for the next event.

    For parts with many targets a user: held-out users (protocol "users"), a global time split, or "train". On events
    that a model learnt from the figures flatter it, so no share of a training part is offered as a test.

    A history longer than the model's `max_len` is read in windows of `max_len` events that end `stride` (half of
    `max_len` by default) apart: a target deep in it is answered from ``max_len - stride + 1`` to `max_len` events, the
    newest target of each user from exactly what `evaluate` reads, and all of them with ``stride=1``. Shorter histories
    are read whole, and their ranks are those of `evaluate`.

    Other arguments and errors as in `evaluate`; RecblrError where the model is not causal.
    """
    if not model.causal:
        raise RecblrError(
            f"{model.title} is not causal: its output at a step has seen the events after it, the target among them,"
            " so only its last step can be ranked; use evaluate"
        )
    max_len = model.config.max_len
    step = max(1, max_len // 2) if stride is None else stride
    return _measure(
        model, log, protocol, part, lambda targets: shared_windows(log, targets, max_len, step),
        every_position=True, split=split, truth=truth, ks=ks, batch_size=batch_size, device=device,
        progress=progress, max_users=max_users, draws=draws, seed=seed,
    )  # fmt: skip


def _measure(
    model: SequentialBackbone,
    log: InteractionLog,
    protocol: Protocol | str,
    part: Part,
    cut: Callable[[Targets], Windows],
    *,
    every_position: bool,
    split: Split | None,
    truth: Truth | None,
    ks: Sequence[int],
    batch_size: int,
    device: torch.device | str | None,
    progress: Progress | None,
    max_users: int | None,
    draws: int,
    seed: int,
) -> Evaluation:
    chosen = named_protocol(protocol)
    targets = some_users(targets_of(log, split or chosen.split(log), part), max_users, seed)
    if len(targets) == 0:
        raise DataError(f"the {part} part of log {log.name!r} under protocol {chosen.name!r} has no target")
    began = time.perf_counter()
    ranks, top = rank_targets(
        model, log, chosen, targets, cut(targets), batch_size=batch_size, device=device, progress=progress
    )
    where = {"users": targets.users, "positions": targets.positions}
    return Evaluation(
        backbone=model.name,
        preset=model.preset,
        log=log.name,
        fingerprint=log.fingerprint,
        protocol=chosen,
        part=part,
        every_position=every_position,
        max_len=model.config.max_len,
        ranks=ranks,
        top=top,
        **where,
        metrics=metrics_from_ranks(ranks, ks),
        intervals=bootstrap_intervals(ranks, targets.users, ks, draws=draws, seed=seed) if draws else {},
        per_cause=cause_table(log, truth, ranks=ranks, top=top, **where, draws=draws, seed=seed)
        if truth is not None
        else None,
        seconds=time.perf_counter() - began,
    )
