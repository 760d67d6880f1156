"""What each event of a history contributed to one logit, or to the difference of two.

    values.sum() + remainder = logit, within `error`

where logit is that of the target, or target minus contrast. The equation is checked when an Attribution is made, so
that no explanation can be shown which does not add up to what it explains.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from recblr.data.log import Catalog
from recblr.errors import ExplainError

Exactness = Literal["exact", "exact with gates held", "estimate", "intervention"]
EXACTNESS: tuple[Exactness, ...] = get_args(Exactness)
"""exact: an identity. exact with gates held: an identity of the model whose gates, norm scales and slopes are constants
(the gates are caused by the items too). estimate: with an error of its own. intervention: the input was changed and the
model run again, so a value is an effect and no share; what the effects do not add up to stands in the remainder."""

EXACT_WITHIN = 1e-4
"""Largest error of an identity, in units of the largest of 1, the logit and the sum of sizes of the values."""
_ROUNDING = 1e-6
"""Rounding of sums of 32-bit numbers, in the same units."""
UNRELIABLE = 0.2
"""Error, as a part of what the events explain, from which on an estimate's shares are refused."""
DOUBTFUL = 0.05
"""Error, likewise, from which on a note says so."""


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """Contributions of the T events that the model read, oldest first."""

    values: NDArray[np.float64]
    """[T] logits that each event contributes; above 0 speaks for the target (and against the contrast)."""
    items: NDArray[np.int64]
    """[T] internal ids of the events."""
    target: int
    """Internal id of the explained item."""
    contrast: int | None = None
    """Internal id of the item it is compared with, or None: then the target's own logit is explained."""
    method: str
    """Key in `METHODS`."""
    exactness: Exactness
    """What kind of statement this is; see `EXACTNESS`."""
    logit: float
    """What is explained: the logit of the target, minus that of the contrast where there is one."""
    remainder: float
    """What comes from no event: biases, a baseline, or what single effects do not add up to."""
    error: float
    """Bound on |values.sum() + remainder - logit|, in logits: rounding for an identity, the convergence delta for an
    estimate along a path."""
    times: NDArray[np.int64] | None = None
    """[T] unix seconds of the events; None where the history has no times."""
    standard_error: NDArray[np.float64] | None = None
    """[T] standard error of each value, where it is a mean over random draws."""
    notes: tuple[str, ...] = ()
    """What a reader must know, in words."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Further results of the method, plain values and arrays."""

    def __post_init__(self) -> None:
        for name in ("values", "items", "times", "standard_error"):
            object.__setattr__(self, name, _frozen(getattr(self, name)))
        if self.exactness not in EXACTNESS:
            raise ExplainError(f"exactness is {self.exactness!r}: choose one of {', '.join(EXACTNESS)}")
        for name in ("items", "times", "standard_error"):
            given = getattr(self, name)
            if given is not None and given.shape != self.values.shape:
                raise ExplainError(f"{name} has shape {given.shape}, values {self.values.shape}: one of each an event")
        self._check_sum()

    def _check_sum(self) -> None:
        numbers = [*self.values.tolist(), self.logit, self.remainder, self.error]
        if not np.isfinite(numbers).all():
            raise ExplainError(
                f"the {self.method} attribution of item {self.target} is not finite: a weight or a score of the model"
                " is infinite or NaN; train the model anew or choose another item"
            )
        scale = max(1.0, abs(self.logit), float(np.abs(self.values).sum()))
        if self.gap > self.error + _ROUNDING * scale:
            raise ExplainError(
                f"the {self.method} attribution does not add up: values {self.values.sum():.6g} and remainder"
                f" {self.remainder:.6g} miss the logit {self.logit:.6g} by {self.gap:.3g}, more than the error"
                f" {self.error:.3g} that the method allows for"
            )
        if self.exactness.startswith("exact") and self.error > EXACT_WITHIN * scale:
            raise ExplainError(
                f"the {self.method} attribution claims to be {self.exactness} with an error of {self.error:.3g}: an"
                f" identity keeps within {EXACT_WITHIN * scale:.3g}; call it an estimate"
            )

    @property
    def gap(self) -> float:
        """|values.sum() + remainder - logit|."""
        return abs(float(self.values.sum()) + self.remainder - self.logit)

    @property
    def explained(self) -> float:
        """The part of the logit that the events are there to explain: logit - remainder."""
        return self.logit - self.remainder

    @property
    def reliable(self) -> bool:
        """Whether shares may be shown: False where an estimate's error passes 20 % of what it explains."""
        return self.exactness != "estimate" or self.error <= UNRELIABLE * abs(self.explained)

    def shares(self) -> NDArray[np.float64]:
        """[T] values over the sum of their sizes, signed: sizes sum to 1 (all 0 where every value is).

        Raises ExplainError where `reliable` is False.
        """
        if not self.reliable:
            raise ExplainError(
                f"no shares from {self.method}: its error of {self.error:.3g} logits is"
                f" {self.error / max(abs(self.explained), 1e-12):.0%} of the {self.explained:.3g} that it explains, and"
                f" {UNRELIABLE:.0%} is the most; take more steps, another baseline, or held_gates"
            )
        total = float(np.abs(self.values).sum())
        return self.values / total if total > 0 else np.zeros_like(self.values)

    def order(self) -> NDArray[np.int64]:
        """[T] positions in the history, the strongest support for the target first; the later event among equals."""
        return np.lexsort((-np.arange(len(self.values)), -self.values)).astype(np.int64)

    def rows(self, catalog: Catalog | None = None) -> list[dict[str, Any]]:
        """The table behind the picture: one row an event, oldest first; external ids where `catalog` is given."""
        shares = self.shares() if self.reliable else None
        table = []
        for position, item in enumerate(self.items.tolist()):
            row: dict[str, Any] = {"position": position, "item": item}
            if catalog is not None:
                row.update(item=str(catalog.ids[item]), title=catalog.title(item))
            if self.times is not None:
                row["time"] = int(self.times[position])
            row["value"] = float(self.values[position])
            if self.standard_error is not None:
                row["standard_error"] = float(self.standard_error[position])
            row["share"] = None if shares is None else float(shares[position])
            table.append(row)
        return table

    def as_dict(self, catalog: Catalog | None = None) -> dict[str, Any]:
        """Plain values for JSON, `details` as they are."""

        def name(item: int | None) -> Any:
            return item if catalog is None or item is None else str(catalog.ids[item])

        return {
            "method": self.method,
            "exactness": self.exactness,
            "target": name(self.target),
            "contrast": name(self.contrast),
            "logit": self.logit,
            "remainder": self.remainder,
            "error": self.error,
            "gap": self.gap,
            "events": self.rows(catalog),
            "notes": list(self.notes),
            "details": dict(self.details),
        }


def _frozen(array: Any) -> Any:
    """A read-only copy."""
    if array is None:
        return None
    copy = np.array(array)
    copy.setflags(write=False)
    return copy
