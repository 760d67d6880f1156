"""What a reader may choose of a method: its baseline, and how many points, histories or orders it takes.

    baseline mean item, popular items or random histories; steps, lines   of integrated gradients
    samples  of GradientShap;   orders   of Shapley values

What a method takes, and what it takes if nothing is said, is read off the method itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import choices
import explain_choices
import streamlit as st
from cache import answers
from cache.answers import Options

from recblr.explain import Method


@dataclass(frozen=True, kw_only=True)
class Option:
    """A whole number that a method takes, and how it is asked for."""

    name: str
    """Of the argument."""
    key: str
    """In the URL."""
    label: str
    low: int
    high: int
    help: str


BASELINES = {"mean item": "mean", "popular items": "popularity", "random histories": "random"}
NUMBERS: dict[str, tuple[Option, ...]] = {
    "integrated_gradients": (
        Option(name="steps", key="steps", label="Steps of the line", low=4, high=256,
               help="Points between the baseline and this history. More take longer, and mostly miss less."),
        Option(name="draws", key="lines", label="Random histories", low=1, high=32,
               help="Lines from so many histories of random items; the values are their means."),
    ),
    "gradient_shap": (
        Option(name="draws", key="samples", label="Random histories", low=2, high=512,
               help="The standard error falls with the square root of it."),
    ),
    "shapley": (
        Option(name="permutations", key="orders", label="Orders", low=2, high=128,
               help="Orders in which the events join, two histories each event: the standard error falls with them."),
    ),
}  # fmt: skip
"""Method -> the numbers that a reader may choose."""


def options_choice(method: Method, *, counted: bool) -> Options:
    """The options of a method that differ from its own. `counted`: whether a log is here that knows what is popular."""
    usual = answers.method_defaults(method.name)
    given: dict[str, Any] = {}
    if "baseline" in usual:
        offered = [name for name, value in BASELINES.items() if counted or value != "popularity"]
        chosen = explain_choices.one_of("Baseline: instead of each event", offered, key="baseline")
        given["baseline"] = BASELINES[chosen]
    for option in NUMBERS.get(method.name, ()):
        if option.name == "draws" and given.get("baseline", "random") != "random":
            continue
        given[option.name] = number(option, int(usual[option.name]))
    return tuple((name, value) for name, value in given.items() if value != usual[name])


def number(option: Option, default: int) -> int:
    """A bound whole number, which says so where the address asks for one out of range."""
    asked = choices.in_url(option.key)
    if asked is not None and not (choices.whole(asked) and option.low <= int(asked) <= option.high):
        st.warning(
            f"{choices.quoted(asked)} is no number of “{option.label}”: from {option.low} to {option.high}. "
            f"Taken is {default}."
        )
    low, high = option.low, option.high
    return choices.number(option.label, low, high, default, key=option.key, help=option.help, width=200)
