"""The k-core of a log: only users and items with at least k events among what is kept."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from recblr.errors import ConfigError

CoreMode = Literal["iterative", "one-pass"]


def k_core(
    users: NDArray[np.int32], items: NDArray[np.int32], k: int, mode: CoreMode = "iterative"
) -> NDArray[np.bool_]:
    """[N] which events (user, item) stay; users and items are codes from 0.

    iterative: drop users and items with fewer than k events until none is left (the k-core of the bipartite graph).
    one-pass: drop those with fewer than k events in the log as given, once; some may then fall under k again.
    Errors: ConfigError for a negative k or an unknown mode.
    """
    if mode not in get_args(CoreMode):
        raise ConfigError(f"k_core_mode is {mode!r}: choose one of {', '.join(get_args(CoreMode))}")
    if k < 0:
        raise ConfigError(f"k_core is {k}: 0 keeps every event, 5 is usual")
    keep = np.ones(len(users), dtype=bool)
    if k <= 1 or len(users) == 0:
        return keep
    alive = np.arange(len(users))
    while True:
        kept_users, kept_items = users[alive], items[alive]
        enough = (np.bincount(kept_users) >= k)[kept_users] & (np.bincount(kept_items) >= k)[kept_items]
        alive = alive[enough]
        if enough.all() or mode == "one-pass" or len(alive) == 0:
            break
    keep[:] = False
    keep[alive] = True
    return keep
