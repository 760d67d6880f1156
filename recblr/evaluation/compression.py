"""What is lost when the old part of a long history is compressed: learnt tokens against a recurrent state, by bytes.

    M targets, each with the same number of recent events before it, and before those the old events

The same users answer for every run and every number of old events. `kept` says what stands for the old events:

    dropped   nothing: the recent events are read alone
    tokens    keys and values of learnt tokens (PerSRec over attention)
    state     the state of a recurrent backbone
    cache     keys and values of every old event: nothing is compressed
    history   the old events themselves, for a backbone that cannot go on from a state

Equal bytes: over HSTU a token takes 8 (d layers + 1) bytes in float32, for keys, values and its time. With the defaults
(d 64, two layers) that is 1,032; the state of RecBLR takes 4,096, as do the keys and values of one token after each of
four segments.

Where a backbone compresses (`PerSRec`), the old events are compressed first and the recent ones read from what is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from recblr.backbones.base import Batch, SequentialBackbone, State
from recblr.backbones.persrec import ATTENTION, PerSRec
from recblr.data.log import InteractionLog
from recblr.data.splits import Targets
from recblr.errors import ConfigError, DataError
from recblr.evaluation.intervals import Difference, bootstrap_intervals, paired_difference
from recblr.evaluation.protocols import Protocol
from recblr.evaluation.protocols import protocol as named_protocol
from recblr.evaluation.ranking import metrics_from_ranks, rank_of_target
from recblr.evaluation.windows import Part, gather_ids, targets_of, to_batch

Kept = Literal["dropped", "tokens", "state", "cache", "history"]
KS = (10,)
BYTES_AN_EVENT = 16
"""Item and time of an event that is kept as it is, eight bytes each."""


@dataclass(frozen=True, kw_only=True)
class CompressionRow:
    """One run with one number of old events."""

    run: str
    backbone: str
    preset: str
    kept: Kept
    """What stands for the old events."""
    old_events: int
    bytes_of_user: int
    """Of what is kept of a user's old events."""
    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    """(low, high) of each metric: 95 % bootstrap over users."""
    gain: Mapping[str, Difference]
    """Each metric minus that of the same run with the old events dropped."""


@dataclass(frozen=True, kw_only=True)
class Match:
    """Tokens of one run against the state of another, for the same number of old events."""

    tokens: str
    state: str
    old_events: int
    bytes_of_tokens: int
    bytes_of_state: int
    difference: Mapping[str, Difference]
    """Each metric with tokens minus that with the state, on the same targets."""


