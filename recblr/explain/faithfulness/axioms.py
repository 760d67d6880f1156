"""Does an explanation describe the model, and does it stay put? Infidelity, sensitivity, completeness, randomisation.

    T events, d model width

Infidelity: events are replaced by the mean item, each with chance `chance`; the values of those events should sum to
what the model then loses:  E[(sum_s m_s v_s - (f(e) - f(e - I)))^2],  I_s = m_s (e_s - mean).
Captum multiplies attribution and perturbation over all of [T, d], so an event's value enters as v_s u_s / |u_s|^2 with
u_s = e_s - mean: its product with I_s is m_s v_s. All of it happens on embeddings; ids cannot be perturbed.

Sensitivity: the largest relative change of the values when every embedding moves by at most `radius` in any coordinate.

Randomisation: the values must change when the weights are shuffled; an explanation that does not has read the history
alone. It is run on a copy.

Source: Yeh et al. 2019, arXiv 1901.09392 (infidelity, sensitivity); Adebayo et al. 2018, arXiv 1810.03292
(randomisation). The first two are captum's.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from captum.metrics import infidelity as captum_infidelity
from captum.metrics import sensitivity_max
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from recblr.backbones.base import SequentialBackbone, last_hidden
from recblr.errors import ExplainError
from recblr.explain import attribute
from recblr.explain.attribution import Attribution
from recblr.explain.faithfulness.agreement import spearman
from recblr.explain.methods import method_for
from recblr.explain.question import Question

Explain = Callable[[Question], Attribution]
"""A method with its options."""

_CHANGED_BELOW = 0.5
"""Mean rank correlation with the values under shuffled weights, from which on an explanation counts as unchanged."""


def by_name(name: str, question: Question) -> Explain:
    """The method of a name. Raises ExplainError where the backbone cannot have it."""
    model: Any = question.model
    return partial(attribute, method=method_for(name, model).name)


def completeness_error(attribution: Attribution) -> float:
    """|sum of the parts - logit| over the largest of 1, the logit and the sum of sizes of the values."""
    scale = max(1.0, abs(attribution.logit), float(np.abs(attribution.values).sum()))
    return attribution.gap / scale


def infidelity(
    question: Question, attribution: Attribution, *, chance: float = 0.1, draws: int = 100, seed: int = 0
) -> float:
    """Mean squared error of the values as a forecast, over that of forecasting no change; lower is better.

    Captum scales the values by the best single factor first, so that methods in other units compare; 1 is then what
    values that say nothing get. 0 where no replacement changes the answer. Raises ExplainError for a backbone that
    does not learn, a chance outside (0, 1], or draws < 1.
    """
    if not question.model.learns:
        raise ExplainError(f"{question.model.title} counts: it has no embeddings to perturb; use the deletion curve")
    if not 0 < chance <= 1 or draws < 1:
        raise ExplainError(f"chance {chance} and draws {draws}: give a chance in (0, 1] and at least 1 draw")
    mean = _mean_item(question.model)
    e = question.model.embed(question.batch().items).detach()  # [1, T, d]
    away = e - mean
    values = torch.from_numpy(attribution.values.copy()).to(e)[None, :, None]  # [1, T, 1]
    spread = values * away / away.square().sum(-1, keepdim=True).clamp(min=1e-12)  # [1, T, d]

    def error(given: Tensor, normalize: bool) -> float:
        generator = torch.Generator().manual_seed(seed)  # the same draws for both

        def perturb(inputs: Tensor) -> tuple[Tensor, Tensor]:
            chosen = torch.rand(inputs.shape[:2], generator=generator) < chance  # [R, T]
            moved = chosen.to(inputs)[..., None] * (inputs - mean)
            perturbed = inputs - moved
            _check_perturbation(inputs, moved, perturbed)
            return moved, perturbed

        forward = _from_embeddings(question)
        samples = {"n_perturb_samples": draws, "max_examples_per_batch": min(64, draws)}
        with torch.no_grad():
            return float(captum_infidelity(forward, perturb, e, given, normalize=normalize, **samples))

    plain = error(torch.zeros_like(spread), normalize=False)
    return error(spread, normalize=True) / plain if plain > 1e-12 else 0.0


def _check_perturbation(inputs: Tensor, moved: Tensor, perturbed: Tensor) -> None:
    """Captum takes perturbed = inputs - moved on trust and reports nonsense where it fails; our own invariant."""
    assert torch.allclose(inputs - moved, perturbed), "a perturbation and the perturbed input do not belong together"


def sensitivity(question: Question, explain: Explain, *, radius: float = 0.02, draws: int = 10, seed: int = 0) -> float:
    """Largest |change of the values| / |values| over `draws` moves of all embeddings within `radius`.

    Only methods that read embeddings can feel it. Raises ExplainError for a backbone that does not learn.
    """
    if not question.model.learns:
        raise ExplainError(f"{question.model.title} counts: it has no embeddings to move; sensitivity has no meaning")
    e = question.model.embed(question.batch().items).detach()  # [1, T, d]

    def values(given: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        found = []
        for moved in given[0] if isinstance(given, tuple) else given:  # [T, d]
            about = replace(question, model=_nudged(question, moved - e[0]))
            found.append(torch.from_numpy(explain(about).values.copy()))
        return (torch.stack(found),)  # captum walks over what it is given, tensor or tuple

    generator = torch.Generator().manual_seed(seed)  # captum's own draws would move the random state of every thread

    def perturb(given: Tensor, reach: float) -> Tensor:
        return given + reach * (2 * torch.rand(given.shape, generator=generator).to(given) - 1)

    return float(sensitivity_max(values, e, perturb, perturb_radius=radius, n_perturb_samples=draws))


@dataclass(frozen=True, kw_only=True)
class Randomised:
    """The values beside those of the same model with shuffled weights."""

    correlation: Float[NDArray[np.float64], " D"]
    """Spearman's, over the events, for each shuffle; NaN where all values are equal."""
    change: Float[NDArray[np.float64], " D"]
    """|difference of the values| / |values|."""

    @property
    def changed(self) -> bool:
        """Whether the explanation depends on what was learnt: other values, in another order."""
        known = self.correlation[~np.isnan(self.correlation)]
        alike = float(known.mean()) if len(known) else 0.0
        return bool((self.change > 1e-6).all()) and alike < _CHANGED_BELOW


