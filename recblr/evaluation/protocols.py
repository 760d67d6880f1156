"""How a figure was measured, as data: the split, the items that may compete, the published numbers it compares with.

The same model moves by 6-11 % between published protocols (LRURec on ML-1M, HR@10: .3264 and .3057), so every
result names its protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recblr.data.log import InteractionLog
from recblr.data.splits import Split, by_user, global_time, leave_one_out
from recblr.errors import ConfigError

SplitName = Literal["leave-one-out", "global-time", "by-user"]
MaskSeen = Literal["off", "window", "history"]

_SPLITS: Mapping[SplitName, Callable[[InteractionLog], Split]] = {
    "leave-one-out": leave_one_out,
    "global-time": global_time,
    "by-user": by_user,
}


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One way to measure a next-item model. In all of them the whole catalogue is ranked."""

    name: str
    title: str
    split_name: SplitName
    """Which events are hidden."""
    mask_seen: MaskSeen
    """Items taken out of the ranking: none, those in the last max_len events of the history, or its every item.

    The target itself always competes.
    """
    ties: Literal["half"] = "half"
    """An item with the target's score counts as half an item above it."""
    k_core: int | None
    """Fewest events of a user and of an item in the data of the published numbers; None where none are published."""
    k_core_iterative: bool = True
    """Whether that core was repeated until it held; False = one pass."""
    description: str
    published: str
    """Where the numbers that this protocol compares with stand."""

    def split(self, log: InteractionLog) -> Split:
        """Training part and targets of a log. Raises DataError where the log cannot be split so."""
        return _SPLITS[self.split_name](log)

    def seen_begin(
        self, starts: NDArray[np.int64], positions: NDArray[np.int64], max_len: int
    ) -> NDArray[np.int64] | None:
        """[M] first banned event of each target, whose history is starts:positions; None where nothing is banned."""
        if self.mask_seen == "off":
            return None
        return starts if self.mask_seen == "history" else np.maximum(starts, positions - max_len)


_ALL = (
    Protocol(
        name="recbole",
        title="RecBole",
        split_name="leave-one-out",
        mask_seen="off",
        k_core=5,
        description=(
            "The last event of each user is the test target, the one before it the validation target. Items of the"
            " history stay in the ranking; only the padding class is left out. Differs from the source: RecBole breaks"
            " ties by the order of top-k, here they count half."
        ),
        published="RecBLR (arXiv 2406.12580) and the baselines in its table; TiM4Rec (arXiv 2409.16182)",
    ),
    Protocol(
        name="lrurec",
        title="LRURec",
        split_name="leave-one-out",
        mask_seen="window",
        k_core=5,
        k_core_iterative=False,
        description=(
            "The last event of each user is the test target, the one before it the validation target and, for the test,"
            " part of the input. Items among the last max_len events of the history leave the ranking. The published"
            " data drop immediate repeats. Differs from the source: a target seen before stays in the ranking."
        ),
        published="LRURec (arXiv 2310.02367), table 3",
    ),
    Protocol(
        name="time",
        title="Global time",
        split_name="global-time",
        mask_seen="history",
        k_core=None,
        description=(
            "Every event after a moment is a target, all training events lie before it, and a target is predicted from"
            " every earlier event of its user. Items of the history leave the ranking; a target seen before stays."
        ),
        published="none",
    ),
    Protocol(
        name="users",
        title="Held-out users",
        split_name="by-user",
        mask_seen="off",
        k_core=None,
        description=(
            "A tenth of the users is held out for validation and a tenth for the test: they do not train at all, and"
            " every event of theirs but the first is a target. Items of the history stay in the ranking."
        ),
        published="none",
    ),
)

PROTOCOLS: Mapping[str, Protocol] = {one.name: one for one in _ALL}


def protocol(name: str | Protocol) -> Protocol:
    """The protocol of a name (a protocol is returned as it is). Raises ConfigError, naming the choices."""
    if isinstance(name, Protocol):
        return name
    if name not in PROTOCOLS:
        raise ConfigError(f"no protocol {name!r}: choose one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
