"""Counts: what a counting baseline looks up, which is all there is to explain.

Markov chain: log p(j | i) = log p_j + (log p(j | i) - log p_j), i the last event: that event alone adds anything, and
the popularity of the target is the remainder. Popularity: no event adds anything. Both are identities.
"""

from __future__ import annotations

import numpy as np

from recblr.backbones.popularity import Popularity
from recblr.errors import ExplainError
from recblr.explain.attribution import Attribution
from recblr.explain.question import Question


def attribute(question: Question) -> Attribution:
    """Exact: the last event of a Markov chain, nothing of popularity."""
    model = question.model
    if not isinstance(model, Popularity):
        raise ExplainError(f"counts cannot explain {model.name}: it looks up no counts; choose held_gates")
    logit = float(question.logit()[0])
    popularity = float(question.difference(model.probabilities().log().double()))
    values = np.zeros(len(question))
    if model.name == "popularity":
        note = "Popularity reads no history: no event contributes anything."
    else:
        values[-1] = logit - popularity
        note = "A first-order Markov chain reads the last event alone: no other event contributes anything."
    return question.answer(
        values=values,
        method="counts",
        exactness="exact",
        logit=logit,
        remainder=popularity,
        error=abs(float(values.sum()) + popularity - logit),
        notes=(note,),
    )
