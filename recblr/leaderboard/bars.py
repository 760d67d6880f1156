"""Whether ours reach what the papers report, and what must hold between ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from recblr.leaderboard.entries import Entry
from recblr.leaderboard.published import Named, Number, Published, Relation

Verdict = Literal["reached", "missed", "open"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """One NDCG@10 on test that must be reached."""

    track: str
    """Table, such as "ml-1m/lrurec"."""
    backbone: str
    what: str
    """The bar, in words."""
    bar: float | None
    """None where the other of a relation is not trained yet."""
    ours: float | None
    """None where ours is not trained yet."""
    interval: tuple[float, float] | None = None
    """Of ours, over users."""

    @property
    def within(self) -> bool:
        """Whether the bar lies in the interval of ours, so that other users might have turned the verdict."""
        return self.bar is not None and self.interval is not None and self.interval[0] <= self.bar <= self.interval[1]

    @property
    def verdict(self) -> Verdict:
        """ "open" until everything it needs is trained."""
        if self.bar is None or self.ours is None:
            return "open"
        return "reached" if self.reaches(self.ours, self.bar) else "missed"

    @staticmethod
    def reaches(ours: float, bar: float) -> bool:
        """As far as the paper's figure is printed: .17716 reaches .1772."""
        digits = max(len(f"{bar:.6f}".rstrip("0").partition(".")[2]), 4)
        return round(ours, digits) >= bar


def bars(entries: Sequence[Entry], published: Published) -> list[Bar]:
    """Every bar: the figures measured by the same protocol, then the relations."""
    return [
        *(_number(entries, one) for one in published.numbers if one.same_protocol),
        *(_relation(entries, one) for one in published.relations),
    ]


def _number(entries: Sequence[Entry], number: Number) -> Bar:
    own = (number.log, number.protocol, number.backbone)
    found = next((one for one in entries if one.default and (one.log, one.protocol, one.backbone) == own), None)
    return Bar(
        track=f"{number.log}/{number.protocol}",
        backbone=number.backbone,
        what=f"published {figure(number.ndcg10)} ({number.source})",
        bar=number.ndcg10,
        ours=None if found is None else found.ndcg10,
        interval=None if found is None else (found.low, found.high),
    )


def _relation(entries: Sequence[Entry], relation: Relation) -> Bar:
    def entry(named: Named) -> Entry | None:
        wanted = (relation.log, relation.protocol, *named)
        return next((one for one in entries if (one.log, one.protocol, one.backbone, one.preset) == wanted), None)

    better, worse = entry(relation.better), entry(relation.worse)
    bar = None if worse is None else worse.ndcg10
    return Bar(
        track=f"{relation.log}/{relation.protocol}",
        backbone=" ".join(relation.better),
        what=f"{' '.join(relation.worse)} of this table" + ("" if bar is None else f", {figure(bar)}"),
        bar=bar,
        ours=None if better is None else better.ndcg10,
        interval=None if better is None else (better.low, better.high),
    )


def figure(value: float) -> str:
    """A share as the field prints it, such as .1901."""
    return f"{value:.4f}".removeprefix("0")
