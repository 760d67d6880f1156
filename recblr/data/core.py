"""The k-core of a log: only users and items with at least k events among what is kept."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from recblr.errors import ConfigError

_SLICE = 1 << 24
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
    n_users, n_items = int(users.max()) + 1, int(items.max()) + 1
    left = len(users)
    while True:
        user_stays, item_stays = count(users[keep], n_users) >= k, count(items[keep], n_items) >= k
        keep &= user_stays[users]
        keep &= item_stays[items]
        before, left = left, int(np.count_nonzero(keep))
        if mode == "one-pass" or left in (0, before):
            return keep


def count(codes: NDArray[np.int32], n: int) -> NDArray[np.int64]:
    """[n] how often each code occurs. In slices, because numpy's own count first copies its input to int64."""
    total = np.zeros(n, dtype=np.int64)
    for start in range(0, len(codes), _SLICE):
        total += np.bincount(codes[start : start + _SLICE], minlength=n)
    return total
