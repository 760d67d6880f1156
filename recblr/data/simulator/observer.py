"""What the past of one user says about the next event: the rules of the shop, written once.

The simulator draws events from these rules, and the Bayes ceiling ranks items by them.

An event is *booked* when an earlier event has fixed what it should be (a memory card after a camera), else *free*.
Given the past and the event's own time, the next item has the distribution

    noise/V + (1 - noise) * ( the booked outcome  |  coffee corner, desk, or an aisle's item )

where an aisle's item is drawn by aisle (home, the aisle visited last, or any), by class (opens a sequel, an echo, a
fork, or plain) and by Zipf's law inside; or by fashion, which moves through the aisles with the date. Two things are
the user's own: the home aisle, and which coffee goes with which machine. `UserTaste` holds either the truth about them
(to draw) or what the past proves about them (to predict); so the predictive distribution knows the rules and the past,
and nothing else.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recblr.data.simulator.config import RETURN
from recblr.data.simulator.rules import (
    CURRENT,
    ECHO,
    FORK,
    HABIT,
    HOME,
    NOISE,
    RECALL,
    SEQUEL,
    TASTE,
    TREND,
    Booking,
    Branch,
    Distribution,
    FreeEvent,
    UserTaste,
    World,
    aisle_fashion,
    evenly,
)
from recblr.data.simulator.shop import OPENS_ECHO, OPENS_FORK, OPENS_SEQUEL, OUTSIDE, PLAIN


class Observer:
    """Follows one user's events. Nothing in it comes from anywhere but the events given to `observe`."""

    def __init__(self, world: World) -> None:
        self.world = world
        shop = world.shop
        self.position = 0
        self.last_time = 0
        self.bookings: dict[int, Booking] = {}
        self.aisle = OUTSIDE  # the aisle of the last event in one
        self.held_pass = self.held_since = -1
        self.used_machines: list[int] = []
        self.last_machine = 0
        self.pairs: dict[tuple[int, int], int] = {}  # (machine, coffee) -> where the coffee last followed the machine
        coffees = np.full((len(shop.machines), len(shop.coffees)), 1.0 / max(len(shop.coffees), 1))
        self.belief = UserTaste(shop.popularity.copy(), coffees)
        self._free: FreeEvent | None = None
        self._free_at = (-1, -1)
        self._machine_row = {int(machine): row for row, machine in enumerate(shop.machines)}
        self._coffee_row = {int(coffee): row for row, coffee in enumerate(shop.coffees)}

    def distribution(self, time: int) -> Distribution:
        """[V] probability of each item as the next event, if that event happens at `time` (unix seconds)."""
        total = np.zeros(len(self.world.any_item))
        for branch in self.branches(time, self.belief):
            total += branch.weight * branch.items
        return total

    def branches(self, time: int, taste: UserTaste) -> list[Branch]:
        """All ways in which the next event can come about, for a user of this taste."""
        noise = self.world.rates.noise
        booked = self.bookings.get(self.position)
        if booked is None:
            free = self._free_event(time)
            items = self._aisle_weights(taste.home)[self.world.shop.aisle] * free.inside
            ways = [*free.ways, Branch(TASTE, free.by_taste, items)]
        else:
            ways = [Branch(booked.cause, 1.0, self._outcome(booked, taste))]
        branches = [Branch(way.cause, (1.0 - noise) * way.weight, way.items) for way in ways]
        return [*branches, Branch(NOISE, noise, self.world.any_item)] if noise > 0 else branches

    def _outcome(self, booked: Booking, taste: UserTaste) -> Distribution:
        items = np.zeros(len(self.world.any_item))
        if booked.cause == HABIT:
            items[self.world.shop.coffees] = taste.coffee[self._machine_row[self.last_machine]]
        else:
            items[booked.item] = 1.0
        return items

    def _free_event(self, time: int) -> FreeEvent:
        """What a free event at `time` can be, whatever the user's home aisle. Kept until the next event."""
        if self._free is not None and self._free_at == (self.position, time):
            return self._free
        world, rates, shop = self.world, self.world.rates, self.world.shop
        next_free = self.position + 1 not in self.bookings
        ways: list[Branch] = []
        if rates.machine > 0 and next_free:
            ways.append(Branch(TASTE, rates.machine, self._machine_choice()))
        if rates.take_pass > 0:
            if self.held_pass < 0:
                ways.append(Branch(TASTE, rates.take_pass * (1.0 - rates.machine), world.any_pass))
            elif next_free and self._redeemable(self.position):
                ways.append(Branch(TASTE, rates.redeem * (1.0 - rates.machine), world.redeem))
        rest = 1.0 - sum(way.weight for way in ways)
        classes = self._class_weights(next_free)[shop.item_class]  # [V]
        if rates.trend > 0:
            aisles = aisle_fashion(time - world.config.start, shop.n_aisles)
            ways.append(Branch(TREND, rest * rates.trend, aisles[shop.aisle] * shop.season))
        self._free = FreeEvent(ways, rest * (1.0 - rates.trend), classes * shop.zipf)
        self._free_at = (self.position, time)
        return self._free

    def _class_weights(self, next_free: bool) -> NDArray[np.float64]:
        """[4] class of an item chosen in an aisle. A story is opened only if the event that it books is free."""
        rates, lag = self.world.rates, self.world.config.echo_lag
        weights = np.zeros(4)
        weights[OPENS_SEQUEL] = rates.sequel * next_free
        weights[OPENS_ECHO] = rates.echo * (self.position + lag not in self.bookings)
        weights[OPENS_FORK] = rates.fork * (self.position + 2 not in self.bookings)
        weights[PLAIN] = 1.0 - weights.sum()
        return weights

    def _aisle_weights(self, home: NDArray[np.float64]) -> NDArray[np.float64]:
        """[A] the aisle that taste visits. Before the first visit the chance of the current aisle goes to home."""
        any_aisle = (1.0 - HOME - CURRENT) * self.world.shop.popularity
        if self.aisle == OUTSIDE:
            return (HOME + CURRENT) * home + any_aisle
        weights = HOME * home + any_aisle
        weights[self.aisle] += CURRENT
        return weights

    def _machine_choice(self) -> Distribution:
        any_machine = self.world.any_machine
        if not self.used_machines:
            return any_machine
        return RETURN * evenly(self.used_machines, len(any_machine)) + (1.0 - RETURN) * any_machine

    def _redeemable(self, position: int) -> bool:
        low, high = self.world.config.recall_gap
        return self.held_pass >= 0 and low <= position - self.held_since <= high

    def observe(self, item: int, time: int) -> None:
        """Take in the next event."""
        self._learn_home(item, time)
        self._learn_coffee(item)
        self._settle_fork(time)
        here, shop = self.position, self.world.shop
        if item in shop.sequel:
            self._book(here + 1, Booking(SEQUEL, shop.sequel[item], here, -1))
        elif item in shop.echo:
            self._book(here + self.world.config.echo_lag, Booking(ECHO, shop.echo[item], here, -1))
        elif item in shop.fork:
            soon, late = shop.fork[item]
            self._book(here + 2, Booking(FORK, soon, here, here + 1, late))
        elif item in self._machine_row:
            self._use_machine(item)
        elif item in shop.rewards:
            self.held_pass, self.held_since = item, here
        elif item == shop.redeem and self._redeemable(here):
            self._book(here + 1, Booking(RECALL, shop.rewards[self.held_pass], self.held_since, here))
            self.held_pass = -1
        if shop.aisle[item] != OUTSIDE:
            self.aisle = int(shop.aisle[item])
        self.bookings.pop(here, None)
        self.position, self.last_time = here + 1, time
        if self.held_pass >= 0 and self.position - self.held_since > self.world.config.recall_gap[1]:
            self.held_pass = -1  # too late to redeem

    def explain(self, cause: int, item: int) -> tuple[int, int, int]:
        """(cause, cause_pos, cue_pos) of the next event, drawn as `item` from a branch of this cause.

        A coffee that has not yet followed the machine is a new choice, which nothing in the past could tell: taste.
        """
        booked = self.bookings.get(self.position)
        if booked is None or cause != booked.cause:
            return cause, -1, -1
        if cause != HABIT:
            return cause, booked.cause_pos, booked.cue_pos
        before = self.pairs.get((self.last_machine, item))
        return (TASTE, -1, -1) if before is None else (HABIT, before, booked.cue_pos)

    def after_fork(self) -> bool:
        """Whether the pause before the next event decides a fork."""
        booked = self.bookings.get(self.position + 1)
        return booked is not None and booked.cause == FORK

    def _book(self, position: int, booking: Booking) -> None:
        """The first story to book an event keeps it: noise may have opened a second one that needs the same event."""
        self.bookings.setdefault(position, booking)

    def _settle_fork(self, time: int) -> None:
        """The pause before this event decides what the next one is, if a fork has booked that one."""
        booked = self.bookings.get(self.position + 1)
        if booked is not None and booked.cause == FORK:
            late = time - self.last_time >= 3600.0 * self.world.config.fork_hours
            self.bookings[self.position + 1] = booked._replace(item=booked.late_item if late else booked.item)

    def _use_machine(self, item: int) -> None:
        here = self.position
        if item not in self.used_machines:
            self.used_machines.append(item)
        if here + 1 not in self.bookings:
            self._book(here + 1, Booking(HABIT, 0, here, here))
            self.last_machine = item

    def _learn_home(self, item: int, time: int) -> None:
        """Bayes' rule for the home aisle: P(item | home) = c + w [home is the item's aisle], the same c for all."""
        world, aisle = self.world, int(self.world.shop.aisle[item])
        if self.position in self.bookings or aisle == OUTSIDE:
            return
        home, noise, free = self.belief.home, world.rates.noise, self._free_event(time)
        by_taste = free.by_taste * free.inside[item]
        away = (1.0 - HOME - CURRENT) * world.shop.popularity[aisle] + CURRENT * (aisle == self.aisle)
        elsewhere = sum(way.weight * way.items[item] for way in free.ways) + by_taste * away
        constant = noise * world.any_item[item] + (1.0 - noise) * elsewhere
        if constant > 0:
            pull = HOME + CURRENT if self.aisle == OUTSIDE else HOME
            home[aisle] *= 1.0 + (1.0 - noise) * by_taste * pull / constant
            home /= home.sum()

    def _learn_coffee(self, item: int) -> None:
        """Bayes' rule for the coffee that goes with the machine just used: the event may also have been noise."""
        booked = self.bookings.get(self.position)
        if booked is None or booked.cause != HABIT:
            return
        noise, column = self.world.rates.noise, self._coffee_row.get(item)
        if column is None:
            return  # noise for certain: every coffee is as likely as before
        row = self.belief.coffee[self._machine_row[self.last_machine]]
        likelihood = np.full(len(row), noise * self.world.any_item[item])
        likelihood[column] += 1.0 - noise
        row *= likelihood
        row /= row.sum()
        self.pairs[self.last_machine, item] = self.position
