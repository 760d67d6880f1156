"""Reads the hand-written JavaScript and CSS that stands beside each component."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_HERE = Path(__file__).parent


def script(name: str, *, shared: bool = True) -> str:
    """Text of NAME.js, with what all components share in front: modules given as text cannot import each other."""
    own = (_HERE / f"{name}.js").read_text(encoding="utf-8")
    return (_HERE / "shared.js").read_text(encoding="utf-8") + "\n" + own if shared else own


def style(name: str) -> str:
    """Text of NAME.css."""
    return (_HERE / f"{name}.css").read_text(encoding="utf-8")


def packed(array: NDArray[np.floating]) -> str:
    """Base64 of the little-endian float32 bytes, row by row."""
    return base64.b64encode(np.ascontiguousarray(array, dtype="<f4").tobytes()).decode("ascii")
