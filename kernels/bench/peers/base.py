"""What a peer is: a name, where it runs, and how it is built for a case.

A program is built with its inputs already in the layout that it wants, which costs it nothing; what it must do to the
inputs of [B, T, D] on every call, such as transposing, is part of its `run`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from lrscan.cases import PARAMETERS, Case, Leaves
from lrscan.measure import Program, Results, gradient, program, results
from torch import Tensor

OURS_LIMITS = {"float32": 5e-6, "bfloat16": 1e-2}
LIMITS = {"float32": 1e-3, "bfloat16": 5e-2}
"""Largest error at which a peer is still timed: its arithmetic is its own affair, and its error stands in its row."""

Rearrange = Callable[[Tensor], Tensor]


class Built(NamedTuple):
    """A peer made for one case."""

    timed: Program
    results: Callable[[], Results]
    """The output and gradients, in the layout of the case's own inputs."""
    wanted: Results | None = None
    """Its own truth, where it computes something else than the case's operator."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One way to compute an operator."""

    name: str
    what: str
    """What it does with a case, in a sentence."""
    operators: frozenset[str]
    """Those of lrscan.cases.OPERATORS that it computes."""
    build: Callable[[Case, Leaves, Tensor | None], Built]
    missing: Callable[[str], str | None] = lambda device: None
    """device -> why it cannot run here."""
    ours: bool = False
    packed: bool = False
    """Whether it takes sequences of different lengths."""
    padded: bool = False
    """Whether it is the padded twin of a packed case, and of use only there."""
    most_steps: int = 20_000
    """Steps of time beyond which a loop in Python would take minutes."""

    def refuses(self, case: Case, device: str) -> str | None:
        """Why it does not run the case on the device."""
        why = self.missing(device)
        if why is None and case.time > self.most_steps:
            why = f"a loop over {case.time:,} steps in Python"
        return why

    def suits(self, case: Case) -> bool:
        """Whether the case is its business at all."""
        ragged = case.fill < 1
        return case.operator in self.operators and (self.packed or self.padded if ragged else not self.padded)


def of_torch(case: Case, leaves: Leaves, run: Callable[[Leaves], Tensor]) -> Built:
    """A peer on torch's autograd that takes the inputs as they are."""
    return Built(program(case.direction, run, leaves), lambda: results(case.direction, run, leaves))


def rearranged(
    case: Case, leaves: Leaves, run: Callable[[Leaves], Tensor], arrange: Rearrange, restore: Rearrange
) -> Built:
    """A peer on torch's autograd whose inputs and output lie in a layout of its own, before the clock starts."""
    own = {
        name: (leaf if name in PARAMETERS else arrange(leaf)).detach().requires_grad_() for name, leaf in leaves.items()
    }

    def send(out: Tensor) -> Tensor:
        return arrange(gradient(restore(out)))

    def restored() -> Results:
        found = results(case.direction, run, own, send)
        return {name: one if name.removeprefix("d ") in PARAMETERS else restore(one) for name, one in found.items()}

    return Built(program(case.direction, run, own, send), restored)
