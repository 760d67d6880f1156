"""Compile the C of an operator once for this machine and load it.

Each operator is a file, compiled when it is first asked for, in a second or so. The library lies in the user's cache
under a name made of source, flags, compiler and processor, so a change of any of them builds anew. It is written beside
its final name and renamed: two processes may build at once, and a half-written file is never loaded. A damaged file is
built again.
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

_FOLDER = Path(__file__).parent
_FLAGS = ("-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared")
_THREADS = "-fopenmp"
_lock = threading.Lock()
_loaded: dict[tuple[str, str], ctypes.CDLL | str] = {}
"""The library, or why there is none."""


def library(operator: str, real: str) -> ctypes.CDLL:
    """Compiled ``{operator}.c`` for real "float" or "double": its functions end with ``_{real}``.

    Raises RuntimeError that says why there is none; a process asks the compiler once.
    """
    with _lock:
        found = _loaded.get((operator, real))
        if found is None:
            try:
                found = _open(operator, real)
            except (OSError, RuntimeError, subprocess.SubprocessError) as error:
                found = str(error)
            _loaded[operator, real] = found
    if isinstance(found, str):
        raise RuntimeError(found)
    return found


def unavailable(operator: str = "linear", real: str = "float") -> str | None:
    try:
        library(operator, real)
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


def _open(operator: str, real: str) -> ctypes.CDLL:
    if os.environ.get("LRSCAN_NATIVE", "1") == "0":
        raise RuntimeError("switched off by LRSCAN_NATIVE=0")
    compiler, source = _compiler(), _FOLDER / f"{operator}.c"
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    sources = [path.read_text(encoding="utf-8") for path in (source, *sorted(_FOLDER.glob("*.h")))]
    parts = (*sources, *_FLAGS, _THREADS, version, _processor(), platform.platform())
    digest = hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:16]
    path = cache_folder() / f"{operator}-{real}-{digest}.so"
    if not _is_whole(path):
        _build(compiler, source, real, path)
    opened = ctypes.CDLL(str(path))  # its calls release the interpreter lock
    for direction in ("forward", "backward"):
        getattr(opened, f"{operator}_{direction}_{real}").restype = None
    return opened


def _is_whole(path: Path) -> bool:
    """The file ends with the digest of what is before it; loading a damaged library would end the process."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return False
    return len(content) > 32 and hashlib.sha256(content[:-32]).digest() == content[-32:]


def _build(compiler: str, source: Path, real: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(suffix=".so", dir=path.parent)
    os.close(handle)
    try:
        for threads in ((_THREADS,), ()):  # a compiler without OpenMP still makes a good single-threaded library
            command = [compiler, *_FLAGS, *threads, f"-DREAL={real}", "-o", draft, str(source), "-lm"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            if done.returncode == 0:
                content = Path(draft).read_bytes()
                Path(draft).write_bytes(content + hashlib.sha256(content).digest())
                os.replace(draft, path)
                return
        raise RuntimeError(f"{compiler} could not compile {source.name}: {done.stderr.strip().splitlines()[-1:]}")
    finally:
        Path(draft).unlink(missing_ok=True)
