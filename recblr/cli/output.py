"""How results read in a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]], *, widest: int = 44) -> Iterator[str]:
    """Aligned columns: numbers to the right, text to the left and cut at `widest` characters."""
    cells = [[_cell(value, widest) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    right = [bool(rows) and all(_is_number(row[place]) for row in rows) for place in range(len(heads))]
    for row in [list(heads), *cells]:
        parts = [
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(row, widths, right, strict=True)
        ]
        yield "  ".join(parts).rstrip()


def plain(value: Any) -> Any:
    """Values that JSON has: arrays become lists, complex numbers {"real", "imag"}, NaN and infinities null."""
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray) and np.iscomplexobj(value):
        return {"real": plain(value.real), "imag": plain(value.imag)}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _cell(value: Any, widest: int) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}" if 0.001 <= abs(value) < 1 else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return text if len(text) <= widest else text[: widest - 1] + "…"
