"""What one recommendation costs: milliseconds, and bytes kept of the user.

Only the model's arithmetic is timed, from item ids to the scores of all items, for one user and on one thread, in
processor time, which on a machine that does nothing else is the time that passes. Items and times are drawn, since
neither moves it.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from recblr.backbones.base import Batch, SequentialBackbone, State, last_hidden
from recblr.errors import RecblrError
from recblr.leaderboard.rows import Asking

REPEATS, WARM_UP = 50, 8
HOUR = 3600
BYTES_AN_EVENT = 16
"""Item and time of an event of the history, eight bytes each."""


def processor() -> str:
    """Such as "Intel Xeon Platinum, 2 cores"."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{model or platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def device_words(device: torch.device, threads: int) -> str:
    """The machine that a training ran on."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{processor()}, {threads} thread{'s' * (threads > 1)}"


def measure_asking(model: SequentialBackbone, *, repeats: int = REPEATS, beside_other_work: bool = False) -> Asking:
    """Time and state of a model on the CPU, after a history as long as it reads."""
    model = model.to("cpu").eval()
    batch = _history(model)
    with torch.inference_mode(), _one_thread():
        whole = _timed(lambda: model.scores(last_hidden(model(batch), batch.lengths)), repeats)
        state = _state_before_last(model, batch)
        step = None if state is None else _timed(_one_more(model, state, batch), repeats)
    kept, kind = _kept(model, state, batch)
    low, middle, high = whole
    return Asking(
        length=batch.items.shape[1],
        repeats=repeats,
        whole_ms=middle,
        whole_low_ms=low,
        whole_high_ms=high,
        step_ms=None if step is None else step[1],
        step_low_ms=None if step is None else step[0],
        step_high_ms=None if step is None else step[2],
        state_bytes=kept,
        state_kind=kind,
        machine=f"{processor()}, 1 thread",
        beside_other_work=beside_other_work,
    )


def state_bytes(state: State) -> int:
    """Bytes of every tensor that is carried from event to event."""
    return sum(value.numel() * value.element_size() for value in state.values())


def kept_of_user(model: SequentialBackbone) -> tuple[int, str]:
    """(bytes that a model carries from event to event, what they are) after a history as long as it reads.

    What they are: a "state" of fixed size, a "cache" that grows with the history, or the "history" itself.
    """
    batch = _history(model, min(2, model.config.max_len) if model.causal and model.recurrent else None)
    with torch.inference_mode():
        return _kept(model, _state_before_last(model, batch), batch)


def _history(model: SequentialBackbone, length: int | None = None) -> Batch:
    rng = np.random.default_rng(0)
    length = length or model.config.max_len
    items = rng.integers(1, model.config.n_items + 1, (1, length))
    times = 1_000_000_000 + HOUR * np.arange(length, dtype=np.int64)[None]
    return Batch(items=torch.from_numpy(items), times=torch.from_numpy(times))


def _state_before_last(model: SequentialBackbone, batch: Batch) -> State | None:
    """The state after all events but the last; None where the backbone cannot go on from one."""
    if not model.causal:
        return None
    try:
        state = model.initial_state(1)
        for n in range(batch.items.shape[1] - 1):
            _, state = model.step(state, batch.items[:, n], batch.times[:, n])
    except (RecblrError, NotImplementedError):
        return None
    return state


def _one_more(model: SequentialBackbone, state: State, batch: Batch) -> Callable[[], object]:
    return lambda: model.scores(model.step(state, batch.items[:, -1], batch.times[:, -1])[0])


def _kept(model: SequentialBackbone, state: State | None, batch: Batch) -> tuple[int, str]:
    """(bytes after the whole history, what they are)."""
    if state is None:
        return BYTES_AN_EVENT * batch.items.shape[1], "history"
    with torch.inference_mode():
        _, after = model.step(state, batch.items[:, -1], batch.times[:, -1])
    grows = state_bytes(after) > state_bytes(state)
    return state_bytes(after), "cache" if grows else "state"


def _timed(call: Callable[[], object], repeats: int) -> tuple[float, float, float]:
    """(10 %, median, 90 %) of the milliseconds of a call, of processor time: waiting for other programs is none."""
    taken = []
    for n in range(WARM_UP + repeats):
        began = time.process_time_ns()
        call()
        if n >= WARM_UP:
            taken.append(1e-6 * (time.process_time_ns() - began))
    low, middle, high = np.quantile(taken, [0.1, 0.5, 0.9])
    return float(low), float(middle), float(high)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
