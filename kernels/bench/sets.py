"""Which cases a run measures."""

from __future__ import annotations

from lrscan.cases import Case

ANCHOR = (2048, 200, 128)
"""A training batch of a recommender on a GPU: the shape that goals are stated for."""
CPU_SHAPES = ((64, 200, 128), (256, 200, 128))
FLA_SHAPE = (16, 16384, 128)
"""The shape that flash-linear-attention publishes its HGRN figures for."""
ROW_SHAPE = (8, 4096, 1536)
"""One that accelerated-scan publishes figures for: B, T, D here."""
GPU_SHAPES = (
    (2048, 50, 64),
    ANCHOR,
    (512, 200, 256),
    (64, 4096, 256),
    FLA_SHAPE,
    ROW_SHAPE,
    (1, 2**20, 256),
)
QUICK_SHAPES = ((4, 32, 16),)
FILL = 0.3
"""Mean over longest length of the ragged batch."""
DTYPES = ("float32", "bfloat16")


def _cases(
    shapes: tuple[tuple[int, int, int], ...], ragged: tuple[int, int, int], directions: tuple[str, ...]
) -> list[Case]:
    found = [
        Case(operator=operator, batch=b, time=t, channels=d, dtype=dtype, direction=direction)
        for b, t, d in shapes
        for operator in ("linear", "bdlru")
        for dtype in DTYPES
        for direction in directions
    ]
    b, t, d = ragged
    return found + [
        Case(operator="bdlru", batch=b, time=t, channels=d, direction=direction, fill=FILL)
        for direction in ("forward", "both")
    ]


def cases(name: str, quick: bool) -> list[Case]:
    """The cases of the set "cpu" or "gpu"; `quick` keeps the kinds of case and shrinks them."""
    if quick:
        return _cases(QUICK_SHAPES, QUICK_SHAPES[0], ("forward", "both"))
    if name == "cpu":
        return _cases(CPU_SHAPES, CPU_SHAPES[-1], ("forward", "both"))
    return _cases(GPU_SHAPES, ANCHOR, ("forward", "backward", "both"))
