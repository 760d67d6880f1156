"""GradientShap (expected gradients): integrated gradients from random histories, one random point on each line.

    value_s = mean over draws of (e_s - b_s) . d logit / d e_s at b + alpha (e - b), alpha uniform in [0, 1]

Every value has its standard error over the draws.

Source: Erion et al. 2019, arXiv 1906.10670; Lundberg and Lee 2017, arXiv 1705.07874. Differs from captum's GradientShap
in drawing from a generator of its own, so that an answer can be had again and disturbs no other draw.
"""

from __future__ import annotations

import numpy as np
import torch

from recblr.errors import ExplainError
from recblr.explain.attribution import Attribution
from recblr.explain.embedded import Embedded, Progress, doubts, gradients
from recblr.explain.question import Question

_AT_ONCE = 16


def attribute(question: Question, *, draws: int = 64, seed: int = 0, progress: Progress | None = None) -> Attribution:
    """Over `draws` random histories as long as this one. Raises ExplainError for less than 2."""
    if draws < 2:
        raise ExplainError(f"draws is {draws}: a standard error needs at least 2")
    function = Embedded.of(question, progress, total=draws)
    bases = function.against("random", counts=None, draws=draws, seed=seed)
    alpha = np.random.default_rng((seed, 1)).random(draws)
    forward, found, starts = function.counted(), [], range(0, draws, _AT_ONCE)
    with gradients():
        for start in starts:
            base = bases[start : start + _AT_ONCE]
            along = torch.from_numpy(alpha[start : start + _AT_ONCE]).to(base.dtype)[:, None, None]
            way = function.embeddings - base
            point = (base + along * way).requires_grad_()
            (slope,) = torch.autograd.grad(forward(point).sum(), point)
            found.append((slope * way).double().sum(-1).numpy())
    each = np.concatenate(found)  # [draws, T]
    values, logit = each.mean(0), float(function.plain(function.embeddings)[0])
    remainder = float(np.concatenate([function.plain(bases[n : n + _AT_ONCE]) for n in starts]).mean())
    error = abs(float(values.sum()) + remainder - logit)
    return question.answer(
        values=values,
        method="gradient_shap",
        exactness="estimate",
        logit=logit,
        remainder=remainder,
        error=error,
        standard_error=each.std(0, ddof=1) / np.sqrt(draws),
        notes=doubts(error, logit - remainder),
        details={"draws": draws},
    )
