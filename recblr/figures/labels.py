"""Where the labels of points stand, so that they hide neither points nor one another."""

from __future__ import annotations

from collections.abc import Sequence

_PLACES = ("middle right", "middle left", "top center", "bottom center")
_CHARACTER, _LINE = 6.6, 14.0
"""Pixels of a character of a label, and of its height."""

Box = tuple[float, float, float, float]
"""(left, bottom, right, top) in pixels."""


def places(
    points: Sequence[tuple[float, float, float, str]],
    x_range: Sequence[float],
    y_range: Sequence[float],
    *,
    width: float,
    height: float,
) -> list[str]:
    """Plotly's `textposition` of each point (x, y, pixels across, text): the first of four places that meets no point
    and no earlier label, and where all four meet one, the place that meets the fewest.

    The ranges are those of the axes, which are `width` and `height` pixels long.
    """
    (left, right), (low, high) = x_range, y_range
    centres = [(width * (x - left) / (right - left), height * (y - low) / (high - low)) for x, y, *_ in points]
    taken = [
        (x - across / 2, y - across / 2, x + across / 2, y + across / 2)
        for (x, y), (*_, across, _) in zip(centres, points, strict=True)
    ]
    found = []
    for (x, y), (*_, across, text) in zip(centres, points, strict=True):
        boxes = [_box(x, y, across / 2, _CHARACTER * len(text), place) for place in _PLACES]
        hits = [sum(_meet(box, other) for other in taken) + (not _inside(box, width, height)) for box in boxes]
        best = hits.index(min(hits))
        found.append(_PLACES[best])
        taken.append(boxes[best])
    return found


def _box(x: float, y: float, radius: float, width: float, place: str) -> Box:
    """A label just outside its point."""
    if place.startswith("middle"):
        begin = x + radius + 1 if place.endswith("right") else x - radius - 1 - width
        return begin, y - _LINE / 2, begin + width, y + _LINE / 2
    begin = y + radius + 1 if place.startswith("top") else y - radius - 1 - _LINE
    return x - width / 2, begin, x + width / 2, begin + _LINE


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _inside(box: Box, width: float, height: float) -> bool:
    return box[0] >= 0 and box[1] >= 0 and box[2] <= width and box[3] <= height
