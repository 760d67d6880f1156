"""Small logs, and backbones whose scores can be followed by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from recblr.backbones.base import BackboneConfig, SequentialBackbone
from recblr.data.log import Catalog, InteractionLog

MakeLog = Callable[..., InteractionLog]


@pytest.fixture(scope="session")
def make_log() -> MakeLog:
    """A log of the given histories; one second passes from event to event unless times are given."""

    def make(
        histories: Sequence[Sequence[int]], n_items: int = 9, times: Sequence[Sequence[int]] | None = None
    ) -> InteractionLog:
        moments = times or [range(len(history)) for history in histories]
        return InteractionLog(
            name="toy",
            items=np.array([item for history in histories for item in history], dtype=np.int32),
            times=np.array([moment for row in moments for moment in row], dtype=np.int64),
            offsets=np.cumsum([0, *map(len, histories)]).astype(np.int64),
            users=np.array([f"u{user}" for user in range(len(histories))]),
            catalog=Catalog(ids=np.array(["", *(f"i{item}" for item in range(1, n_items + 1))])),
        )

    return make


@pytest.fixture(scope="session")
def random_log(make_log: MakeLog) -> InteractionLog:
    """40 users with 1 to 30 events over 9 items."""
    generator = np.random.default_rng(3)
    return make_log([generator.integers(1, 10, size=size).tolist() for size in generator.integers(1, 31, size=40)])


class Fixed(SequentialBackbone):
    """The same scores after every history, the lower the item id the better."""

    name, title, learns = "fixed", "Fixed", False

    def embed(self, items: Tensor) -> Tensor:
        return items[..., None].float()

    def encode(self, embeddings: Tensor, mask: Tensor, times: Tensor) -> Tensor:
        return embeddings

    def scores(self, hidden: Tensor) -> Tensor:
        return -torch.arange(self.config.n_items + 1.0).expand(*hidden.shape[:-1], -1)


class Fading(SequentialBackbone):
    """h_t = decay_t * h_{t-1} + E[v_t], with a decay that depends on the gap: order, times and every event count."""

    name, title, recurrent, uses_time = "fading", "Fading", True, True

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__(config)
        table = torch.randn(config.n_items + 1, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        self.table = torch.nn.Parameter(table)

    def embed(self, items: Tensor) -> Tensor:
        return self.table[items]

    def encode(self, embeddings: Tensor, mask: Tensor, times: Tensor) -> Tensor:
        state, states = torch.zeros_like(embeddings[:, 0]), []
        for step in range(embeddings.shape[1]):
            gap = times[:, step] - times[:, max(step - 1, 0)]
            state = 0.9 ** (1 + gap.abs().double())[:, None] * state + embeddings[:, step]
            states.append(state)
        return torch.stack(states, dim=1)

    def scores(self, hidden: Tensor) -> Tensor:
        return hidden @ self.table.T


class LooksAhead(Fading):
    """Reads the whole sequence at every step."""

    name, title, causal = "ahead", "Looks ahead", False


@pytest.fixture
def fixed() -> Callable[..., Fixed]:
    return lambda **fields: Fixed(BackboneConfig(**{"n_items": 9, **fields}))


@pytest.fixture
def fading() -> Callable[..., Fading]:
    return lambda **fields: Fading(BackboneConfig(**{"n_items": 9, **fields}))


@pytest.fixture
def looks_ahead() -> LooksAhead:
    return LooksAhead(BackboneConfig(n_items=9))
