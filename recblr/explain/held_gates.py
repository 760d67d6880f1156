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

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from recblr.backbones.base import Batch, SequentialBackbone, last_hidden
from recblr.errors import ExplainError
from recblr.explain.attribution import Attribution
from recblr.explain.question import Question
from recblr.layers.holding import holding


class Parts(NamedTuple):
    """Of each row of a batch."""

    values: Float[Tensor, "B T"]
    """What each event adds; 0 at padding."""
    constant: Float[Tensor, " B"]
    """What no event adds, before the bias of the read-out."""


def parts(model: SequentialBackbone, batch: Batch, directions: Float[Tensor, "B d"]) -> Parts:
    """The parts of directions . hidden after the last event of each row. The model is not touched."""
    rows = len(batch.items)
    with torch.inference_mode(False), torch.enable_grad(), holding(rows):
        embeddings = model.embed(batch.items).detach().requires_grad_()  # [B, T, d]
        both = torch.cat([embeddings, torch.zeros_like(embeddings)])  # [2 B, T, d]
        hidden = model.encode(both, batch.mask.repeat(2, 1), batch.times.repeat(2, 1))
        read = (last_hidden(hidden, batch.lengths.repeat(2)) * directions.repeat(2, 1)).sum(-1)  # [2 B]
        (slope,) = torch.autograd.grad(read[:rows].sum(), embeddings)
    values = (slope.double() * embeddings.detach()).sum(-1) * batch.mask  # [B, T]
    return Parts(values, read[rows:].detach())


def attribute(question: Question) -> Attribution:
    """Contributions of every event, with the remainder that biases and positions make."""
    return attribute_many([question])[0]


def attribute_many(questions: Sequence[Question]) -> list[Attribution]:
    """The same for many histories of one model at once: one pass for all.

    Raises ExplainError where the questions are about different models.
    """
    model = questions[0].model
    if any(one.model is not model for one in questions):
        raise ExplainError("questions about different models: explain those of each model together")
    batch = padded([(one.items, one.times) for one in questions])
    read_outs = [one.direction() for one in questions]
    found = parts(model, batch, torch.stack([w for w, _ in read_outs]))
    with torch.no_grad():
        scores = model.scores(last_hidden(model(batch), batch.lengths)).double()  # [B, V]
    answers = []
    for row, (one, (_, bias)) in enumerate(zip(questions, read_outs, strict=True)):
        values = found.values[row, : len(one)].numpy()
        logit, remainder = float(one.difference(scores[row])), float(found.constant[row]) + bias
        error = abs(float(values.sum()) + remainder - logit)
        answers.append(
            one.answer(
                values=values,
                method="held_gates",
                exactness="exact with gates held",
                logit=logit,
                remainder=remainder,
                error=error,
            )
        )
    return answers


def padded(histories: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]) -> Batch:
    """Histories (items [T], times [T]) of any lengths as one batch, padded on the right."""
    longest = max(len(items) for items, _ in histories)
    items = np.zeros((len(histories), longest), dtype=np.int64)
    times = np.zeros_like(items)
    for row, (one, moments) in enumerate(histories):
        items[row, : len(one)] = one
        times[row, : len(one)] = moments
    return Batch(items=torch.from_numpy(items), times=torch.from_numpy(times))