@dataclass(frozen=True, kw_only=True)
class CompressionStudy:
    """What was measured, and on whom."""

    log: str
    fingerprint: str
    protocol: str
    part: str
    users: int
    targets: int
    recent: int
    """Events that are always read as they are."""
    rows: tuple[CompressionRow, ...]
    matches: tuple[Match, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def kept_by(model: SequentialBackbone) -> Kept:
    """What stands for old events in a backbone."""
    if isinstance(model, PerSRec):
        return "tokens" if model.config.inner in ATTENTION else "state"
    if not model.causal:
        return "history"
    return "state" if model.recurrent else "cache"


def bytes_of_user(model: SequentialBackbone, old: Batch) -> int:
    """Bytes kept of the old events of one user: every tensor of the state after them, or the events themselves."""
    if kept_by(model) == "history":
        return BYTES_AN_EVENT * old.items.shape[1]
    if isinstance(model, PerSRec):
        state = model.compress(old)
    else:
        state = model.initial_state(1)
        for t in range(old.items.shape[1]):
            _, state = model.step(state, old.items[:, t], old.times[:, t])
    return _bytes(state)


def _bytes(state: State) -> int:
    return sum(value.numel() * value.element_size() for value in state.values())


def study(
    runs: Mapping[str, SequentialBackbone],
    log: InteractionLog,
    protocol: Protocol | str,
    *,
    old: Sequence[int],
    recent: int,
    part: Part = "test",
    batch_size: int = 64,
    draws: int = 1000,
    seed: int = 0,
) -> CompressionStudy:
    """Measure every run with each number of `old` events before the `recent` ones; 0 is measured in any case.

    Raises ConfigError for numbers that a run cannot read or compress, DataError where no history is long enough.
    """
    chosen, grid = named_protocol(protocol), sorted({0, *old})
    if grid[0] < 0 or recent < 1 or batch_size < 1:
        raise ConfigError(f"old is {grid[0]} and recent is {recent}: at least 0 old and 1 recent events, please")
    for name, model in runs.items():
        _check(name, model, log, grid, recent)
    targets = _long_histories(log, targets_of(log, chosen.split(log), part), grid[-1] + recent)
    rows, ranks = [], {}
    for name, model in runs.items():
        model.eval()
        for n in grid:
            found = ranks[name, n] = _ranks(model, log, chosen, targets, n, recent, grid[-1] + recent, batch_size)
            how = {"draws": draws, "seed": seed}
            rows.append(
                CompressionRow(
                    run=name,
                    backbone=model.name,
                    preset=model.preset,
                    kept=kept_by(model) if n else "dropped",
                    old_events=n,
                    bytes_of_user=_measured_bytes(model, log, targets, n, recent) if n else 0,
                    metrics=metrics_from_ranks(found, KS),
                    intervals=bootstrap_intervals(found, targets.users, KS, **how),
                    gain=paired_difference(found, ranks[name, 0], targets.users, KS, **how),
                )
            )
    return CompressionStudy(
        log=log.name,
        fingerprint=log.fingerprint,
        protocol=chosen.name,
        part=part,
        users=len(np.unique(targets.users)),
        targets=len(targets),
        recent=recent,
        rows=tuple(rows),
        matches=tuple(_matches(rows, ranks, targets.users, draws, seed)),
    )


def _check(name: str, model: SequentialBackbone, log: InteractionLog, grid: Sequence[int], recent: int) -> None:
    if model.config.n_items != log.catalog.n_items:
        raise ConfigError(f"{name} ranks {model.config.n_items} items, log {log.name!r} has {log.catalog.n_items}")
    if kept_by(model) != "state" and grid[-1] + recent > model.config.max_len:
        raise ConfigError(
            f"{name} reads {model.config.max_len} events at most, {grid[-1]} old and {recent} recent ones were asked"
            " for: lower either"
        )
    if kept_by(model) != "tokens" or not isinstance(model, PerSRec):
        return
    layout = model.layout
    uneven = [n for n in grid if n % layout.events or n > layout.events * layout.count]
    if uneven:
        raise ConfigError(
            f"{name} compresses up to {layout.count} segments of {layout.events} events, so not {uneven[0]} old events"
            " alone: choose multiples"
        )
    if recent > layout.events:
        raise ConfigError(f"{name} would compress some of {recent} recent events: at most {layout.events} stay whole")


def _long_histories(log: InteractionLog, targets: Targets, least: int) -> Targets:
    long = targets.positions - log.offsets[targets.users] >= least
    if not long.any():
        raise DataError(f"no target of log {log.name!r} has {least} events before it: ask for fewer old or recent ones")
    return Targets(users=targets.users[long], positions=targets.positions[long])


@torch.inference_mode()
def _measured_bytes(model: SequentialBackbone, log: InteractionLog, targets: Targets, n: int, recent: int) -> int:
    end = targets.positions[:1] - recent
    return bytes_of_user(model, to_batch(log, end - n, end, _device(model)))


def _device(model: SequentialBackbone) -> torch.device:
    return next((one.device for one in model.parameters()), torch.device("cpu"))


@torch.inference_mode()
def _ranks(
    model: SequentialBackbone,
    log: InteractionLog,
    protocol: Protocol,
    targets: Targets,
    n: int,
    recent: int,
    reach: int,
    batch_size: int,
) -> NDArray[np.float64]:
    """[M] rank of each target after n old and the recent events; `reach`: events whose items a window would ban."""
    banned_from = protocol.seen_begin(log.offsets[targets.users], targets.positions, reach)
    ranks = []
    for begin in range(0, len(targets), batch_size):
        rows = slice(begin, begin + batch_size)
        at = targets.positions[rows]
        hidden = _answers(model, log, at, n, recent)
        banned = None
        if banned_from is not None:
            banned = torch.from_numpy(gather_ids(log.items, banned_from[rows], at)[0]).to(hidden.device)
        wanted = torch.from_numpy(log.items[at].astype(np.int64)).to(hidden.device)
        ranks.append(rank_of_target(model.scores(hidden).float(), wanted, banned).double().cpu().numpy())
    return np.concatenate(ranks)


def _answers(
    model: SequentialBackbone, log: InteractionLog, at: NDArray[np.int64], n: int, recent: int
) -> torch.Tensor:
    """[B, d] hidden states after the recent events."""
    device = _device(model)
    if isinstance(model, PerSRec):
        old = to_batch(log, at - recent - n, at - recent, device)
        state = model.compress(old) if n else model.initial_state(len(at))
        return model.read_on(state, to_batch(log, at - recent, at, device))[:, -1]
    whole: torch.Tensor = model(to_batch(log, at - recent - n, at, device))
    return whole[:, -1]


def _matches(
    rows: Sequence[CompressionRow],
    ranks: Mapping[tuple[str, int], NDArray[np.float64]],
    users: NDArray[np.int64],
    draws: int,
    seed: int,
) -> list[Match]:
    """Every row of tokens with the row of a state that is nearest in bytes."""
    matches = []
    for row in (one for one in rows if one.kept == "tokens"):
        states = [one for one in rows if one.kept == "state" and one.old_events == row.old_events]
        if not states:
            continue
        other = min(states, key=lambda one: abs(np.log(one.bytes_of_user / row.bytes_of_user)))
        a, b = ranks[row.run, row.old_events], ranks[other.run, other.old_events]
        matches.append(
            Match(
                tokens=row.run,
                state=other.run,
                old_events=row.old_events,
                bytes_of_tokens=row.bytes_of_user,
                bytes_of_state=other.bytes_of_user,
                difference=paired_difference(a, b, users, KS, draws=draws, seed=seed),
            )
        )
    return matches
