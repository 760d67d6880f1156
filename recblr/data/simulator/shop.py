"""The shop: every item with its place and its part in the stories, as arrays that the process indexes.

    V items with padding, A aisles, M coffee machines, C coffees, P passes.

The shop depends on which causes are in play and on nothing else: no seed. An item keeps its external id in every log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recblr.data.log import Catalog
from recblr.data.simulator.words import (
    AISLES,
    COFFEE_AISLE,
    COFFEES,
    DESK_AISLE,
    MACHINES,
    PASSES_AND_REWARDS,
    REDEEM,
    Aisle,
)

PLAIN, OPENS_SEQUEL, OPENS_ECHO, OPENS_FORK = range(4)
"""Classes of the items in an aisle: an item that opens a story, or any other."""
OUTSIDE = -1
"""Row of an item in no aisle. As an index it finds the last aisle, where such an item has probability 0."""


@dataclass(frozen=True, kw_only=True)
class Shop:
    """Items by internal id, 1..V-1."""

    catalog: Catalog
    aisle: NDArray[np.int64]
    """[V] row of the aisle, 0..A-1; OUTSIDE for the coffee corner, the service desk and padding."""
    item_class: NDArray[np.int64]
    """[V] PLAIN, OPENS_SEQUEL, OPENS_ECHO or OPENS_FORK."""
    zipf: NDArray[np.float64]
    """[V] probability of the item inside its aisle and class; 0 outside the aisles."""
    season: NDArray[np.float64]
    """[V] probability of the item inside its aisle for those who follow fashion: the last on the shelf comes first."""
    popularity: NDArray[np.float64]
    """[A] how often an aisle is a home, and how often it is visited for no reason."""
    sequel: dict[int, int]
    """First item -> what follows at once."""
    echo: dict[int, int]
    """First item -> its refill."""
    fork: dict[int, tuple[int, int]]
    """First item -> (after a short pause, after a long one)."""
    machines: NDArray[np.int64]
    """[M] coffee machines; empty without the cause habit."""
    coffees: NDArray[np.int64]
    """[C] coffees."""
    rewards: dict[int, int]
    """Pass -> its reward; empty without the cause recall."""
    redeem: int
    """The item that redeems a pass; 0 without the cause recall."""

    @property
    def n_aisles(self) -> int:
        return len(self.popularity)


@dataclass(frozen=True)
class _Row:
    """One item while the shop is laid out."""

    title: str
    aisle: str
    text: str
    item_class: int = PLAIN


def open_shop(causes: Sequence[str]) -> Shop:
    """Lay out the shop. The coffee corner and the service desk are there only if their stories are told."""
    rows = [row for aisle in AISLES for row in _aisle_rows(aisle, causes)]
    stock = [(f"i{number:03d}", row) for number, row in enumerate(rows + _coffee_rows() + _desk_rows(), start=1)]
    absent = {aisle for aisle, cause in ((COFFEE_AISLE, "habit"), (DESK_AISLE, "recall")) if cause not in causes}
    kept = [(external, row) for external, row in stock if row.aisle not in absent]
    at = {row.title: internal for internal, (_, row) in enumerate(kept, start=1)}
    catalog = Catalog(
        ids=np.array(["", *(external for external, _ in kept)]),
        titles=np.array(["", *(row.title for _, row in kept)]),
        columns={
            "aisle": np.array(["", *(row.aisle for _, row in kept)]),
            "text": np.array(["", *(row.text for _, row in kept)]),
        },
    )
    names = {aisle.name: number for number, aisle in enumerate(AISLES)}
    aisle = np.array([OUTSIDE, *(names.get(row.aisle, OUTSIDE) for _, row in kept)])
    item_class = np.array([PLAIN, *(row.item_class for _, row in kept)])
    popularity = 1.0 / np.sqrt(np.arange(1, len(AISLES) + 1))
    return Shop(
        catalog=catalog,
        aisle=aisle,
        item_class=item_class,
        zipf=_zipf(aisle, item_class),
        season=_season(aisle),
        popularity=popularity / popularity.sum(),
        sequel={at[one]: at[two] for a in AISLES for one, two in a.sequels if "sequel" in causes},
        echo={at[a.echo[0]]: at[a.echo[1]] for a in AISLES if "echo" in causes},
        fork={at[a.fork[0]]: (at[a.fork[1]], at[a.fork[2]]) for a in AISLES if "fork" in causes},
        machines=np.array([at[title] for title in MACHINES if title in at], dtype=np.int64),
        coffees=np.array([at[title] for title in COFFEES if title in at], dtype=np.int64),
        rewards={at[one]: at[reward] for one, reward in PASSES_AND_REWARDS if one in at},
        redeem=at.get(REDEEM, 0),
    )


def _aisle_rows(aisle: Aisle, causes: Sequence[str]) -> list[_Row]:
    """An aisle's items: its shelf by popularity, then what the stories need.

    A story that is not told leaves its items on the shelf, as plain ones.
    """

    def opens(cause: str, item_class: int) -> int:
        return item_class if cause in causes else PLAIN

    first, refill = aisle.echo
    start, soon, late = aisle.fork
    where = f"in the {aisle.name} aisle"
    rows = [_Row(title, aisle.name, f"{title}, {where}.") for title in aisle.shelf]
    for one, two in aisle.sequels:
        text = f"{one}, {where}; most who take it want the {two} next."
        rows.append(_Row(one, aisle.name, text, opens("sequel", OPENS_SEQUEL)))
        rows.append(_Row(two, aisle.name, f"{two}, made to go with the {one}."))
    rows.append(
        _Row(first, aisle.name, f"{first}, {where}; it needs a refill after a while.", opens("echo", OPENS_ECHO))
    )
    rows.append(_Row(refill, aisle.name, f"{refill}: fits the {first}."))
    text = f"{start}, {where}; what goes with it depends on how soon you come back."
    rows.append(_Row(start, aisle.name, text, opens("fork", OPENS_FORK)))
    rows.append(_Row(soon, aisle.name, f"{soon}: for the first days with the {start}."))
    rows.append(_Row(late, aisle.name, f"{late}: for later, once the {start} is in use."))
    return rows


def _coffee_rows() -> list[_Row]:
    machines = [
        _Row(title, COFFEE_AISLE, f"{title}: a cup at the counter, and then your own beans.") for title in MACHINES
    ]
    return machines + [_Row(title, COFFEE_AISLE, f"{title}, a bag of 250 g.") for title in COFFEES]


def _desk_rows() -> list[_Row]:
    passes = [_Row(one, DESK_AISLE, f"{one}: redeem it later for a gift.") for one, _ in PASSES_AND_REWARDS]
    rewards = [_Row(gift, DESK_AISLE, f"The gift for those who redeem the {one}.") for one, gift in PASSES_AND_REWARDS]
    return [*passes, _Row(REDEEM, DESK_AISLE, "Hand in your pass and see what it brings."), *rewards]


def _zipf(aisle: NDArray[np.int64], item_class: NDArray[np.int64]) -> NDArray[np.float64]:
    """[V] 1/rank in shelf order inside each aisle and class, summing to 1 there."""
    zipf = np.zeros(len(aisle))
    for row in range(len(AISLES)):
        for one_class in (PLAIN, OPENS_SEQUEL, OPENS_ECHO, OPENS_FORK):
            members = np.flatnonzero((aisle == row) & (item_class == one_class))
            weight = 1.0 / np.arange(1, len(members) + 1)
            zipf[members] = weight / weight.sum()
    return zipf


def _season(aisle: NDArray[np.int64]) -> NDArray[np.float64]:
    """[V] 1/rank^2 from the end of the shelf inside each aisle, summing to 1 there."""
    season = np.zeros(len(aisle))
    for row, one in enumerate(AISLES):
        shelf = np.flatnonzero(aisle == row)[: len(one.shelf)][::-1]
        weight = 1.0 / np.arange(1, len(shelf) + 1) ** 2
        season[shelf] = weight / weight.sum()
    return season
