"""Methods on the same questions, in every measure that needs no true cause: means over the questions."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recblr.explain.attribution import Attribution
from recblr.explain.faithfulness.agreement import spearman
from recblr.explain.faithfulness.axioms import completeness_error, infidelity, randomised, sensitivity
from recblr.explain.faithfulness.curves import Curve, curve
from recblr.explain.faithfulness.erasure import erasure, normalised_aopc
from recblr.explain.faithfulness.pointing import Explain
from recblr.explain.methods import METHODS
from recblr.explain.question import Question


class Gathered:
    """Gathers the measures of each method, user by user."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
        self.pairs: dict[tuple[str, str], list[tuple[float, bool]]] = {}

    def add(self, question: Question, explain: Mapping[str, Explain], draws: int, seed: int) -> None:
        answers: dict[str, Attribution] = {}
        deletion: Curve | None = None
        insertion: Curve | None = None
        for name in self.names:
            if not self.found[name]:
                explain[name](question)  # what a first call sets up is no part of an explanation
            began = time.process_time()
            answers[name] = explain[name](question)
            row = {"ms": 1e3 * (time.process_time() - began)}
            deletion = curve(question, answers[name], "deletion", draws=draws, seed=seed, beside=deletion)
            insertion = curve(question, answers[name], "insertion", draws=draws, seed=seed, beside=insertion)
            row |= _of_curves(deletion, insertion) | _of_order(question, answers[name])
            row |= _of_axioms(question, answers[name], explain[name], seed)
            self.found[name].append(row)
        for a, one in enumerate(self.names):
            for other in self.names[a + 1 :]:
                same = answers[one].order()[0] == answers[other].order()[0]
                correlation = spearman(answers[one].values, answers[other].values)
                self.pairs.setdefault((one, other), []).append((correlation, bool(same)))

    def rows(self) -> list[dict[str, Any]]:
        return [
            {"method": name, "exactness": METHODS[name].exactness, "users": len(of)}
            | {key: _mean([one[key] for one in of]) for key in of[0]}
            for name, of in self.found.items()
            if of
        ]

    def agreement(self) -> list[dict[str, Any]]:
        return [
            {
                "method": one,
                "other": other,
                "correlation": _mean([value for value, _ in of]),
                "same first event": _mean([float(same) for _, same in of]),
            }
            for (one, other), of in self.pairs.items()
        ]


def _mean(values: Sequence[float]) -> float | None:
    known = [one for one in values if not np.isnan(one)]
    return float(np.mean(known)) if known else None


def _of_curves(deletion: Curve, insertion: Curve) -> dict[str, float]:
    area, reached = deletion.area("log_prob"), insertion.area("log_prob")
    half = deletion.counts <= max(1, deletion.n_events // 2)  # of one event that is left, no order says much
    return {
        "deletion beats the mean of random up to half": float(deletion.beats("log_prob")[half].all()),
        "deletion beats the band up to half": float(deletion.beats("log_prob", edge=True)[half].all()),
        "deletion beats the mean of random at every k": float(deletion.beats("log_prob").all()),
        "deletion beats the band at every k": float(deletion.beats("log_prob", edge=True).all()),
        "deletion beats the band, share of k": float(deletion.beats("log_prob", edge=True).mean()),
        "insertion beats the mean of random at every k": float(insertion.beats("log_prob").all()),
        "deletion, nats below random": area["random"] - area["most"],
        "insertion, nats above random": reached["most"] - reached["random"],
    }


def _of_order(question: Question, answer: Attribution) -> dict[str, float]:
    erased = erasure(question, answer)
    return {
        "comprehensiveness": erased.comprehensiveness,
        "sufficiency": erased.sufficiency,
        "normalised AOPC": normalised_aopc(question, answer).normalised,
    }


def _of_axioms(question: Question, answer: Attribution, explain: Explain, seed: int) -> dict[str, float]:
    """NaN where a measure has no meaning for the backbone or the method."""
    row = {
        "completeness error": completeness_error(answer),
        "error over explained": answer.error / max(abs(answer.explained), 1e-12),
        "refused": float(not answer.reliable),
    }
    nothing = {"infidelity": np.nan, "sensitivity": np.nan, "changes with the weights": np.nan}
    if not question.model.learns:
        return row | nothing
    of_gradients = METHODS[answer.method].needs == "gradients"
    return row | {
        "infidelity": infidelity(question, answer, seed=seed),
        "sensitivity": sensitivity(question, explain, seed=seed) if of_gradients else np.nan,
        "changes with the weights": float(randomised(question, explain, seed=seed).changed),
    }
