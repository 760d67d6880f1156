"""Gradient times input: the slope of the logit at this history, times the embeddings.

Cheap, and the weakest of the methods here: a norm makes the logit blind to the length of what it reads, so that slopes
along the input nearly cancel. Its error, the distance of the sum from the logit, says so.

Source: Shrikumar et al. 2016, arXiv 1605.01713; computed by captum, on embeddings only.
"""

from __future__ import annotations

from captum.attr import InputXGradient

from recblr.explain.attribution import Attribution
from recblr.explain.embedded import Embedded, doubts, gradients
from recblr.explain.question import Question


def attribute(question: Question) -> Attribution:
    """The remainder is 0: a logit of which the gradient tells nothing is all error."""
    function = Embedded.of(question)
    with gradients():
        slopes = InputXGradient(function.value).attribute(function.embeddings.requires_grad_())
    values = slopes[0].detach().double().sum(-1).numpy()
    logit = float(function.plain(function.embeddings)[0])
    error = abs(float(values.sum()) - logit)
    return question.answer(
        values=values,
        method="gradient_input",
        exactness="estimate",
        logit=logit,
        remainder=0.0,
        error=error,
        notes=doubts(error, logit),
    )
