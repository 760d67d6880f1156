"""When events happen: sessions of minutes, days between them, more at weekends, few at night.

Times depend on earlier items in one way only: after an item that opens a fork the pause is short or long with equal
chance. Given the past, a gap therefore says nothing about the item that ends it, save through the rules.
"""

from __future__ import annotations

import math

import numpy as np

DAY = 86_400
SESSION_ENDS = 0.22
"""Chance that a session is over after an event."""
WEEKEND_PULL = 0.35
"""Chance that a session planned for a weekday waits for the weekend."""
FIRST_DAYS = 270
"""Users arrive evenly over this many days."""
MEAN_MINUTES_IN_SESSION = 4.0
MEAN_DAYS_BETWEEN_SESSIONS = 6.0

# Relative weight of the hours 0..23 for the start of a session: a trough at night, a peak in the evening.
_DAY_HOURS = (1, 1, 0, 0, 0, 0, 1, 3, 4, 4, 4, 5, 6, 5, 4, 4, 5, 7, 9, 11, 12, 11, 7, 3)
_NIGHT_HOURS = (9, 8, 5, 3, 1, 0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 2, 2, 3, 4, 5, 6, 8, 9, 10)
NIGHT_OWLS = 0.15
"""Share of users who keep night hours."""


def _cumulative(weights: tuple[int, ...]) -> tuple[float, ...]:
    total = sum(weights)
    return tuple(sum(weights[: hour + 1]) / total for hour in range(len(weights)))


_DAY_CUMULATIVE, _NIGHT_CUMULATIVE = _cumulative(_DAY_HOURS), _cumulative(_NIGHT_HOURS)


class Clock:
    """One user's clock. Draws from `rng` only through `random()`, whose stream is the same on every platform."""

    def __init__(self, rng: np.random.Generator, start: int) -> None:
        self.rng = rng
        self.hours = _NIGHT_CUMULATIVE if rng.random() < NIGHT_OWLS else _DAY_CUMULATIVE
        self.start = start
        self.now = 0

    def first(self) -> int:
        """Unix seconds of the first event."""
        self.now = self._on_day(int(self.rng.random() * FIRST_DAYS))
        return self.now

    def next(self, after_fork: bool) -> int:
        """Unix seconds of the next event: in this session (under 46 minutes later) or the next one (over a day)."""
        ends = 0.5 if after_fork else SESSION_ENDS
        if self.rng.random() < ends:
            days = 2 + int(self._exponential(MEAN_DAYS_BETWEEN_SESSIONS - 2.0))
            self.now = self._on_day((self.now - self.start) // DAY + days)
        else:
            self.now += 30 + min(int(self._exponential(60.0 * MEAN_MINUTES_IN_SESSION)), 2700)
        return self.now

    def _exponential(self, mean: float) -> float:
        return -mean * math.log1p(-self.rng.random())

    def _on_day(self, day: int) -> int:
        """A moment of a session's start on a day, or on the weekend after it."""
        weekday = (day + self.start // DAY + 3) % 7  # 1 January 1970 was a Thursday; Monday is 0
        if weekday < 5 and self.rng.random() < WEEKEND_PULL:
            day += 5 - weekday + int(2 * self.rng.random())
        draw = self.rng.random()
        hour = next(hour for hour, edge in enumerate(self.hours) if draw < edge)
        return self.start + day * DAY + hour * 3600 + int(3600 * self.rng.random())
