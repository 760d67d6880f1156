"""Colours of cells with a number in them: opaque, so that the ink of the number can be chosen for the cell.

A figure does not know whether its page is light or dark. A cell that lets the page shine through has no ink that can be
read on both; an opaque one has.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from recblr.figures.view import ROLES

NONE = "#c3c7cd"
"""Where there is nothing of what is shown."""
DARK, LIGHT = "#000000", "#ffffff"
"""Inks; on every colour one of them has a contrast of 4.5 or more."""

Scale = list[tuple[float, str]]


def amount(role: str) -> Scale:
    """From nothing to all of a role of ROLES, as Plotly takes a colour scale."""
    return [(0.0, NONE), (1.0, ROLES[role])]


def signed() -> Scale:
    """From all against, over nothing, to all for."""
    return [(0.0, ROLES["negative"]), (0.5, NONE), (1.0, ROLES["positive"])]


def shade(scale: Scale, share: float) -> str:
    """The colour at a place from 0 to 1 of a scale, which Plotly mixes in the same way: linear between two stops.

    The last stop is at 1.
    """
    share = min(max(share, 0.0), 1.0)
    (left, low), (right, high) = next(pair for pair in pairwise(scale) if share <= pair[1][0])
    part = (share - left) / (right - left)
    mixed = [round(a + part * (b - a)) for a, b in zip(_channels(low), _channels(high), strict=True)]
    return "#" + "".join(f"{one:02x}" for one in mixed)


def ink(scale: Scale, share: float) -> str:
    """The ink that can be read best on that colour."""
    color = shade(scale, share)
    return max((DARK, LIGHT), key=lambda one: contrast(one, color))


def contrast(one: str, other: str) -> float:
    """Ratio of the luminances of two colours "#rrggbb", 1 to 21; text needs 4.5. Source: WCAG 2.2, 1.4.3."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(color: str) -> float:
    """Relative luminance, 0 to 1. Source: WCAG 2.2, "relative luminance"."""
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in _unit(color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _unit(color: str) -> Sequence[float]:
    return [one / 255 for one in _channels(color)]


def _channels(color: str) -> Sequence[int]:
    return [int(color[at : at + 2], 16) for at in (1, 3, 5)]
