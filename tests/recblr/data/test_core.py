from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recblr.data.core import k_core
from recblr.data.read import read_log
from recblr.errors import DataError

PAIRS = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=60)


def arrays(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    users, items = np.array(pairs, dtype=np.int32).T
    return users, items


def slow_core(pairs: list[tuple[int, int]], k: int) -> list[tuple[int, int]]:
    """Take away one event of a user or item under k at a time, until there is none."""
    left = list(pairs)
    while True:
        users, items = Counter(user for user, _ in left), Counter(item for _, item in left)
        under = [pair for pair in left if users[pair[0]] < k or items[pair[1]] < k]
        if not under:
            return left
        left.remove(under[0])


@given(PAIRS, st.integers(0, 5))
def test_the_core_is_the_one_that_taking_away_event_by_event_leaves(pairs, k):
    keep = k_core(*arrays(pairs), k)
    assert sorted(pair for pair, kept in zip(pairs, keep, strict=True) if kept) == sorted(slow_core(pairs, k))


@given(PAIRS, st.integers(2, 4))
def test_one_pass_counts_in_the_log_as_given(pairs, k):
    users, items = Counter(user for user, _ in pairs), Counter(item for _, item in pairs)
    expected = [users[user] >= k and items[item] >= k for user, item in pairs]
    assert k_core(*arrays(pairs), k, "one-pass").tolist() == expected


def test_dropping_an_item_can_bring_a_user_under_the_core():
    # Item 9 has one event; without it user 0 has one event too, and then item 1 falls.
    pairs = [(0, 9), (0, 1), (1, 1), (1, 2), (2, 2), (1, 3), (2, 3)]
    assert np.flatnonzero(k_core(*arrays(pairs), 2)).tolist() == [3, 4, 5, 6]
    assert np.flatnonzero(k_core(*arrays(pairs), 2, "one-pass")).tolist() == [1, 2, 3, 4, 5, 6]


def test_a_log_without_a_core_is_refused_with_the_way_out(write):
    with pytest.raises(DataError, match=r"log\.csv: no event is left in the 5-core: lower k_core \(--k-core\)"):
        read_log(write("log.csv", "user,item\n1,a\n2,b\n"), k_core=5)
