"""The pointing game: does an explanation put the event first that truly decided?

For each held-out event with a known cause, each method explains the score of the event's own item; a hit puts the
deciding event first among all past events. A rule may need a second event, the cue (a pass decides the reward,
redeeming it opens the rewards): hits are counted strictly, with the cue counted too, and with the cue left out.

Source: Zhang et al. 2016, arXiv 1608.00507 (the pointing game, of images).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from recblr.backbones.base import SequentialBackbone
from recblr.data.log import Catalog
from recblr.errors import ExplainError
from recblr.explain.attribution import Attribution
from recblr.explain.faithfulness.cases import Case
from recblr.explain.question import Question

Contrast = Literal["none", "runner-up"]
"""none: the item's own score is explained. runner-up: its lead over the best-scored other item."""
Explain = Callable[[Question], Attribution]
ExplainMany = Callable[[Sequence[Question]], Sequence[Attribution]]
Progress = Callable[[int, int], None]
"""Called with (explanations done, explanations in all)."""

LAST_EVENT, CHANCE = "last event", "chance"
"""What needs no model: always point at the last event, or at any."""


@dataclass(frozen=True, kw_only=True)
class Pointing:
    """How one method did on the N cases of one cause."""

    cause: str
    method: str
    hit: Bool[NDArray[np.bool_], " N"] | Float[NDArray[np.float64], " N"]
    """Whether the deciding event came first; of "chance", how often it would."""
    hit_either: Bool[NDArray[np.bool_], " N"] | Float[NDArray[np.float64], " N"]
    """Whether the deciding event or the cue came first."""
    hit_beside_cue: Bool[NDArray[np.bool_], " N"] | Float[NDArray[np.float64], " N"]
    """Whether the deciding event came first when the cue is left out of the order."""
    mass: Float[NDArray[np.float64], " N"]
    """Part of all support (values above 0) that stands on the deciding event."""
    known: Bool[NDArray[np.bool_], " N"]
    """Whether the model ranks the item first, so that there is a reason to find."""
    reliable: Bool[NDArray[np.bool_], " N"]
    """Whether the method vouches for its shares."""
    milliseconds: Float[NDArray[np.float64], " N"]
    """Processor time of each explanation, asked one at a time."""
    together: float | None = None
    """Processor milliseconds of an explanation when all are asked at once; None where the method cannot."""

    def row(self) -> dict[str, Any]:
        """Means, for a table."""
        ms = float(np.median(self.milliseconds)) if len(self.milliseconds) else None
        least = ms if ms is None or self.together is None else min(ms, self.together)
        hit = float(self.hit.mean())
        return {
            "cause": self.cause,
            "method": self.method,
            "events": len(self.hit),
            "hit@1": hit,
            "hit@1 with cue": float(self.hit_either.mean()),
            "hit@1 cue aside": float(self.hit_beside_cue.mean()),
            "events ranked first": int(self.known.sum()),
            "hit@1 where ranked first": float(self.hit[self.known].mean()) if self.known.any() else None,
            "mass on the cause": float(self.mass.mean()),
            "unreliable": float((~self.reliable).mean()),
            "ms": ms,
            "ms together": self.together,
            "hits per ms": hit / least if least else None,
        }


def question_of(
    case: Case, model: SequentialBackbone, contrast: Contrast = "none", catalog: Catalog | None = None
) -> tuple[Question, bool]:
    """(why this item, whether the model ranks it first)."""
    if contrast not in ("none", "runner-up"):
        raise ExplainError(f"contrast {contrast!r}: choose none or runner-up")
    question = Question(
        model=model,
        items=case.items,
        times=case.times,
        target=case.target,
        seen=frozenset(case.items.tolist()),
        catalog=catalog,
    )
    scores = question.scores()[0].double().clone()
    own = float(scores[case.target])
    scores[[0, case.target]] = -np.inf
    known = own > float(scores.max())
    if contrast == "none":
        return question, known
    return replace(question, contrast=int(scores.argmax())), known


