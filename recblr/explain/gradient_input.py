"""Gradient times input: the slope of the logit at this history, times the embeddings.

Cheap, and the weakest of the methods here: a norm makes the logit blind to the length of what it reads, so that slopes
along the input nearly cancel. Its error, the distance of the sum from the logit, says so.

Source: Shrikumar et al. 2016, arXiv 1605.01713; computed by captum, on embeddings only.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from captum.attr import InputXGradient

from recblr.explain.attribution import Attribution
from recblr.explain.embedded import doubts, gradients
from recblr.explain.question import Question, padded, read_out, together


def attribute(question: Question) -> Attribution:
    """The remainder is 0: a logit of which the gradient tells nothing is all error."""
    return _attribute([question])[0]


def attribute_many(questions: Sequence[Question]) -> list[Attribution]:
    """The same for many histories of one model, several in a pass.

    Raises ExplainError where the questions are about different models.
    """
    return together(questions, _attribute)


def _attribute(questions: Sequence[Question]) -> list[Attribution]:
    model = questions[0].model
    with gradients():
        batch = padded([(one.items, one.times) for one in questions])
        read = read_out(model, batch, torch.stack([one.direction()[0] for one in questions]))
        embeddings = model.embed(batch.items).detach().requires_grad_()
        found = InputXGradient(read).attribute(embeddings).detach().double().sum(-1).numpy()  # [B, T]
    logits = questions[0].scores(batch).double()
    answers = []
    for row, one in enumerate(questions):
        values, logit = found[row, : len(one)], float(one.difference(logits[row]))
        error = abs(float(values.sum()) - logit)
        answers.append(
            one.answer(
                values=values,
                method="gradient_input",
                exactness="estimate",
                logit=logit,
                remainder=0.0,
                error=error,
                notes=doubts(error, logit),
            )
        )
    return answers
