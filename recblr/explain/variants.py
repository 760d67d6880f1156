"""Edited histories: each edit is a new, immutable variant that knows the one it was made from.

    T events; times are unix seconds that never decrease

Time stays whole under every edit. Removing an event closes the history up: its neighbours keep their moments, so the
gap that is left is the sum of the two. The other edits move as few moments as they can; a changed gap shifts all that
follows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recblr.errors import HistoryError


@dataclass(frozen=True, kw_only=True, eq=False)
class Variant:
    """A history, what was done last to make it, and what it was made from."""

    items: NDArray[np.int64]
    """[T] internal ids, oldest first."""
    times: NDArray[np.int64]
    """[T] unix seconds, all zero where the history has none."""
    edit: str = "as given"
    """The last edit, positions counted from 0."""
    parent: Variant | None = None

    def __post_init__(self) -> None:
        for name in ("items", "times"):
            array = np.array(getattr(self, name), dtype=np.int64)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if len(self.items) == 0:
            raise HistoryError(f"{self.edit} leaves no event: a model says nothing before the first; keep at least one")
        if self.times.shape != self.items.shape:
            raise HistoryError(f"{len(self.items)} events and {len(self.times)} times: give one time an event")
        if (np.diff(self.times) < 0).any():
            raise HistoryError(f"{self.edit} puts an event before one that came earlier: keep the times in order")

    def __len__(self) -> int:
        return len(self.items)

    def ancestors(self) -> Iterator[Variant]:
        """This variant, its parent, and so on to the history as it was given."""
        one: Variant | None = self
        while one is not None:
            yield one
            one = one.parent

    @property
    def edits(self) -> tuple[str, ...]:
        """What was done, first edit first; empty for a history as given."""
        return tuple(one.edit for one in self.ancestors() if one.parent is not None)[::-1]

    def _child(self, edit: str, items: NDArray[np.int64], times: NDArray[np.int64]) -> Variant:
        return Variant(items=items, times=times, edit=edit, parent=self)

    def _at(self, position: int, end: int | None = None) -> int:
        last = len(self) - 1 if end is None else end
        if not 0 <= position <= last:
            raise HistoryError(f"position {position} is outside the history: its positions run from 0 to {last}")
        return position

    def remove(self, *positions: int) -> Variant:
        """Without these events; the history closes up, and the gaps around each become one."""
        gone = sorted({self._at(position) for position in positions})
        keep = np.delete(np.arange(len(self)), gone)
        return self._child(f"remove {', '.join(map(str, gone))}", self.items[keep], self.times[keep])

    def swap(self, one: int, other: int) -> Variant:
        """Two events change places; the moments stay where they are."""
        items = self.items.copy()
        items[[self._at(one), self._at(other)]] = items[[other, one]]
        return self._child(f"swap {one} and {other}", items, self.times)

    def move(self, position: int, to: int) -> Variant:
        """An event goes to another place; the items between shift by one, the moments stay where they are."""
        moved = np.insert(np.delete(self.items, self._at(position)), self._at(to), self.items[position])
        return self._child(f"move {position} to {to}", moved, self.times)

    def replace(self, position: int, item: int) -> Variant:
        """Another item in the place of one."""
        items = self.items.copy()
        items[self._at(position)] = item
        return self._child(f"replace {position} by item {item}", items, self.times)

    def insert(self, position: int, item: int, time: int | None = None) -> Variant:
        """An event before `position` (at the end where that is the length), by default halfway between its neighbours;
        at the end at the moment of the last event."""
        at = self._at(position, len(self))
        before, after = self.times[max(at - 1, 0)], self.times[min(at, len(self) - 1)]
        moment = int(before + (after - before) // 2) if time is None else time
        edit = f"insert item {item} before {position}" if at < len(self) else f"append item {item}"
        return self._child(edit, np.insert(self.items, at, item), np.insert(self.times, at, moment))

    def change_gap(self, position: int, seconds: int) -> Variant:
        """Let `seconds` pass between event position - 1 and `position`; it and all later events shift."""
        at = self._at(position)
        if at == 0:
            raise HistoryError("the first event has no gap before it: change that of position 1 or later")
        if seconds < 0:
            raise HistoryError(f"a gap of {seconds} seconds puts event {at} before the one it follows: give 0 or more")
        times = self.times.copy()
        times[at:] += seconds - (times[at] - times[at - 1])
        return self._child(f"gap before {position} becomes {seconds} seconds", self.items, times)
