"""A toy log: users who walk around a ring of items, some backwards, so that one event says nothing and two say all."""

import numpy as np

from recblr.data.log import Catalog, InteractionLog


def ring(users=60, items=12, seed=0):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(6, 16, users)
    rows = [(rng.integers(items) + rng.choice([1, items - 1]) * np.arange(n)) % items + 1 for n in lengths]
    return InteractionLog(
        name="ring",
        items=np.concatenate(rows).astype(np.int32),
        times=np.concatenate([1_000_000 * (u + 1) + 3600 * np.arange(n) for u, n in enumerate(lengths)]),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        users=np.array([f"u{u}" for u in range(users)]),
        catalog=Catalog(
            ids=np.array(["", *[f"i{n}" for n in range(1, items + 1)]]),
            titles=np.array(["", *[f"Stone {n}" for n in range(1, items + 1)]]),
        ),
    )
