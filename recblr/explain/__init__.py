"""Why was this recommended? Explanations that add up, each with the kind of statement it is and its error.

    from recblr.explain import explain
    attribution = explain(recblr.load("mixed/recblr"), history, times, target="i007", contrast="i003")
    attribution.values, attribution.remainder, attribution.exactness, attribution.error

Public names (imported on first use, so that this package costs nothing before it is needed):

    explain(subject, history, times=None, *, target, contrast=None, method="held_gates", mask_seen=None, **options)
                    -> Attribution. `subject` is a Recommender (external ids) or a backbone (internal ids).
    Attribution     values [T], items, times, target, contrast, method, exactness, logit, remainder, error,
                    standard_error, notes, details; .shares(), .reliable, .order(), .rows(catalog), .as_dict(catalog).
                    Its constructor raises where values.sum() + remainder misses the logit by more than `error`.
    METHODS         registry: name -> Method(name, title, exactness, needs, summary); needs no torch. Options:
                    held_gates, removal, gradient_input, counts none; unroll layer=-1; integrated_gradients baseline=
                    "mean" | "popularity" (with counts=[V]) | "random", steps=32, draws=4, seed=0, progress=None;
                    gradient_shap draws=64, seed, progress; shapley permutations=16, seed, progress; feature_ablation
                    progress. progress(done, total) is called as rows are run.
    methods_of(b)   methods that a backbone (class or instance) can have; method_for(name, b) raises where it cannot.
    ask(...)        -> Question: the checked question that every method takes.
    attribute(question, method="held_gates", **options) -> Attribution: one method's answer to it.
    Variant         an edited history with its parent: .remove, .swap, .move, .replace, .insert, .change_gap, .edits.
    minimal_removal(question, k=10) -> MinimalRemoval: the fewest events whose removal pushes the target out of the top
                    k, verified by running the model.
    attribute_many(questions, method="held_gates", **options): the same of many questions about one model, several
                    histories in a pass where the method can (METHODS[name].together).
    recblr.explain.removal.scores_of(question, variants): logits of the catalogue after each variant, batched.
    recblr.explain.unroll: unroll(layer_trace, step), effective_attention(layer_trace), without_each(layer_trace).
    recblr.explain.faithfulness: curves beside a random band, erasure, axioms, agreement, the pointing game, scoreboard.
    recblr.explain.memory: half_lives, horizon, recent_items (k95), last_item_dominance, gap_response, lens.
    recblr.explain.interventions: intervene(question, edits), Edit, paste: what if a gate or a state were another?

What is wrong with a question is an ExplainError or a HistoryError, in words for the asker.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from recblr.explain.attribution import EXACTNESS, Attribution, Exactness
from recblr.explain.methods import METHODS, Method, method_for, methods_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recblr.backbones.base import SequentialBackbone
    from recblr.explain.question import Question as Question
    from recblr.explain.question import ask as ask
    from recblr.explain.removal import MinimalRemoval as MinimalRemoval
    from recblr.explain.removal import minimal_removal as minimal_removal
    from recblr.explain.variants import Variant as Variant
    from recblr.recommender import Recommender

_HOME = {
    "MinimalRemoval": "recblr.explain.removal",
    "Variant": "recblr.explain.variants",
    "minimal_removal": "recblr.explain.removal",
    "Question": "recblr.explain.question",
    "ask": "recblr.explain.question",
}

__all__ = [
    "EXACTNESS",
    "METHODS",
    "Attribution",
    "Exactness",
    "Method",
    "attribute",
    "attribute_many",
    "explain",
    "method_for",
    "methods_of",
    *sorted(_HOME),
]


def explain(
    subject: Recommender | SequentialBackbone,
    history: Sequence[Any],
    times: Sequence[int] | None = None,
    *,
    target: Any,
    contrast: Any = None,
    method: str = "held_gates",
    mask_seen: bool | None = None,
    **options: Any,
) -> Attribution:
    """What each event of a history contributed to the logit of `target`, or to its lead over `contrast`.

    `mask_seen`: see `recblr.explain.question.ask`. `options` are those of the method's ``attribute``.
    Raises HistoryError, and ExplainError for an item, a contrast or a method that there is no answer for.
    """
    question = import_module("recblr.explain.question").ask(
        subject, history, times, target=target, contrast=contrast, mask_seen=mask_seen
    )
    return attribute(question, method, **options)


def attribute(question: Question, method: str = "held_gates", **options: Any) -> Attribution:
    """The answer of one method to a checked question. Raises ExplainError for a method that there is no answer for."""
    model: Any = question.model
    attribution: Attribution = import_module(method_for(method, model).module).attribute(question, **options)
    return attribution


def attribute_many(questions: Sequence[Question], method: str = "held_gates", **options: Any) -> list[Attribution]:
    """`attribute` of many questions about one model, in their order; several histories in a pass where the method can.

    Raises ExplainError where the questions are about different models.
    """
    if not questions:
        return []
    model: Any = questions[0].model
    found = method_for(method, model)
    if not found.together:
        return [attribute(one, method, **options) for one in questions]
    attributions: list[Attribution] = import_module(found.module).attribute_many(questions, **options)
    return attributions


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'recblr.explain' has no attribute {name!r}: it has {', '.join(__all__)}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
