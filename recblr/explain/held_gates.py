"""Held gates: what each event adds to a logit, end to end, through any depth.

    B rows, T time, d model width

With gates, attention weights, norm scales and activation slopes held (`recblr.layers.holding`) a model is affine in the
embeddings e_s of its events, so gradient times input is exact:

    logit = sum_s e_s . (d logit / d e_s) + remainder

and the remainder, what biases and positions add, is the logit of the same held model for embeddings of zeros. It is
computed so, not by subtraction: that the parts meet the logit of the model as it is tests the whole.

The gates are caused by the events too, and that part is not shown: an event that opens a gate for another gets no
credit for it. `removal` shows that one.

Source: of the family of MambaLRP (Rezaei Jafari et al. 2024, arXiv 2406.07592). Differs from it at multiplicative
gates, which are held whole and not half.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from recblr.backbones.base import Batch, SequentialBackbone
from recblr.explain.attribution import Attribution
from recblr.explain.question import Question, padded, read_out, together
from recblr.layers.holding import holding, replaying


class Parts(NamedTuple):
    """Of each row of a batch."""

    values: Float[Tensor, "B T"]
    """What each event adds; 0 at padding."""
    constant: Float[Tensor, " B"]
    """What no event adds, before the bias of the read-out."""


def parts(model: SequentialBackbone, batch: Batch, directions: Float[Tensor, "B d"]) -> Parts:
    """The parts of directions . hidden after the last event of each row. The model is not touched."""
    with torch.inference_mode(False):
        batch = Batch(items=batch.items.clone(), times=batch.times.clone())  # those of an inference mode take no part
        read = read_out(model, batch, directions.clone())
        with torch.enable_grad(), holding() as constants:
            embeddings = model.embed(batch.items).detach().requires_grad_()  # [B, T, d]
            (slope,) = torch.autograd.grad(read(embeddings).sum(), embeddings)
        with torch.no_grad(), replaying(constants):
            constant = read(torch.zeros_like(embeddings))
    values = (slope.double() * embeddings.detach()).sum(-1) * batch.mask  # [B, T]
    return Parts(values, constant)


def attribute(question: Question) -> Attribution:
    """Contributions of every event, with the remainder that biases and positions make."""
    return _attribute([question])[0]


def attribute_many(questions: Sequence[Question]) -> list[Attribution]:
    """The same for many histories of one model, several in a pass.

    Raises ExplainError where the questions are about different models.
    """
    return together(questions, _attribute)


def _attribute(questions: Sequence[Question]) -> list[Attribution]:
    model, batch = questions[0].model, padded([(one.items, one.times) for one in questions])
    read_outs = [one.direction() for one in questions]
    found = parts(model, batch, torch.stack([w for w, _ in read_outs]))
    scores = questions[0].scores(batch).double()  # [B, V]
    answers = []
    for row, (one, (_, bias)) in enumerate(zip(questions, read_outs, strict=True)):
        values = found.values[row, : len(one)].numpy()
        logit, remainder = float(one.difference(scores[row])), float(found.constant[row]) + bias
        answers.append(
            one.answer(
                values=values,
                method="held_gates",
                exactness="exact with gates held",
                logit=logit,
                remainder=remainder,
                error=abs(float(values.sum()) + remainder - logit),
            )
        )
    return answers
