"""Measuring a kernel for a reader: one run at a time over all sessions, in a process of its own, bounded, cancellable.

A run is a request in JSON for `bench.live` or `bench.curves` in `kernels/`. Its process starts in a group of its own,
so that whatever it starts ends with it; it ends itself after its seconds even if the server is gone.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recblr.errors import RecblrError

KERNELS = Path(__file__).resolve().parents[1] / "kernels"
RESULTS = KERNELS / "bench/results"
MODULES = {"shape": "bench.live", "code": "bench.live", "curves": "bench.curves"}
SECONDS = {"shape": 60, "code": 90, "curves": 180}
"""At most, from start to end of a run."""
ELEMENTS = {"cpu": 8_388_608, "cuda": 268_435_456}
"""At most, B * T * D of a live run."""
INTERPRETED_EVENTS = 128
"""At most, B * T in the interpreter, which takes milliseconds an event."""
INTERPRETER = "triton-interpret"
BACKENDS = {"cpu": ("native", "torch", "reference"), "cuda": ("triton", "torch")}
"""Offered by device; whether one can be used is found out by using it, which may take a compiler."""
KEPT = 32
RECORD_FIELDS = {"set", "device", "versions", "commit", "date", "rows", "bars"}
"""What a recorded run of the benchmark must hold to be shown."""

Request = dict[str, Any]
Process = subprocess.Popen[str]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What can be run on this machine."""

    gpu: str | None
    """Its name."""
    interpreter: bool
    """Whether Triton is there, whose interpreter runs the GPU kernels step by step on the CPU."""


@dataclass(kw_only=True)
class Run:
    """A run under way or at its end; what it found so far is in its lists."""

    request: Request
    owner: str
    started: float = field(default_factory=time.monotonic)
    finished: float | None = None
    said: str = "starting …"
    rows: list[dict[str, Any]] = field(default_factory=list)
    ceiling: float | None = None
    code: dict[str, Any] | None = None
    failed: str | None = None
    cancelled: bool = False

    @property
    def under_way(self) -> bool:
        return self.finished is None

    @property
    def seconds(self) -> float:
        return (self.finished or time.monotonic()) - self.started

    @property
    def succeeded(self) -> bool:
        return self.finished is not None and self.failed is None and not self.cancelled

    def take(self, message: Mapping[str, Any]) -> None:
        """One line of the process."""
        self.said = message.get("said", self.said)
        self.rows += message.get("rows", [])
        self.ceiling = message.get("ceiling", self.ceiling)
        self.code = message.get("code", self.code)
        self.failed = message.get("failed", self.failed)


