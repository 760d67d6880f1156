"""Measuring explanations for a reader: in processes of their own, one after the other, bounded, cancellable.

A measurement takes a core for many seconds; in a thread of the server it would slow every page. A reader who asks while
another's is under way waits for it in line. A process ends with the server, however that ends: see trust_work.py.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from recblr.errors import RecblrError

LOGGER = logging.getLogger("recblr.app")
KEPT = 16
SECONDS = 300
"""At most, from start to end of a process."""
WAITING = 8
"""Measurements that may wait in line."""
SCRIPT = Path(__file__).with_name("trust_work.py")

Process = subprocess.Popen[str]


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
class Place:
    """Where what is measured lies on this machine."""

    run: str
    """Folder."""
    log: str
    """File or folder."""
    truth: bool
    """Whether the log knows its causes, in the ids of the run."""


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
    """A measurement in line, under way or at its end."""

    request: Request
    owner: str
    started: float | None = None
    """Moment at which its process was started; None in line."""
    finished: float | None = None
    said: str = "starting"
    done: int = 0
    total: int = 1
    cancelled: bool = False
    late: bool = False
    failed: str | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    """Of the pointing game; empty where the log knows no causes."""
    cases: list[Case] = field(default_factory=list)
    faithfulness: list[dict[str, Any]] = field(default_factory=list)
    """Of users, where the log knows no causes."""

    @property
    def under_way(self) -> bool:
        """Or in line."""
        return self.finished is None

    @property
    def seconds(self) -> float:
        """Since its process was started."""
        return 0.0 if self.started is None else (self.finished or time.monotonic()) - self.started

    @property
    def succeeded(self) -> bool:
        return self.finished is not None and self.failed is None and not self.cancelled

    def take(self, message: Mapping[str, Any]) -> None:
        """One line of the process."""
        self.said, self.done = str(message.get("said", self.said)), int(message.get("done", self.done))
        self.total = max(int(message.get("total", self.total)), 1)
        self.rows += message.get("rows", [])
        self.cases += [Case(**one) for one in message.get("cases", [])]
        self.faithfulness += message.get("faithfulness", [])
        self.failed = message.get("failed", self.failed)


class TrustRunner:
    """Starts measurements one after the other, and remembers the last answers and each reader's own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._line: list[tuple[Measured, Place]] = []
        self._process: Process | None = None
        self._thread: threading.Thread | None = None
        self._done: OrderedDict[Request, Measured] = OrderedDict()
        self._own: OrderedDict[str, Measured] = OrderedDict()
        self.current: Measured | None = None

    def start(self, request: Request, owner: str, place: Place) -> Measured:
        """Begin a measurement, or put it in line; raises RecblrError where nothing is asked, where the reader has one
        already, or where too many wait."""
        if not request.methods:
            raise RecblrError("Choose at least one method.")
        with self._lock:
            own = self._own.get(owner)
            if own is not None and own.under_way:
                raise RecblrError("Your measurement is under way already: wait for its end, or cancel it.")
            if len(self._line) >= WAITING:
                raise RecblrError(f"{WAITING} measurements wait in line already: try again in a moment.")
            measured = Measured(request=request, owner=owner)
            self._remember(self._own, owner, measured)
            self._line.append((measured, place))
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work_off, name="trust", daemon=True)
                self._thread.start()
            return measured

    def of(self, owner: str) -> Measured | None:
        """The last measurement of a reader."""
        return self._own.get(owner)

    def ahead(self, measured: Measured) -> int:
        """Measurements before this one: 0 where it is under way."""
        with self._lock:
            for number, (one, _) in enumerate(self._line):
                if one is measured:
                    return number + 1
        return 0

    def cancel(self, owner: str) -> None:
        """End the reader's measurement, and nobody else's."""
        with self._lock:
            measured = self._own.get(owner)
            if measured is None or not measured.under_way:
                return
            measured.cancelled = True
            if measured is self.current:
                _end(self._process)
                return
            self._line = [one for one in self._line if one[0] is not measured]
            measured.finished = time.monotonic()

    def wait(self, seconds: float) -> None:
        """Until nothing is under way or in line, or for so many seconds."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)

    def found(self, request: Request) -> Measured | None:
        """The measurement that answered this request."""
        return self._done.get(request)

    def latest(self, run: str, state: tuple[str, int, int], method: str, cause: str) -> Measured | None:
        """The last measurement of a method of this run on a cause."""
        for done in reversed(list(self._done.values())):
            of_run = (done.request.run, done.request.state) == (run, state) and method in done.request.methods
            if of_run and any(row["cause"] == cause for row in done.rows):
                return done
        return None

    def _work_off(self) -> None:
        while True:
            with self._lock:
                if not self._line:
                    self.current, self._thread = None, None  # under the lock: who comes now starts a thread of his own
                    return
                self.current, place = self._line.pop(0)
            self._measure(self.current, place)

    def _measure(self, measured: Measured, place: Place) -> None:
        measured.started = time.monotonic()
        same = self._done.get(measured.request)
        if same is not None:  # found while this one waited
            measured.rows, measured.cases, measured.faithfulness = same.rows, same.cases, same.faithfulness
            measured.finished = time.monotonic()
            return
        try:
            self._run(measured, place)
        except OSError as error:
            measured.failed = f"its process could not be started ({error}); free some memory, or try again"
        with self._lock:
            measured.finished = time.monotonic()
            if measured.succeeded:
                self._remember(self._done, measured.request, measured)

    def _run(self, measured: Measured, place: Place) -> None:
        """Follow a process from its start to its end."""
        with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
            with self._lock:
                if measured.cancelled:
                    return
                self._process = process = _spawn(errors)
            watch = threading.Timer(SECONDS, _too_late, args=(measured, process))
            watch.start()
            try:
                with suppress(BrokenPipeError):
                    process.stdin.write(
                        json.dumps({"request": asdict(measured.request), "place": asdict(place)}) + "\n"
                    )
                    process.stdin.flush()  # and stays open: its end tells the process that the server is gone
                for line in process.stdout:
                    with suppress(ValueError):  # a library that prints
                        measured.take(json.loads(line))
                status = process.wait()
            finally:
                watch.cancel()
                _end(process)
                process.stdin.close()
                process.stdout.close()
            if measured.cancelled:
                return
            errors.seek(0)
            said = errors.read().strip()
            measured.failed = measured.failed or _reason(measured, status, said)
            if measured.failed is not None and said:
                LOGGER.error("measuring %s: %s", measured.request.run, said)

    @staticmethod
    def _remember(kept: OrderedDict[Any, Measured], key: Any, measured: Measured) -> None:
        kept.pop(key, None)
        kept[key] = measured
        for old in list(kept):
            if len(kept) > KEPT and not kept[old].under_way:
                kept.pop(old)


def _spawn(errors: Any) -> Process:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        encoding="utf-8",
    )


def _too_late(measured: Measured, process: Process) -> None:
    measured.late = True
    _end(process)


def _end(process: Process | None) -> None:
    if process is not None and process.poll() is None:
        process.kill()
        process.wait()


def _reason(measured: Measured, status: int, said: str) -> str | None:
    """Why it failed, in words; None where it did not. `said` is what the process wrote as errors."""
    if measured.late:
        return f"it took longer than {SECONDS} s; choose fewer events or methods"
    if status == 0:
        return None
    if status < 0:
        return f"its process was ended from outside (signal {-status}), perhaps for want of memory; try fewer methods"
    return said.rpartition("\n")[2] or f"its process ended with status {status}"
