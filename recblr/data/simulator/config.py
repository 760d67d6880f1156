"""What a simulated log may be asked for, and the rates that follow from it.

A planted event needs earlier events that open its story (a camera before its memory card), so the share of events
asked for and the chance of opening a story at a free event differ: `opening_rates` goes from one to the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from recblr.errors import ConfigError

CAUSES = ("taste", "sequel", "echo", "recall", "habit", "fork", "trend", "noise")
"""Why an event happened; `Truth.cause` holds the position in this tuple."""

DEFAULT_SHARES: Mapping[str, float] = {
    "sequel": 0.055,
    "echo": 0.055,
    "recall": 0.045,
    "habit": 0.05,
    "fork": 0.055,
    "trend": 0.07,
    "noise": 0.08,
}
RETURN = 0.85
"""Chance that a visit to the coffee corner returns to a machine already used."""
TAKE_PASS = 0.6
"""Chance of taking a pass at a free event while none is held."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulatorConfig:
    """A log to simulate. Two equal configurations give equal logs on every machine."""

    seed: int = 0
    """Seed of the PCG64 streams, one stream a user."""
    n_users: int = 2000
    """Users."""
    causes: tuple[str, ...] = CAUSES
    """Causes in play; taste is always among them, as it takes the events that no other cause takes."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Share of all events aimed at, by cause; a cause left out takes its default."""
    mean_length: int = 42
    """Events a user on average; lengths are min_length plus an exponential tail."""
    min_length: int = 20
    """Shortest history."""
    max_length: int = 160
    """Longest history."""
    echo_lag: int = 4
    """A refill follows exactly this many events after the first item."""
    recall_gap: tuple[int, int] = (8, 40)
    """A pass can be redeemed from this many to this many events after it was taken."""
    fork_hours: float = 6.0
    """A pause of at least this many hours is long (the clock makes none between 1 and 24 hours)."""
    start: int = 1704067200
    """Unix seconds of the first day, 00:00 UTC; the default is Monday 1 January 2024."""

    def __post_init__(self) -> None:
        for label, name in [("causes", one) for one in self.causes] + [("shares", one) for one in self.shares]:
            if name not in CAUSES:
                raise ConfigError(f"{label}: {name!r} is no cause; choose among {', '.join(CAUSES)}")
        self._check_ranges()
        for name, share in self.shares.items():
            if name == "taste":
                raise ConfigError("shares: taste takes what the other causes leave, so it has no share of its own")
            if name not in self.causes:
                raise ConfigError(f"shares: {name!r} has a share but is not among the causes {self.causes}")
            if not 0 <= share < 1:
                raise ConfigError(f"shares: {name} is {share}; a share lies in [0, 1)")
        opening_rates(self)

    def _check_ranges(self) -> None:
        low, high = self.recall_gap
        for ok, text in (
            (self.seed >= 0, f"seed is {self.seed}; it must be 0 or more"),
            (self.n_users >= 1, f"n_users is {self.n_users}; it must be 1 or more"),
            (self.min_length >= 3, f"min_length is {self.min_length}; it must be 3 or more"),
            (
                self.min_length < self.mean_length < self.max_length,
                f"mean_length is {self.mean_length}; it must lie between min_length {self.min_length} and "
                f"max_length {self.max_length}",
            ),
            (self.echo_lag >= 3, f"echo_lag is {self.echo_lag}; it must be 3 or more, past the reach of a fork"),
            (2 <= low < high, f"recall_gap is {self.recall_gap}; it must be (low, high) with 2 <= low < high"),
            (
                self.start >= 0 and self.start % 86_400 == 0,
                f"start is {self.start}; it must be the unix seconds of a day's 00:00 UTC",
            ),
            (1 <= self.fork_hours <= 24, f"fork_hours is {self.fork_hours}; it must lie in 1..24"),
        ):
            if not ok:
                raise ConfigError(text)

    def share(self, cause: str) -> float:
        """Share of events aimed at for a cause other than taste; 0 where it is not in play."""
        return float(self.shares.get(cause, DEFAULT_SHARES[cause])) if cause in self.causes else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "shares": dict(self.shares)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SimulatorConfig:
        """The inverse of `to_dict`. Raises ConfigError on an unknown key or a value of the wrong kind."""
        known = {one.name for one in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ConfigError(f"simulator config: unknown key {unknown[0]!r}; the keys are {', '.join(sorted(known))}")
        try:
            lists = {name: tuple(values[name]) for name in ("causes", "recall_gap") if name in values}
            return cls(**{**values, **lists})
        except TypeError as error:
            raise ConfigError(f"simulator config: a value of the wrong kind ({error})") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class Rates:
    """Chances at one event. Only `noise` applies to every event, the others where no story has booked the event."""

    noise: float
    """Chance that the event is a uniform click."""
    machine: float
    """Chance of a visit to the coffee corner."""
    take_pass: float
    """Chance of taking a pass while none is held."""
    redeem: float
    """Chance of redeeming a pass that is old enough."""
    trend: float
    """Chance that an aisle is chosen by fashion, not by taste."""
    sequel: float
    """Chance that an item chosen by taste opens a sequel."""
    echo: float
    """Chance that an item chosen by taste opens an echo."""
    fork: float
    """Chance that an item chosen by taste opens a fork."""


def opening_rates(config: SimulatorConfig) -> Rates:
    """Rates whose log has about the shares asked for. Raises ConfigError where the openings leave no room.

    A booked event is noise with chance nu, so a story must be opened 1/(1-nu) times as often as it is told; and it can
    be opened only where no other story has booked the event that it needs.
    """
    noise = config.share("noise")
    hit = 1.0 - noise
    sequel, echo, fork, recall, habit = (
        config.share(name) / hit for name in ("sequel", "echo", "fork", "recall", "habit")
    )
    # The first coffee after each machine is a new choice, not yet a habit.
    visits = habit / RETURN + 1.0 / config.mean_length if habit > 0 else 0.0
    free = (1.0 - sequel - echo - fork - recall - visits) * hit
    taste = free - visits - 2.0 * recall - config.share("trend")
    next_free, second_free = 1.0 - echo - fork, 1.0 - echo
    if taste <= 0 or min(free, next_free) <= 0:
        raise _no_room(config)
    opens = {"sequel": sequel / next_free / taste, "echo": echo / taste, "fork": fork / second_free / taste}
    machine = visits / next_free / free
    if sum(opens.values()) > 0.95 or machine > 0.9:
        raise _no_room(config)
    return Rates(
        noise=noise,
        machine=machine,
        take_pass=TAKE_PASS if recall > 0 else 0.0,
        redeem=_redeem_rate(config, recall, free * next_free, TAKE_PASS * free) if recall > 0 else 0.0,
        trend=config.share("trend") / (taste + config.share("trend")),
        **opens,
    )


def _no_room(config: SimulatorConfig) -> ConfigError:
    wanted = {name: config.share(name) for name in CAUSES[1:] if config.share(name) > 0}
    return ConfigError(
        f"shares {wanted} leave no room for the events that open the stories (each sequel, echo and fork needs one, "
        "each recall two, each habit about one and a half): lower them, or name fewer causes"
    )


def _redeem_rate(config: SimulatorConfig, recall: float, can_redeem: float, takes_pass: float) -> float:
    """Chance of redeeming at a free event, from the events that one round of pass, gap and reward may take.

    A renewal process that starts afresh with each user gives about L/mu - .375 rounds in L events.
    """
    round_length = config.mean_length / (recall * config.mean_length + 0.375)
    waiting = round_length - 1.0 / takes_pass - config.recall_gap[0] - 1.0
    rate = 1.0 / (can_redeem * waiting) if waiting > 0 else 1.0
    if rate > 0.9:
        raise ConfigError(
            f"shares: recall is {config.share('recall')}, more than a gap of at least {config.recall_gap[0]} events "
            f"allows in {config.mean_length} events: lower it, lower recall_gap, or raise mean_length"
        )
    return rate
