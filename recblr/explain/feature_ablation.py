"""Feature ablation: each event in turn becomes the mean item, in its place and at its time, and the model runs again.

Beside `removal`, which closes the history up: here length, places and gaps stay, and what is asked is "had it been an
item like any other". Values are effects and sum to nothing in particular.

Computed by captum, on embeddings only.
"""

from __future__ import annotations

import torch
from captum.attr import FeatureAblation

from recblr.explain.attribution import Attribution
from recblr.explain.embedded import Embedded, Progress
from recblr.explain.question import Question

_AT_ONCE = 16


def attribute(question: Question, *, progress: Progress | None = None) -> Attribution:
    """The fall of the logit when each event alone is replaced by the mean item."""
    events = len(question)
    function = Embedded.of(question, progress, total=events + 1)
    position = torch.arange(events)[None, :, None].expand_as(function.embeddings)
    with torch.no_grad():
        effects = FeatureAblation(function.counted()).attribute(
            function.embeddings,
            baselines=function.item_mean().expand_as(function.embeddings),
            feature_mask=position,
            perturbations_per_eval=_AT_ONCE,
        )
    values = effects[0, :, 0].double().numpy()
    logit = float(function.plain(function.embeddings)[0])
    return question.answer(
        values=values,
        method="feature_ablation",
        exactness="intervention",
        logit=logit,
        remainder=logit - float(values.sum()),
        error=0.0,
    )
