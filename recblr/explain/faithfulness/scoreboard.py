"""The scoreboard of a run: every method it can have, measured in every way.

On a simulated log, the pointing game against the true causes. On any log, for users of the test part, why the model
recommends its own first item: curves beside random orders, erasure, the axioms, and how far the methods agree.
"""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recblr.backbones.base import SequentialBackbone
from recblr.checkpoint import Run, source_commit
from recblr.data.log import InteractionLog
from recblr.data.simulator import Truth
from recblr.errors import DataError, ExplainError
from recblr.evaluation.protocols import Protocol
from recblr.evaluation.protocols import protocol as named_protocol
from recblr.evaluation.windows import targets_of
from recblr.explain import METHODS, attribute, attribute_many
from recblr.explain.faithfulness.cases import held_out_cases
from recblr.explain.faithfulness.gathered import Gathered
from recblr.explain.faithfulness.pointing import Contrast, ExplainMany, Pointing, pointing_game
from recblr.explain.methods import method_for, methods_of
from recblr.explain.question import Question
from recblr.leaderboard.cost import device_words
from recblr.version import VERSION

Progress = Callable[[str, int, int], None]
"""Called with (what is being measured, explanations done, explanations in all)."""

_logger = logging.getLogger(__name__)
_SHORTEST = 5
"""Events of the histories that curves and erasure are measured on: fewer have no order to speak of."""