def pointing_game(
    cases: Mapping[str, Sequence[Case]],
    model: SequentialBackbone,
    methods: Mapping[str, Explain],
    *,
    contrast: Contrast = "none",
    together: Mapping[str, ExplainMany] | None = None,
    catalog: Catalog | None = None,
    progress: Progress | None = None,
) -> list[Pointing]:
    """One row for each cause with a case and each method, and one each for the last event and for chance.

    `together` are the methods that can answer many questions at once, which is timed beside one at a time.
    """
    rows, done = [], 0
    total = sum(map(len, cases.values())) * len(methods)
    for cause, of_cause in cases.items():
        if not of_cause:
            continue
        asked = [question_of(case, model, contrast, catalog) for case in of_cause]
        known = np.array([first for _, first in asked])
        for name, explain in methods.items():
            explain(asked[0][0])  # what a first call sets up is no part of an explanation
            answers, milliseconds = [], []
            for question, _ in asked:
                began = time.process_time()
                answers.append(explain(question))
                milliseconds.append(1e3 * (time.process_time() - began))
                done += 1
                if progress is not None:
                    progress(done, total)
            of_all = _timed_together((together or {}).get(name), [question for question, _ in asked])
            rows.append(_pointing(cause, name, of_cause, answers, known, np.array(milliseconds), of_all))
        rows += [_last_event(cause, of_cause, known), _chance(cause, of_cause, known)]
    return rows


def _timed_together(explain: ExplainMany | None, questions: Sequence[Question]) -> float | None:
    if explain is None:
        return None
    began = time.process_time()
    explain(questions)
    return 1e3 * (time.process_time() - began) / len(questions)


def _pointing(
    cause: str,
    method: str,
    cases: Sequence[Case],
    answers: Sequence[Attribution],
    known: NDArray[np.bool_],
    milliseconds: NDArray[np.float64],
    together: float | None,
) -> Pointing:
    hits = np.array([_hits(case, answer.order()) for case, answer in zip(cases, answers, strict=True)])  # [N, 3]
    support = [np.maximum(answer.values, 0) for answer in answers]
    mass = [one[case.cause_pos] / max(one.sum(), 1e-12) for case, one in zip(cases, support, strict=True)]
    return Pointing(
        cause=cause,
        method=method,
        hit=hits[:, 0],
        hit_either=hits[:, 1],
        hit_beside_cue=hits[:, 2],
        mass=np.array(mass),
        known=known,
        reliable=np.array([answer.reliable for answer in answers]),
        milliseconds=milliseconds,
        together=together,
    )


def _hits(case: Case, order: NDArray[np.int64]) -> tuple[bool, bool, bool]:
    first = int(order[0])
    beside = int(order[order != case.cue_pos][0])
    return first == case.cause_pos, first in (case.cause_pos, case.cue_pos), beside == case.cause_pos


def _last_event(cause: str, cases: Sequence[Case], known: NDArray[np.bool_]) -> Pointing:
    hits = np.array([_hits(case, np.arange(len(case.items))[::-1]) for case in cases])
    return Pointing(
        cause=cause,
        method=LAST_EVENT,
        hit=hits[:, 0],
        hit_either=hits[:, 1],
        hit_beside_cue=hits[:, 2],
        mass=hits[:, 0].astype(np.float64),
        known=known,
        reliable=np.ones(len(cases), dtype=bool),
        milliseconds=np.empty(0),
    )


def _chance(cause: str, cases: Sequence[Case], known: NDArray[np.bool_]) -> Pointing:
    length = np.array([len(case.items) for case in cases], dtype=np.float64)
    cue = np.array([case.cue_pos >= 0 for case in cases])
    return Pointing(
        cause=cause,
        method=CHANCE,
        hit=1 / length,
        hit_either=np.where(cue, 2, 1) / length,
        hit_beside_cue=1 / (length - cue),
        mass=1 / length,
        known=known,
        reliable=np.ones(len(cases), dtype=bool),
        milliseconds=np.empty(0),
    )