class Runner:
    """Starts runs one at a time and remembers the last of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: Process | None = None
        self._spare: tuple[Process, Any] | None = None
        self._done: OrderedDict[int, Run] = OrderedDict()
        self.current: Run | None = None
        self._thread: threading.Thread | None = None

    def start(self, request: Request, owner: str) -> Run:
        """Begin a run; raises RecblrError where one is under way or the request is out of bounds."""
        refused = why_not(request)
        if refused is not None:
            raise RecblrError(refused)
        with self._lock:
            if self.current is not None and self.current.under_way:
                raise RecblrError(
                    "A measurement is under way; two at once would slow each other. Try again in a moment."
                )
            request = {**request, "seconds": SECONDS[request["job"]]}
            run = Run(request=request, owner=owner)
            self._process, errors = self._take_spare(request) or _spawn(request)
            self.current = run
            self._thread = threading.Thread(target=self._follow, args=(run, self._process, errors), daemon=True)
            self._thread.start()
            return run

    def prepare(self) -> None:
        """Have a process import what a run needs, so that the next run does not wait for it."""
        with self._lock:
            busy = self.current is not None and self.current.under_way
            if not busy and (self._spare is None or self._spare[0].poll() is not None):
                self._spare = _spawn({"job": "shape"})

    def _take_spare(self, request: Request) -> tuple[Process, Any] | None:
        """The waiting process, where it is of the kind that the request needs."""
        spare = self._spare
        if spare is None or spare[0].poll() is not None or MODULES[request["job"]] != MODULES["shape"]:
            return None
        if INTERPRETER in request.get("backends", []):
            return None
        self._spare = None
        return spare

    def cancel(self, owner: str) -> None:
        """End the owner's run, if one is under way."""
        with self._lock:
            if self.current is not None and self.current.under_way and self.current.owner == owner:
                self.current.cancelled = True
                _end(self._process)

    def wait(self, seconds: float) -> None:
        """Until the run has ended, or for so many seconds."""
        if self._thread is not None:
            self._thread.join(seconds)

    def latest(self, job: str, owner: str, request: Request) -> Run | None:
        """The last run of a job that succeeded: of this owner, else of anybody who asked the same."""
        done = [run for run in reversed(self._done.values()) if run.request["job"] == job]
        own = (run for run in done if run.owner == owner)
        same = (run for run in done if asked(run.request) == asked(request))
        return next(own, None) or next(same, None)

    def _follow(self, run: Run, process: Process, errors: Any) -> None:
        watch = threading.Timer(SECONDS[run.request["job"]], _end, args=(process,))
        watch.start()
        try:
            with suppress(BrokenPipeError):
                process.stdin.write(json.dumps(run.request))
                process.stdin.close()
            for line in process.stdout:
                with suppress(ValueError):  # a library that prints
                    run.take(json.loads(line))
            status = process.wait()
            if status and run.failed is None and not run.cancelled:
                run.failed = _reason(status, errors, run.seconds >= SECONDS[run.request["job"]] - 1)
        finally:
            watch.cancel()
            errors.close()
            process.stdout.close()
            with self._lock:
                run.finished = time.monotonic()
                if run.succeeded:
                    self._done[id(run)] = run
                    while len(self._done) > KEPT:
                        self._done.popitem(last=False)


def asked(request: Request) -> Request:
    """A request without what does not change its answer."""
    return {name: value for name, value in request.items() if name != "seconds"}


def why_not(request: Request) -> str | None:
    """Why a request is out of bounds, and how to come back; None where it is not."""
    if request["job"] == "code":
        return None
    case, device = request["case"], request["device"]
    if request["job"] == "shape" and not request["backends"]:
        return "Choose a backend to run."
    elements = case["batch"] * case["time"] * case["channels"]
    if request["job"] == "shape" and elements > ELEMENTS[device]:
        return (
            f"B × T × D = {elements:,} is more than the {ELEMENTS[device]:,} values that a live run may hold: choose a "
            "smaller batch, fewer events or fewer channels."
        )
    if INTERPRETER in request.get("backends", []) and case["batch"] * case["time"] > INTERPRETED_EVENTS:
        return (
            f"The interpreter takes milliseconds for each event, so B × T may be {INTERPRETED_EVENTS} at most, and is "
            f"{case['batch'] * case['time']:,}: choose B = 2 and T = 50, or leave out {INTERPRETER}."
        )
    return None


def _spawn(request: Request) -> tuple[Process, Any]:
    """A process that waits for a request of this kind, and the file that holds its errors."""
    errors = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - closed by the thread that reads it
    process = subprocess.Popen(
        [sys.executable, "-m", MODULES[request["job"]]],
        cwd=KERNELS,
        env=_environment(request),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        start_new_session=True,
    )
    return process, errors


def _environment(request: Request) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in {"TRITON_INTERPRET", "PYTHONPATH"}}
    if INTERPRETER in request.get("backends", []):
        kept["TRITON_INTERPRET"] = "1"
    return {**kept, "OMP_NUM_THREADS": "1"}


def _end(process: Process | None) -> None:
    if process is not None and process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _reason(status: int, errors: Any, late: bool) -> str:
    if late:
        return "It took too long and was ended; choose a smaller size."
    errors.seek(0)
    last = errors.read().strip().rpartition("\n")[2]
    return last or f"the process ended with status {status}"
