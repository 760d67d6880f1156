"""The record of a run: rows and bars with the machine, the versions, the commit and the date."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

FORMAT = 1
RESULTS = Path(__file__).with_name("results")
_PACKAGES = ("torch", "triton", "jax", "jaxlib", "accelerated-scan", "flash-linear-attention", "numpy")


def record_of(name: str, device: str, rows: list[dict[str, Any]], bars: list[dict[str, Any]]) -> dict[str, Any]:
    """What is written as JSON."""
    return {
        "format": FORMAT,
        "set": name,
        "device": device_name(device),
        "threads": torch.get_num_threads() if device == "cpu" else None,
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": versions(),
        "commit": commit(),
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "rows": rows,
        "bars": bars,
    }


def write(record: dict[str, Any], folder: Path = RESULTS) -> Path:
    """Write a record beside the others, over the one of the same set and device; returns its path."""
    slug = re.sub(r"[^a-z0-9]+", "-", record["device"].lower()).strip("-")
    path = folder / f"{record['set']}-{slug}.json"
    folder.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".json.part")
    draft.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    os.replace(draft, path)
    return path


def device_name(device: str) -> str:
    """Such as "NVIDIA H200" or "Intel Xeon, 2 of its threads"."""
    if device.startswith("cuda"):
        return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else "no CUDA device"
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return model or platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Of the packages that are installed."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    if torch.version.cuda:
        found["CUDA"] = torch.version.cuda
    return found


def commit() -> str:
    """The commit of the code that ran, with "+changes" where files differ from it; "unknown" outside of a checkout."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, timeout=20, check=True)
        return done.stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + ("+changes" if git("status", "--porcelain", "--", "..") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
