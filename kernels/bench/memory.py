"""Peak memory of one call, and memory that stays with the process between calls."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

import torch
from lrscan.measure import Program

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Parameters of glibc's mallopt."""


def keep_pages() -> bool:
    """From here on freed memory stays with the process and large tensors use it again; False where there is no glibc.

    A training process soon gets no more fresh pages: the sizes repeat. A benchmark that lets them go between calls
    makes every peer pay the system for all pages of its results, microseconds a page, and times that and not the peer.
    """
    try:
        adjust = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(adjust(_M_MMAP_MAX, 0)) and bool(adjust(_M_TRIM_THRESHOLD, -1))


def peak_bytes(run: Program, device: str) -> int | None:
    """Bytes in use at most during a call beyond those before it; None where nobody counts them.

    On a GPU as torch's allocator counts, so None for what has an allocator of its own. On a CPU as Linux counts the
    pages of the process, after those that were freed have been given back.
    """
    if device.startswith("cuda"):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        torch.cuda.synchronize()
        return int(torch.cuda.max_memory_allocated() - before) or None
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        _CLEAR.write_text(_RESET_PEAK)
        before = _resident("VmHWM")
        run()
        return _resident("VmHWM") - before
    except (AttributeError, OSError):  # not Linux with glibc
        return None


def _resident(field: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(field))
    return 1024 * int(line.split()[1])
