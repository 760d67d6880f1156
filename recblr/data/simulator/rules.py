"""The words in which the rules of the shop are said, and their constants.

V items with padding, A aisles, M coffee machines, C coffees.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recblr.data.simulator.config import CAUSES, Rates, SimulatorConfig, opening_rates
from recblr.data.simulator.shop import Shop

TASTE, SEQUEL, ECHO, RECALL, HABIT, FORK, TREND, NOISE = range(len(CAUSES))
HOME, CURRENT = 0.5, 0.3
"""Chance that taste visits the home aisle, and the aisle of the last event in one; else any aisle by popularity."""
FASHION_CYCLE_DAYS = 364
"""Days until the fashion has been through all aisles; each is in fashion for two tenths of them, rising and falling."""

Distribution = NDArray[np.float64]


class UserTaste(NamedTuple):
    """The user's own, as probabilities: a point mass where it is known."""

    home: NDArray[np.float64]
    """[A] the home aisle."""
    coffee: NDArray[np.float64]
    """[M, C] the coffee that goes with each machine."""


class Branch(NamedTuple):
    """One way in which the next event can come about."""

    cause: int
    weight: float
    """Its probability; the weights of all branches sum to 1."""
    items: Distribution
    """[V] the item, given this branch."""


class Booking(NamedTuple):
    """What an earlier event has fixed about a later one."""

    cause: int
    item: int
    """The outcome; for a fork the one after a short pause, for a habit 0, as the coffee is the user's own."""
    cause_pos: int
    cue_pos: int
    late_item: int = 0
    """For a fork the outcome after a long pause."""


class FreeEvent(NamedTuple):
    """What an event can be that no story has booked, noise aside."""

    ways: list[Branch]
    """The branches that do not depend on the user's home aisle."""
    by_taste: float
    """Weight of the branch that does: an item chosen by taste."""
    inside: Distribution
    """[V] probability of each item given its aisle."""


class World(NamedTuple):
    """What is the same for all users, with the choices that never change, each [V]."""

    config: SimulatorConfig
    shop: Shop
    rates: Rates
    any_item: Distribution
    """A click in the dark: every item alike, never padding."""
    any_machine: Distribution
    any_pass: Distribution
    redeem: Distribution


def build_world(config: SimulatorConfig, shop: Shop) -> World:
    n = len(shop.catalog)
    return World(
        config=config,
        shop=shop,
        rates=opening_rates(config),
        any_item=evenly(list(range(1, n)), n),
        any_machine=evenly(shop.machines.tolist(), n),
        any_pass=evenly(list(shop.rewards), n),
        redeem=evenly([shop.redeem], n),
    )


def evenly(items: list[int], n: int) -> Distribution:
    """[n] the same probability for each of some items; all 0 where there are none."""
    probability = np.zeros(n)
    if items:
        probability[items] = 1.0 / len(items)
    return probability


def aisle_fashion(seconds: int, n_aisles: int) -> NDArray[np.float64]:
    """[A] weight of each aisle `seconds` after the start: once a cycle it rises to 1 and falls, aisle after aisle."""
    centre = seconds / 86_400 / FASHION_CYCLE_DAYS % 1.0 * n_aisles
    distance = np.abs(np.arange(n_aisles) - centre)
    weights: NDArray[np.float64] = np.maximum(0.0, 1.0 - np.minimum(distance, n_aisles - distance))
    return weights
