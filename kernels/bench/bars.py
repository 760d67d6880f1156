"""What the kernels must show, each as measured beside its bar."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.sets import ANCHOR, CPU_SHAPES, FILL, FLA_SHAPE, ROW_SHAPE

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One goal."""

    device: str
    """cpu or gpu."""
    goal: str
    bound: float
    at_least: bool
    """Whether more is better."""
    value: Callable[[Sequence[Row]], float | None]
    """From the rows of a run; None where the run does not hold what it needs."""

    def judged(self, rows: Sequence[Row]) -> Row:
        """The bar as a row of the record: measured, and whether it holds; both None where it was not measured."""
        value = self.value(rows)
        holds = None if value is None else (value >= self.bound) == self.at_least or value == self.bound
        return {
            "device": self.device,
            "goal": self.goal,
            "bound": self.bound,
            "at_least": self.at_least,
            "measured": value,
            "holds": holds,
        }


def find(rows: Iterable[Row], peer: str, operator: str, shape: tuple[int, int, int], **fields: Any) -> Row | None:
    """The timed row of a peer, float32 and without padding unless told."""
    wanted = {"peer": peer, "operator": operator, "dtype": "float32", "fill": 1.0, **fields}
    wanted |= dict(zip(("batch", "time", "channels"), shape, strict=True))
    for row in rows:
        if "median_ms" in row and all(row[name] == value for name, value in wanted.items()):
            return row
    return None


def to_copy(peer: str, direction: str, shapes: tuple[tuple[int, int, int], ...]) -> Callable[..., float | None]:
    """The worst ratio of a linear scan to the copy over the shapes."""

    def value(rows: Sequence[Row]) -> float | None:
        found = [find(rows, peer, "linear", shape, direction=direction) for shape in shapes]
        ratios = [row["to_copy"] for row in found if row is not None]
        return max(ratios) if len(ratios) == len(shapes) else None

    return value


def times_faster(
    ours: str,
    theirs: str | tuple[str, ...],
    operator: str,
    shapes: tuple[tuple[int, int, int], ...],
    directions: tuple[str, ...] = ("both",),
    **fields: Any,
) -> Callable[..., float | None]:
    """The least ratio of their time to ours; of several of theirs, the fastest."""

    def value(rows: Sequence[Row]) -> float | None:
        ratios = []
        for shape in shapes:
            for direction in directions:
                own = find(rows, ours, operator, shape, direction=direction, **fields)
                names = (theirs,) if isinstance(theirs, str) else theirs
                others = [find(rows, name, operator, shape, direction=direction, **fields) for name in names]
                times = [row["median_ms"] for row in others if row is not None]
                if own is None or not times:
                    return None
                ratios.append(min(times) / own["median_ms"])
        return min(ratios)

    return value


def largest_error(rows: Sequence[Row]) -> float | None:
    """Of our own rows in float32."""
    errors = [row["error"] for row in rows if row["ours"] and row["dtype"] == "float32" and "error" in row]
    return max(errors, default=None)


def _share(direction: str) -> Callable[..., float | None]:
    def value(rows: Sequence[Row]) -> float | None:
        ratio = to_copy("lrscan triton", direction, (ANCHOR,))(rows)
        return None if ratio is None else 1 / ratio

    return value


def _never(rows: Sequence[Row]) -> float | None:
    return None


_WARP = ("accelerated-scan warp", "accelerated-scan scalar")
_WARP_OWN = tuple(f"{name}, own layout" for name in _WARP)


def _bar(device: str, goal: str, bound: float, value: Callable[..., float | None], *, at_least: bool = True) -> Bar:
    return Bar(device=device, goal=goal, bound=bound, at_least=at_least, value=value)


def _at_most(device: str, goal: str, bound: float, value: Callable[..., float | None]) -> Bar:
    return _bar(device, goal, bound, value, at_least=False)


_NATIVE, _TRITON = "lrscan native", "lrscan triton"
_RIGHT = "largest error of any backend and gradient, float32"
BARS = [
    _at_most("cpu", "native scan forward: times a copy", 1.2, to_copy(_NATIVE, "forward", CPU_SHAPES)),
    _at_most("cpu", "native scan forward+backward: times a copy", 1.6, to_copy(_NATIVE, "both", CPU_SHAPES)),
    _bar(
        "cpu",
        "native scan: times faster than the torch backend",
        1.3,
        times_faster(_NATIVE, "lrscan torch", "linear", CPU_SHAPES, ("forward", "both")),
    ),
    _bar(
        "cpu",
        "native scan forward+backward: times faster than eager associative_scan",
        8.0,
        times_faster(_NATIVE, "torch associative_scan", "linear", CPU_SHAPES),
    ),
    _at_most("cpu", _RIGHT, 2e-6, largest_error),
    _bar("gpu", "scan forward: share of the copy's bandwidth", 0.85, _share("forward")),
    _bar("gpu", "scan backward: share of the copy's bandwidth", 0.80, _share("backward")),
    _bar(
        "gpu",
        "BD-LRU forward+backward: times faster than RecBLR's path",
        6.0,
        times_faster(_TRITON, "RecBLR's path", "bdlru", (ANCHOR,)),
    ),
    _bar(
        "gpu",
        "scan forward+backward from [B, T, D]: times faster than accelerated-scan",
        1.8,
        times_faster(_TRITON, _WARP, "linear", (ANCHOR,)),
    ),
    _bar(
        "gpu",
        "scan forward+backward: accelerated-scan's time in its own layout over ours",
        0.95,
        times_faster(_TRITON, _WARP_OWN, "linear", (ROW_SHAPE,)),
    ),
    _bar(
        "gpu",
        "scan forward+backward: times faster than fla chunk_hgrn",
        5.0,
        times_faster(_TRITON, "fla chunk_hgrn", "linear", (FLA_SHAPE,)),
    ),
    _bar(
        "gpu",
        "BD-LRU forward+backward at 30 % fill: times faster than its padded self",
        2.5,
        times_faster(_TRITON, "lrscan triton, padded", "bdlru", (ANCHOR,), fill=FILL),
    ),
    _at_most("gpu", _RIGHT, 2e-6, largest_error),
    _at_most("gpu", "errors found by compute-sanitizer, run on the tests marked gpu", 0.0, _never),
]
"""In the order in which they are printed."""


def judge(name: str, rows: Sequence[Row]) -> list[Row]:
    """Every bar of a set's rows; those of the other device as not measured."""
    return [bar.judged(rows if bar.device == name else []) for bar in BARS]
