"""Measuring explanations for a reader: one run at a time over all sessions, bounded, with progress, cancellable.

A run is a thread of the server: torch leaves the interpreter free while it computes, and the shared model is only read.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from recblr.errors import RecblrError

KEPT = 16
SECONDS = 120
"""At most, from start to end of a run."""


class _Ended(Exception):
    """Cancelled, or out of time."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to measure."""

    run: str
    state: tuple[str, int, int]
    """Differs where the run folder was written anew."""
    methods: tuple[str, ...]
    events: int
    """Held-out events of each cause; of a log without causes, users."""
    contrast: str


@dataclass(frozen=True, kw_only=True)
class Case:
    """One explained event."""

    cause: str
    user: str
    position: int
    """Events before it in the user's history."""
    target: str
    """External id of its item."""
    decided_by: int
    """Number of the event that decided it, from 1 in the user's history."""
    known: bool
    """Whether the model ranks its item first."""
    hits: Mapping[str, bool]
    """Method -> whether it puts the deciding event first."""


@dataclass(kw_only=True)
class Measured:
    """A run under way or at its end."""

    request: Request
    owner: str
    started: float = field(default_factory=time.monotonic)
    finished: float | None = None
    said: str = "choosing events"
    done: int = 0
    total: int = 1
    cancelled: bool = False
    failed: str | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    """Of the pointing game; empty where the log knows no causes."""
    cases: list[Case] = field(default_factory=list)
    faithfulness: list[dict[str, Any]] = field(default_factory=list)
    """Of users, where the log knows no causes."""

    @property
    def under_way(self) -> bool:
        return self.finished is None

    @property
    def seconds(self) -> float:
        return (self.finished or time.monotonic()) - self.started

    def tell(self, said: str, done: int, total: int) -> None:
        """Called between explanations; ends the run where it should end."""
        self.said, self.done, self.total = said, done, max(total, 1)
        if self.cancelled:
            raise _Ended("cancelled")
        if self.seconds > SECONDS:
            raise _Ended(f"it took longer than {SECONDS} s; choose fewer events or methods")


class TrustRunner:
    """Starts runs one at a time and remembers the last of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done: OrderedDict[Request, Measured] = OrderedDict()
        self._thread: threading.Thread | None = None
        self.current: Measured | None = None

    def start(self, request: Request, owner: str, work: Callable[[Measured], None]) -> Measured:
        """Begin `work`, which fills what it is given; raises RecblrError where one is under way or nothing is asked."""
        if not request.methods:
            raise RecblrError("Choose at least one method.")
        with self._lock:
            if self.current is not None and self.current.under_way:
                raise RecblrError("Explanations are being measured already, one run at a time: try again in a moment.")
            self.current = measured = Measured(request=request, owner=owner)
            self._thread = threading.Thread(target=self._work, args=(measured, work), daemon=True)
            self._thread.start()
            return measured

    def cancel(self, owner: str) -> None:
        """End the owner's run after the explanations under way."""
        with self._lock:
            if self.current is not None and self.current.under_way and self.current.owner == owner:
                self.current.cancelled = True

    def wait(self, seconds: float) -> None:
        """Until the run has ended, or for so many seconds."""
        if self._thread is not None:
            self._thread.join(seconds)

    def found(self, request: Request) -> Measured | None:
        """The run that answered this request."""
        return self._done.get(request)

    def latest(self, run: str, state: tuple[str, int, int], method: str, cause: str) -> Measured | None:
        """The last run that measured a method of this run on a cause."""
        for done in reversed(list(self._done.values())):
            of_run = (done.request.run, done.request.state) == (run, state) and method in done.request.methods
            if of_run and any(row["cause"] == cause for row in done.rows):
                return done
        return None

    def _work(self, measured: Measured, work: Callable[[Measured], None]) -> None:
        try:
            work(measured)
        except _Ended as why:
            measured.failed = None if measured.cancelled else str(why)
        except RecblrError as error:
            measured.failed = str(error)
        except Exception as error:  # a thread's error would reach no reader
            measured.failed = f"{type(error).__name__}: {error}"
        finally:
            with self._lock:
                measured.finished = time.monotonic()
                if measured.failed is None and not measured.cancelled:
                    self._done[measured.request] = measured
                    while len(self._done) > KEPT:
                        self._done.popitem(last=False)
