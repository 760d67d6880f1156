"""The registry of explanation methods: a new one is one file beside this one and one line below.

Importing this module imports neither torch nor a method, so that menus can be drawn before either is needed. A method's
module has ``attribute(question, **options) -> Attribution``, and where `together` is set ``attribute_many(questions)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from recblr.errors import ExplainError
from recblr.explain.attribution import Exactness

Needs = Literal["gradients", "unrolling", "counts", "nothing"]


Backbone = Any
"""A backbone or its class: what of it decides which methods it can have are its name, title, learns and unrolls."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to explain."""

    name: str
    """Key in `METHODS` and module below ``recblr.explain``."""
    title: str
    exactness: Exactness
    needs: Needs
    """gradients: a backbone that learns; unrolling: one whose layers are sums over events; counts: one that counts;
    nothing: any backbone."""
    summary: str
    """What a value means, in a sentence."""
    together: bool = False
    """Whether it explains several histories in one pass of the model."""

    @property
    def module(self) -> str:
        return f"recblr.explain.{self.name}"

    def why_not(self, backbone: Backbone) -> str | None:
        """Why a backbone cannot have this method, or None where it can."""
        if self.needs == "nothing":
            return None
        if self.needs == "counts":
            return f"{backbone.title} learns its weights and looks up no counts" if backbone.learns else None
        if not backbone.learns:
            return f"{backbone.title} counts: it has neither gates nor gradients"
        if self.needs == "unrolling" and not backbone.unrolls:
            return f"the layers of {backbone.title} are no plain sums over events, even with their gates held"
        return None


_METHODS = (
    Method(
        name="held_gates",
        title="Held gates",
        exactness="exact with gates held",
        needs="gradients",
        summary="What an event adds to the logit, end to end, with gates, norm scales and activation slopes held.",
        together=True,
    ),
    Method(
        name="removal",
        title="Removal",
        exactness="intervention",
        needs="nothing",
        summary="How far the logit falls when the event had not happened: the history closes up and is read again.",
    ),
    Method(
        name="unroll",
        title="Unrolled layer",
        exactness="exact with gates held",
        needs="unrolling",
        summary="What the last layer takes from each step and hands to the logit; earlier layers have mixed the steps.",
    ),
    Method(
        name="integrated_gradients",
        title="Integrated gradients",
        exactness="estimate",
        needs="gradients",
        summary="What an event adds along a straight line from a baseline history, with the delta of that line.",
    ),
    Method(
        name="gradient_shap",
        title="GradientShap",
        exactness="estimate",
        needs="gradients",
        summary="The same from random histories, one random point on each line, with standard errors.",
    ),
    Method(
        name="gradient_input",
        title="Gradient × input",
        exactness="estimate",
        needs="gradients",
        summary="The slope of the logit at this history times the embeddings: cheap, and weak behind a norm.",
        together=True,
    ),
    Method(
        name="shapley",
        title="Shapley values",
        exactness="estimate",
        needs="gradients",
        summary="What an event adds, averaged over orders in which the events could have joined, with standard errors.",
    ),
    Method(
        name="feature_ablation",
        title="Feature ablation",
        exactness="intervention",
        needs="gradients",
        summary="How far the logit falls when the event becomes the mean item, in its place and at its time.",
    ),
    Method(
        name="counts",
        title="Counts",
        exactness="exact",
        needs="counts",
        summary="What a counting baseline looks up: the last event in a Markov chain, nothing in popularity.",
    ),
)

METHODS: dict[str, Method] = {one.name: one for one in _METHODS}


def method(name: str) -> Method:
    """The method of a name. Raises ExplainError, naming the choices."""
    if name not in METHODS:
        raise ExplainError(f"no explanation method {name!r}: choose one of {', '.join(METHODS)}")
    return METHODS[name]


def methods_of(backbone: Backbone) -> tuple[Method, ...]:
    """The methods that a backbone can have, in the order of the registry."""
    return tuple(one for one in _METHODS if one.why_not(backbone) is None)


def method_for(name: str, backbone: Backbone) -> Method:
    """The method of a name, for a backbone. Raises ExplainError where it cannot have it, naming those that it can."""
    found = method(name)
    why = found.why_not(backbone)
    if why is not None:
        possible = ", ".join(one.name for one in methods_of(backbone))
        raise ExplainError(f"{name} cannot explain {backbone.name}: {why}; choose one of {possible}")
    return found
