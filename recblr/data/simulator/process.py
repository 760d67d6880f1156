"""Draw a log from the rules, event by event, and note why each event happened."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recblr.data.log import Catalog, InteractionLog
from recblr.data.simulator.clock import Clock
from recblr.data.simulator.config import SimulatorConfig
from recblr.data.simulator.observer import Observer
from recblr.data.simulator.rules import Branch, Distribution, UserTaste, World, build_world
from recblr.data.simulator.shop import Shop, open_shop
from recblr.data.simulator.truth import Simulated, Truth


class Event(NamedTuple):
    """One row of the log and of the truth about it."""

    item: int
    time: int
    cause: int
    cause_pos: int
    cue_pos: int
    p_true: float


def simulate(config: SimulatorConfig | None = None) -> Simulated:
    """The log of a configuration, with the truth about every event. The default is the mixed sample log.

    Each user has a random stream of their own, so a log of fewer users is the beginning of one of more.
    """
    config = config or SimulatorConfig()
    world = build_world(config, open_shop(config.causes))
    histories = [_history(world, user) for user in range(config.n_users)]
    events = [event for history in histories for event in history]
    catalog, items = _stock(world.shop.catalog, np.array([event.item for event in events], dtype=np.int32))
    lengths = [len(history) for history in histories]
    digits = max(4, len(str(config.n_users)))  # so that the order of the texts is the order of the users
    log = InteractionLog(
        name="simulated",
        items=items,
        times=np.array([event.time for event in events], dtype=np.int64),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        users=np.array([f"u{user:0{digits}d}" for user in range(1, config.n_users + 1)]),
        catalog=catalog,
    )
    truth = Truth(
        config=config,
        log=log,
        cause=np.array([event.cause for event in events], dtype=np.int8),
        cause_pos=np.array([event.cause_pos for event in events], dtype=np.int32),
        cue_pos=np.array([event.cue_pos for event in events], dtype=np.int32),
        p_true=np.array([event.p_true for event in events], dtype=np.float32),
    )
    return Simulated(log=log, truth=truth)


def _stock(shop: Catalog, items: NDArray[np.int32]) -> tuple[Catalog, NDArray[np.int32]]:
    """(catalogue of the items that occur, events in its internal ids): what a reader of the events would build.

    Only a small log leaves an item out.
    """
    rows = np.concatenate([[0], np.unique(items)])
    titles = None if shop.titles is None else shop.titles[rows]
    columns = {name: column[rows] for name, column in shop.columns.items()}
    return Catalog(ids=shop.ids[rows], titles=titles, columns=columns), np.searchsorted(rows, items).astype(np.int32)


def _history(world: World, user: int) -> list[Event]:
    """All events of one user."""
    config = world.config
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([config.seed, user])))
    taste = _draw_taste(rng, world.shop)
    tail = -(config.mean_length - config.min_length) * math.log1p(-rng.random())
    length = min(config.min_length + int(tail + 0.5), config.max_length)
    clock, observer = Clock(rng, config.start), Observer(world)
    events = []
    for position in range(length):
        time = clock.next(observer.after_fork()) if position else clock.first()
        event = _draw_event(rng, observer, taste, time)
        observer.observe(event.item, time)
        events.append(event)
    return events


def _draw_taste(rng: np.random.Generator, shop: Shop) -> UserTaste:
    """The user's home aisle and their coffee for each machine."""
    home = np.zeros(shop.n_aisles)
    home[_draw(rng, shop.popularity)] = 1.0
    coffee = np.zeros((len(shop.machines), len(shop.coffees)))
    for row in coffee:
        row[int(rng.random() * len(row))] = 1.0
    return UserTaste(home, coffee)


def _draw_event(rng: np.random.Generator, observer: Observer, taste: UserTaste, time: int) -> Event:
    branch = _draw_branch(rng, observer.branches(time, taste))
    item = _draw(rng, branch.items)
    p_true = sum(way.weight * float(way.items[item]) for way in observer.branches(time, observer.belief))
    cause, cause_pos, cue_pos = observer.explain(branch.cause, item)
    return Event(item, time, cause, cause_pos, cue_pos, p_true)


def _draw_branch(rng: np.random.Generator, branches: list[Branch]) -> Branch:
    draw = rng.random()
    for branch in branches:
        draw -= branch.weight
        if draw < 0:
            return branch
    return branches[0]  # the weights fell short of 1 by rounding


def _draw(rng: np.random.Generator, probabilities: Distribution | NDArray[np.float64]) -> int:
    """Invert the cumulative distribution. Scaled by its last value, so that rounding never draws past the end."""
    cumulative = np.cumsum(probabilities)
    return int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