@dataclass(frozen=True, kw_only=True)
class Scoreboard:
    """What was measured of one run, with everything a reader needs to place the figures."""

    run: str
    backbone: str
    preset: str
    log: str
    fingerprint: str
    protocol: str
    contrast: Contrast
    """What the pointing game explains: the item's own score, or its lead over the runner-up."""
    events: Mapping[str, Mapping[str, int]]
    """Cause -> held-out events of the log, and of users drawn anew, that were explained."""
    pointing: tuple[Pointing, ...]
    """Empty where the log has no truth."""
    users: tuple[str, ...]
    """External ids of the users behind `faithfulness`."""
    faithfulness: tuple[Mapping[str, Any], ...]
    """One row a method: means over the users."""
    agreement: tuple[Mapping[str, Any], ...]
    """One row a pair of methods: Spearman's correlation and how often both put the same event first, over the users."""
    seed: int
    seconds: float
    made: Mapping[str, Any] = field(default_factory=dict)
    """Device, versions, commit, date."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "run": self.run,
            "backbone": self.backbone,
            "preset": self.preset,
            "log": self.log,
            "fingerprint": self.fingerprint,
            "protocol": self.protocol,
            "contrast": self.contrast,
            "events": {cause: dict(counts) for cause, counts in self.events.items()},
            "pointing": [one.row() for one in self.pointing],
            "users": len(self.users),
            "faithfulness": [dict(one) for one in self.faithfulness],
            "agreement": [dict(one) for one in self.agreement],
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            **self.made,
        }


def chosen_methods(model: SequentialBackbone, names: Sequence[str] = ()) -> tuple[str, ...]:
    """The methods named, or all that a backbone can have. Raises ExplainError for one that it cannot have."""
    asked: Any = model
    if names:
        return tuple(method_for(name, asked).name for name in names)
    return tuple(one.name for one in methods_of(asked))


def scoreboard(
    run: Run,
    log: InteractionLog,
    truth: Truth | None,
    *,
    events: int = 50,
    users: int = 20,
    methods: Sequence[str] = (),
    contrast: Contrast = "none",
    protocol: str | None = None,
    draws: int = 20,
    seed: int = 0,
    progress: Progress | None = None,
) -> Scoreboard:
    """Measure a run on a log in its ids.

    `events` of each planted cause are explained, none where the log has no truth; `users` of the test part are drawn by
    `seed`. Raises ExplainError for a method that the backbone cannot have and for counts below 0, DataError where there
    is nothing to measure.
    """
    if min(events, users) < 0 or draws < 1:
        raise ExplainError(f"events {events}, users {users} and draws {draws}: none below 0, and draws at least 1")
    if (truth is None or events == 0) and users == 0:
        raise DataError(
            f"log {log.name!r} knows no causes and no user is asked for: there is nothing to measure; ask for users, or"
            " take a simulated log"
        )
    began = time.perf_counter()
    model = run.model
    names = chosen_methods(model, methods)
    rule = named_protocol(protocol or str(run.config["train"].get("protocol", "lrurec")))
    explain = {name: partial(attribute, method=name) for name in names}
    tell = progress or (lambda what, done, total: None)
    cases = {} if truth is None or events == 0 else held_out_cases(
        log, truth, rule, model.config.max_len, events, seed=seed
    )  # fmt: skip
    pointing = pointing_game(
        cases, model, explain, contrast=contrast, together=many_at_once(names), catalog=run.catalog,
        progress=lambda done, total: tell("true causes", done, total),
    )  # fmt: skip
    asked = _users(run, log, rule, users, seed)
    found = Gathered(names)
    for number, (_, question) in enumerate(asked, 1):
        found.add(question, explain, draws, seed)
        tell("faithfulness", number, len(asked))
    return Scoreboard(
        run=run.name,
        backbone=model.name,
        preset=model.preset,
        log=log.name,
        fingerprint=log.fingerprint,
        protocol=rule.name,
        contrast=contrast,
        events={
            cause: {"held out": sum(not one.fresh for one in of), "drawn anew": sum(one.fresh for one in of)}
            for cause, of in cases.items()
        },
        pointing=tuple(pointing),
        users=tuple(user for user, _ in asked),
        faithfulness=tuple(found.rows()),
        agreement=tuple(found.agreement()),
        seed=seed,
        seconds=time.perf_counter() - began,
        made=made_with(),
    )


def many_at_once(names: Sequence[str]) -> dict[str, ExplainMany]:
    """Of these methods those that explain several histories in a pass, for `pointing_game`."""
    return {name: partial(attribute_many, method=name) for name in names if METHODS[name].together}


def made_with() -> dict[str, Any]:
    """Device, versions, commit and date of a record."""
    return {
        "device": device_words(torch.device("cpu"), torch.get_num_threads()),
        "versions": {
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "recblr": VERSION,
        },
        "commit": source_commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _users(run: Run, log: InteractionLog, rule: Protocol, users: int, seed: int) -> list[tuple[str, Question]]:
    """(user, why the model recommends its first item after the history before the test event)."""
    if users == 0:
        return []
    targets = targets_of(log, rule.split(log), "test")
    last = np.array(sorted({user: n for n, user in enumerate(targets.users.tolist())}.values()))  # one event a user
    shuffled = np.random.default_rng(seed).permutation(last)
    found = []
    for n in shuffled.tolist():
        user, event = int(targets.users[n]), int(targets.positions[n])
        begin = max(int(log.offsets[user]), event - run.model.config.max_len)
        if event - begin >= _SHORTEST:
            seen = log.items[int(log.offsets[user]) : event]
            found.append((str(log.users[user]), _first_recommendation(run, log, begin, event, seen, rule)))
        if len(found) == users:
            break
    if len(found) < users:
        _logger.warning("log %s: %d users with %d events or more, %d were asked for", log.name, len(found), _SHORTEST,
                        users)  # fmt: skip
    if not found:
        raise DataError(f"log {log.name!r}: no test user has {_SHORTEST} events before the test event")
    return found


def _first_recommendation(
    run: Run, log: InteractionLog, begin: int, event: int, seen: NDArray[np.int32], rule: Protocol
) -> Question:
    asked = Question(
        model=run.model,
        items=log.items[begin:event].astype(np.int64),
        times=log.times[begin:event].copy(),
        target=1,
        has_times=log.has_times,
        seen=frozenset(seen.tolist()),
        catalog=run.catalog,
    )
    scores = asked.scores()[0].double().clone()
    scores[0] = -np.inf
    if rule.mask_seen != "off":
        scores[torch.from_numpy(np.unique(seen).astype(np.int64))] = -np.inf
    return replace(asked, target=int(scores.argmax()))
