"""Compile scan.c once for this machine and load it.

The library lies in the user's cache under a name made of source, flags, compiler and processor, so a change of any of
them builds anew. It is written beside its final name and renamed: two processes may build at once, and a half-written
file is never loaded. A damaged file is built again.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

_SOURCE = Path(__file__).with_name("scan.c")
_HEADERS = sorted(_SOURCE.parent.glob("*.h"))
_FLAGS = ("-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared")
_THREADS = "-fopenmp"
OPERATORS = ("linear", "gated")
"""Those in scan.c."""
_lock = threading.Lock()
_loaded: ctypes.CDLL | None = None
_why_not: str | None = None


def library() -> ctypes.CDLL:
    """The compiled scans. Raises RuntimeError that says why there are none; a process asks the compiler once."""
    global _loaded, _why_not
    with _lock:
        if _loaded is None and _why_not is None:
            try:
                _loaded = _open()
            except (OSError, RuntimeError, subprocess.SubprocessError) as error:
                _why_not = str(error)
        if _loaded is None:
            raise RuntimeError(_why_not)
        return _loaded


def unavailable() -> str | None:
    try:
        library()
    except RuntimeError as error:
        return str(error)
    return None


def cache_folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "lrscan"


def _compiler() -> str:
    for name in (os.environ.get("CC"), "cc", "gcc", "clang"):
        if name and shutil.which(name):
            return name
    raise RuntimeError("there is no C compiler: install gcc or clang, or set CC")


def _processor() -> str:
    """What -march=native depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())


def _open() -> ctypes.CDLL:
    if os.environ.get("LRSCAN_NATIVE", "1") == "0":
        raise RuntimeError("switched off by LRSCAN_NATIVE=0")
    compiler = _compiler()
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    sources = [path.read_text(encoding="utf-8") for path in (_SOURCE, *_HEADERS)]
    parts = (*sources, *_FLAGS, _THREADS, version, _processor(), platform.platform())
    path = cache_folder() / f"scan-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:16]}.so"
    if not _is_whole(path):
        _build(compiler, path)
    opened = ctypes.CDLL(str(path))  # its calls release the interpreter lock
    for operator in OPERATORS:
        for name in (f"{operator}_forward", f"{operator}_backward"):
            for real in ("float", "double"):
                getattr(opened, f"{name}_{real}").restype = None
    return opened


def _is_whole(path: Path) -> bool:
    """The file ends with the digest of what is before it; loading a damaged library would end the process."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return False
    return len(content) > 32 and hashlib.sha256(content[:-32]).digest() == content[-32:]


def _build(compiler: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(suffix=".so", dir=path.parent)
    os.close(handle)
    try:
        for threads in ((_THREADS,), ()):  # a compiler without OpenMP still makes a good single-threaded library
            command = [compiler, *_FLAGS, *threads, "-o", draft, str(_SOURCE), "-lm"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            if done.returncode == 0:
                content = Path(draft).read_bytes()
                Path(draft).write_bytes(content + hashlib.sha256(content).digest())
                os.replace(draft, path)
                return
        raise RuntimeError(f"{compiler} could not compile scan.c: {done.stderr.strip().splitlines()[-1:]}")
    finally:
        Path(draft).unlink(missing_ok=True)
