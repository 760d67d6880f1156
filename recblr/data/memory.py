"""Will it fit? Checked before and while a log is read, so that a large file never ends in the kernel's killer."""

from __future__ import annotations

import os
import re
from pathlib import Path

from recblr.errors import DataError

BYTES_PER_EVENT = 72
"""Peak while a log is read and assembled, measured on 18 million events of which each stood there three times. It holds
two id codes (4 + 4) and the time (8) as read and again as sorted, and the sort order with its work space."""
BYTES_READ_PER_EVENT = 16
"""The part of it that is taken while the file is read: the two codes and the time."""
SHARE_OF_MEMORY = 0.8
_MEMINFO = Path("/proc/meminfo")
_CGROUPS = (
    # folder, limit, use, and the name in memory.stat of the page cache that the use counts but gives back on demand
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def available_memory() -> int:
    """Bytes that this process may still take: the least of the machine's and its container's, else a large number."""
    limits = [_machine_memory(), *(_container_memory(*cgroup) for cgroup in _CGROUPS)]
    return min((limit for limit in limits if limit is not None), default=1 << 62)


def require_memory(needed: int, *, source: str, what: str, way_out: str) -> None:
    """Errors: DataError when `needed` bytes are more than a safe share of the memory available."""
    available = available_memory()
    if needed > SHARE_OF_MEMORY * available:
        raise DataError(
            f"{source}: {what} need about {_size(needed)} of memory and {_size(available)} are available: {way_out}"
        )


def _machine_memory() -> int | None:
    if _MEMINFO.exists():
        found = re.search(r"^MemAvailable:\s+(\d+) kB", _MEMINFO.read_text(), re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    for name in ("SC_AVPHYS_PAGES", "SC_PHYS_PAGES"):
        if name in getattr(os, "sysconf_names", {}):
            return os.sysconf(name) * os.sysconf("SC_PAGE_SIZE")
    return None


def _container_memory(folder: Path, limit: str, used: str, cache: str) -> int | None:
    try:
        most, now = (folder / limit).read_text().strip(), int((folder / used).read_text())
        found = re.search(rf"^{cache} (\d+)", (folder / "memory.stat").read_text(), re.MULTILINE)
    except (OSError, ValueError):
        return None  # no container, or one of the other kind
    return None if most == "max" else max(0, int(most) - now + (int(found[1]) if found else 0))


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