def randomised(question: Question, explain: Explain, *, draws: int = 3, seed: int = 0) -> Randomised:
    """Explain the same question of copies whose weights are shuffled, tensor by tensor.

    Raises ExplainError for a backbone that does not learn.
    """
    own = explain(question).values
    size = max(float(np.linalg.norm(own)), 1e-12)
    others = [explain(replace(question, model=shuffled(question.model, seed + n))).values.copy() for n in range(draws)]
    return Randomised(
        correlation=np.array([spearman(own, other) for other in others]),
        change=np.array([float(np.linalg.norm(own - other)) / size for other in others]),
    )


def shuffled(model: SequentialBackbone, seed: int) -> SequentialBackbone:
    """A copy in which the numbers of each weight tensor have changed places; `model` is left as it is."""
    if not model.learns:
        raise ExplainError(f"{model.title} counts: it has no weights to shuffle")
    twin = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in twin.parameters():
            order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return twin


def _mean_item(model: SequentialBackbone) -> Float[Tensor, " d"]:
    items = torch.arange(1, model.config.n_items + 1)
    with torch.no_grad():
        return model.embed(items[None])[0].mean(0)


def _from_embeddings(question: Question) -> Callable[[Tensor], Tensor]:
    """Embeddings [R, T, d] -> what is explained [R]; mask and times are those of the question."""
    batch = question.batch()

    def forward(e: Tensor) -> Tensor:
        rows = len(e)
        hidden = question.model.encode(e, batch.mask.expand(rows, -1), batch.times.expand(rows, -1))
        return question.difference(question.model.scores(last_hidden(hidden, batch.lengths.expand(rows))))

    return forward


def _nudged(question: Question, by: Float[Tensor, "T d"]) -> SequentialBackbone:
    """The same model, sharing its weights, that embeds this very history `by` away from where it does."""
    twin, model = copy.copy(question.model), question.model
    own = torch.tensor(question.items)

    def embed(items: Tensor) -> Tensor:
        vectors = model.embed(items)
        if items.shape[-1] != len(own):
            return vectors
        return vectors + by * (items == own).all(-1)[:, None, None]

    object.__setattr__(twin, "embed", embed)
    return twin
