"""Held-out events whose true cause is known: what an explanation should point at.

The held-out events of the log come first. A leave-one-out split holds out two a user, too few of a rare cause; the rest
come from users drawn anew by the same rules with another seed, every event of whom no model has seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from recblr.data.log import Catalog, InteractionLog
from recblr.data.simulator import CAUSES, Simulated, Truth, simulate
from recblr.errors import DataError
from recblr.evaluation.protocols import Protocol
from recblr.evaluation.windows import targets_of

_FRESH_USERS = 100
"""Users that are drawn anew at a time."""
_MOST_FRESH = 2000


@dataclass(frozen=True, kw_only=True)
class Case:
    """One event with its cause, and the history that the model reads before it."""

    cause: str
    items: NDArray[np.int64]
    """[T] internal ids of the run, the last max_len before the event."""
    times: NDArray[np.int64]
    """[T] unix seconds."""
    target: int
    """Internal id of the event's item."""
    cause_pos: int
    """Position in `items` of the event that decided which item it is."""
    cue_pos: int
    """Position of the second event that the rule needs, -1 where it needs none."""
    user: str
    """External id; of a user drawn anew, with "new " before it."""
    position: int
    """Of the event in the whole history of the user, from 0."""

    @property
    def fresh(self) -> bool:
        """Whether its user was drawn anew."""
        return self.user.startswith("new ")


def planted_causes(truth: Truth) -> tuple[str, ...]:
    """Causes with a deciding event, in the order of CAUSES."""
    codes = np.unique(truth.cause[truth.cause_pos >= 0])
    return tuple(CAUSES[code] for code in codes.tolist())


def held_out_cases(
    log: InteractionLog,
    truth: Truth,
    protocol: Protocol,
    max_len: int,
    per_cause: int,
    *,
    seed: int = 0,
    anew: bool = True,
) -> Mapping[str, list[Case]]:
    """Up to `per_cause` cases of each planted cause, drawn by `seed`; `log` in the ids of the run.

    An event whose cause lies before the last `max_len` events, or follows a history of one, is no case. With `anew`,
    users drawn anew supply what the held-out part lacks. Raises DataError where the truth is of another log.
    """
    if len(truth.cause) != log.n_events:
        raise DataError(f"the truth describes {len(truth.cause)} events, log {log.name!r} has {log.n_events}")
    held_out = targets_of(log, protocol.split(log), "held-out")
    found = _drawn(log, truth, held_out.positions, max_len, per_cause, seed)
    users = 0
    while anew and users < _MOST_FRESH and any(len(cases) < per_cause for cases in found.values()):
        users += _FRESH_USERS
        fresh = _fresh(truth, log.catalog, users, seed)
        first = (users - _FRESH_USERS, users)  # each user has a stream of their own: only the last are new
        of_new = np.arange(fresh.log.offsets[first[0]], fresh.log.offsets[first[1]])
        for cause, cases in _drawn(fresh.log, fresh.truth, of_new, max_len, per_cause, seed).items():
            if cause in found:
                found[cause] += [replace(case, user=f"new {case.user}") for case in cases]
                del found[cause][per_cause:]
    return found


def _fresh(truth: Truth, catalog: Catalog, users: int, seed: int) -> Simulated:
    """Users drawn anew by the rules of `truth`, in the ids of `catalog`; 0 where it lacks an item."""
    drawn = simulate(replace(truth.config, n_users=users, seed=truth.config.seed + 1 + seed))
    known = np.array([0, *(catalog.index.get(one, 0) for one in drawn.log.catalog.ids[1:].tolist())], dtype=np.int32)
    return Simulated(log=replace(drawn.log, items=known[drawn.log.items], catalog=catalog), truth=drawn.truth)


def _drawn(
    log: InteractionLog, truth: Truth, events: NDArray[np.int64], max_len: int, per_cause: int, seed: int
) -> dict[str, list[Case]]:
    """Cases of each planted cause among `events`, in random order."""
    shuffled = np.random.default_rng(seed).permutation(events)
    found: dict[str, list[Case]] = {cause: [] for cause in planted_causes(truth)}
    planted = shuffled[truth.cause_pos[shuffled] >= 0]
    for event in planted.tolist():
        of_cause = found[CAUSES[truth.cause[event]]]
        case = _case(log, truth, event, max_len) if len(of_cause) < per_cause else None
        if case is not None:
            of_cause.append(case)
    return found


def _case(log: InteractionLog, truth: Truth, event: int, max_len: int) -> Case | None:
    user = int(np.searchsorted(log.offsets, event, side="right")) - 1
    start = int(log.offsets[user])
    begin = max(start, event - max_len)
    items = log.items[begin:event].astype(np.int64)
    cause_pos, cue_pos = (int(one[event]) - (begin - start) for one in (truth.cause_pos, truth.cue_pos))
    if len(items) < 2 or cause_pos < 0 or log.items[event] == 0 or (items == 0).any():
        return None
    return Case(
        cause=CAUSES[truth.cause[event]],
        items=items,
        times=log.times[begin:event].copy(),
        target=int(log.items[event]),
        cause_pos=cause_pos,
        cue_pos=cue_pos if truth.cue_pos[event] >= 0 and cue_pos >= 0 else -1,
        user=str(log.users[user]),
        position=event - start,
    )
