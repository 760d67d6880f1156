"""What a run answers when its history is edited, or its inside."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from cache.answers import answered
from cache.sources import Asked, open_run, question_of

if TYPE_CHECKING:
    from recblr.explain import MinimalRemoval, Question, Variant
    from recblr.explain.interventions import Intervened, Said
    from recblr.explain.outcomes import Outcomes


def without_each(asked: Asked) -> Outcomes:
    """What the run would say without each of the events that it reads, one row an event; for two events or more."""

    def ask(question: Question) -> Any:
        single = import_module("recblr.explain.removal").without(question, [(one,) for one in range(len(question))])
        return import_module("recblr.explain.outcomes").outcomes(question, single, mask_seen=asked.hide)

    found: Outcomes = answered(asked, ("without each", asked.hide), ask)
    return found


def given(asked: Asked) -> Variant:
    """The history as the run reads it, from which edits start."""
    subject, step = asked.subject, asked.step
    read = open_run(asked.run).read(subject.ids[:step], None if subject.times is None else subject.times[:step])
    variant: Variant = import_module("recblr.explain").Variant(items=read.items, times=read.times)
    return variant


def after(asked: Asked, variant: Variant, k: int = 10) -> Outcomes:
    """What the run says after a variant of the history, one row."""

    def ask(question: Question) -> Any:
        return import_module("recblr.explain.outcomes").outcomes(question, [variant], k=k, mask_seen=asked.hide)

    events = (tuple(variant.items.tolist()), tuple(variant.times.tolist()))
    found: Outcomes = answered(asked, ("after", asked.hide, k, events), ask)
    return found


def smallest_removal(asked: Asked, variant: Variant, k: int) -> MinimalRemoval:
    """The fewest events of a variant whose removal pushes the target out of the top k."""

    def ask(question: Question) -> Any:
        search = import_module("recblr.explain.removal").minimal_removal
        return search(question.about(variant.items, variant.times), k, mask_seen=asked.hide)

    events = (tuple(variant.items.tolist()), tuple(variant.times.tolist()))
    found: MinimalRemoval = answered(asked, ("smallest removal", asked.hide, k, events), ask)
    return found


def state_layers(run: str) -> int:
    """Layers of a run that carry a state of fixed size from event to event; 0 where none does."""
    model = open_run(run).run.model
    keys = model.initial_state(1) if model.learns and model.causal and model.recurrent else {}
    return sum(f"{layer}.h" in keys for layer in range(len(keys)))


def intervened(
    asked: Asked, variant: Variant, kind: str, value: float, layers: tuple[int, ...], place: int, pin: Asked | None
) -> tuple[Intervened, Outcomes, Outcomes]:
    """(the effect, the outcome as it is, the outcome with the edit) of an edit inside the run at position `place` of a
    variant, in every layer of `layers`; with `pin`, the state after its history is put there."""

    def ask(question: Question) -> Any:
        inside = import_module("recblr.explain.interventions")
        if pin is not None:
            edits = inside.paste(question_of(pin), at=place, layers=layers)
        else:
            edits = [inside.Edit(kind=kind, layer=layer, step=place, value=value) for layer in layers]
        return inside.intervene(question.about(variant.items, variant.times), edits, mask_seen=asked.hide)

    events = (tuple(variant.items.tolist()), tuple(variant.times.tolist()))
    source = None if pin is None else (pin.subject.key, pin.step)
    found: Intervened = answered(asked, ("inside", asked.hide, kind, value, layers, place, source, events), ask)
    return found, _outcome(found.before), _outcome(found.after)


def _outcome(said: Said) -> Outcomes:
    """One answer, as one row; the scores of its list are not known."""
    top, score = np.array([said.top]), np.array([said.logit])
    made: Outcomes = import_module("recblr.explain.outcomes").Outcomes(
        rank=np.array([said.rank]), score=score, lead=score, top=top, top_scores=np.full(top.shape, np.nan)
    )
    return made
