"""Why every event of a simulated log happened, and how likely it was: the measure of explanations and models."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recblr.data.log import InteractionLog
from recblr.data.simulator.config import CAUSES, SimulatorConfig
from recblr.data.simulator.observer import Observer
from recblr.data.simulator.rules import Distribution, World, build_world
from recblr.data.simulator.shop import open_shop
from recblr.data.splits import Targets
from recblr.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Aligned with `log.items`: row n is about event n.

    Positions count a user's own events from 0. The two columns of positions hold -1 where a rule needs no such event:

    =======  ==========================  ==============================================
    cause    cause_pos                   cue_pos
    =======  ==========================  ==============================================
    sequel   the event before            -1
    echo     echo_lag events before      -1
    recall   the pass                    the event before, which redeems the pass
    habit    the same coffee, when it    the event before, the machine
             last followed this machine
    fork     the item two events before  the event before, whose pause decides
    others   -1                          -1
    =======  ==========================  ==============================================

    Events that open a story, and the first coffee after each machine, are free choices: their cause is taste.
    """

    config: SimulatorConfig
    log: InteractionLog
    cause: NDArray[np.int8]
    """[N] position in CAUSES."""
    cause_pos: NDArray[np.int32]
    """[N] the event that decided which item this one is."""
    cue_pos: NDArray[np.int32]
    """[N] the second event that the rule needs."""
    p_true: NDArray[np.float32]
    """[N] probability of the item, as `next_item_distribution` gives it."""

    def __post_init__(self) -> None:
        for name in ("cause", "cause_pos", "cue_pos", "p_true"):
            rows = len(getattr(self, name))
            if rows != self.log.n_events:
                raise DataError(f"truth column {name!r} has {rows} rows, the log {self.log.name!r} {self.log.n_events}")

    @cached_property
    def world(self) -> World:
        """The rules by which the log was made."""
        return build_world(self.config, open_shop(self.config.causes))

    @cached_property
    def shop_items(self) -> NDArray[np.int64]:
        """[V] internal id in the shop of each item of the log, whose catalogue lacks the items that never occur."""
        index = self.world.shop.catalog.index
        return np.array([0, *(index[external] for external in self.log.catalog.ids[1:].tolist())])

    def names(self) -> NDArray[np.str_]:
        """[N] the cause of each event by name."""
        return np.array(CAUSES)[self.cause]

    def next_item_distribution(self, user: int, position: int) -> Distribution:
        """[V] exact probability of each item as event `position` of a user.

        Conditioned on the rules of the shop, the user's events before `position` with their times, and the time of the
        event itself (the moment of asking, as a server knows it; only fashion uses it). It knows neither the user's
        home aisle nor their coffees beyond what those events prove, so no model can do better in the mean.
        It sums to 1, but for the share of items of the shop that occur nowhere in a small log.
        `position` may be the length of the history: the event to come, asked for at the time of the last one.
        """
        times = self.log.sequence(user)[1]
        items = self.shop_items[self.log.sequence(user)[0]]
        if not 0 <= position <= len(items):
            raise DataError(f"user {self.log.users[user]}: position {position} is outside 0..{len(items)}")
        observer = Observer(self.world)
        for item, time in zip(items[:position].tolist(), times[:position].tolist(), strict=True):
            observer.observe(item, time)
        asked_at = int(times[min(position, len(items) - 1)])
        return observer.distribution(asked_at)[self.shop_items]


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """A log and the truth about it."""

    log: InteractionLog
    truth: Truth


def true_ranks(simulated: Simulated, targets: Targets) -> NDArray[np.float64]:
    """[M] rank of each target (1 = best) when all items are ranked by the true distribution; ties count half."""
    log, truth = simulated.log, simulated.truth
    ranks = np.empty(len(targets))
    order = np.lexsort((targets.positions, targets.users))
    row = 0
    while row < len(order):
        user = int(targets.users[order[row]])
        observer, start = Observer(truth.world), int(log.offsets[user])
        own, times = (column.tolist() for column in log.sequence(user))
        items = truth.shop_items[own].tolist()
        while row < len(order) and targets.users[order[row]] == user:
            target = int(targets.positions[order[row]]) - start
            while observer.position < target:
                observer.observe(items[observer.position], times[observer.position])
            ranks[order[row]] = _rank(observer.distribution(times[target])[truth.shop_items], own[target])
            row += 1
    return ranks


def _rank(distribution: Distribution, item: int) -> float:
    """Equal probabilities are equal up to rounding, so values closer than one part in a billion tie."""
    own = distribution[item]
    better = int((distribution[1:] > own * (1 + 1e-9)).sum())
    level = int((distribution[1:] >= own * (1 - 1e-9)).sum()) - better
    return 1.0 + better + (level - 1) / 2


def ranking_metrics(ranks: NDArray[np.float64], k: int = 10) -> dict[str, float]:
    """HR@k, NDCG@k and MRR@k of one relevant item a target, from its ranks [M]."""
    hit = ranks <= k
    return {
        f"HR@{k}": float(hit.mean()),
        f"NDCG@{k}": float(np.where(hit, 1.0 / np.log2(ranks + 1.0), 0.0).mean()),
        f"MRR@{k}": float(np.where(hit, 1.0 / ranks, 0.0).mean()),
        "MRR": float((1.0 / ranks).mean()),
    }


def bayes_ceiling(simulated: Simulated, targets: Targets, k: int = 10) -> dict[str, float]:
    """Metrics of ranking by `Truth.next_item_distribution`: what no model can beat in the mean.

    Every item is ranked, seen ones too; a protocol that masks seen items is not comparable with it.
    """
    return ranking_metrics(true_ranks(simulated, targets), k)


def ceiling_by_cause(simulated: Simulated, targets: Targets, k: int = 10) -> dict[str, dict[str, float]]:
    """What that ranking gets on the targets of each cause, in the order of CAUSES, with their number as "targets".

    A bound for all targets together, not for each row: a model may win on one cause what it loses on another.
    """
    ranks, cause = true_ranks(simulated, targets), simulated.truth.cause[targets.positions]
    return {
        name: {"targets": float((cause == code).sum()), **ranking_metrics(ranks[cause == code], k)}
        for code, name in enumerate(CAUSES)
        if (cause == code).any()
    }
