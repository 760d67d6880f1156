"""Small models with weights of a size that makes sums wrong where an explanation is wrong."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from recblr.backbones import REGISTRY, SequentialBackbone, make_config
from recblr.data.log import Catalog, InteractionLog

ITEMS = 12
Make = Callable[..., SequentialBackbone]


def _grown(model: SequentialBackbone) -> None:
    """Initial weights are so small that every answer is near 0 and any two explanations agree."""
    g = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=g)
            if parameter.dim() > 1:
                parameter.copy_(noise / parameter.shape[-1] ** 0.5)
            else:
                parameter.add_(0.2 * noise)


def _fitted(model: SequentialBackbone) -> None:
    g = np.random.default_rng(0)
    items = g.integers(1, ITEMS + 1, 200).astype(np.int32)
    offsets = np.arange(0, 201, 10)
    log = InteractionLog(
        name="toy",
        items=items,
        times=np.tile(np.arange(10), 20),
        offsets=offsets,
        users=np.array([f"u{n}" for n in range(20)]),
        catalog=Catalog(ids=np.array(["", *[f"i{n}" for n in range(1, ITEMS + 1)]])),
    )
    model.fit(log, offsets[1:])


@pytest.fixture(scope="session")
def make() -> Make:
    """make(name, preset, **fields): a model in evaluation mode."""

    def made(name: str, preset: str | None = None, **fields: object) -> SequentialBackbone:
        cls = REGISTRY[name]
        torch.manual_seed(0)
        small = {"d": 16, "max_len": 24} if cls.learns else {"max_len": 24}
        model = cls(make_config(cls, preset, n_items=ITEMS, **{**small, **fields})).eval()
        if cls.learns:
            _grown(model)
            model.requires_grad_(False)
        else:
            _fitted(model)
        return model

    return made


@pytest.fixture
def history() -> SimpleNamespace:
    """Nine events at uneven gaps; items 10, 11 and 12 do not occur."""
    items: NDArray[np.int64] = np.array([3, 1, 7, 2, 9, 4, 1, 8, 5])
    times: NDArray[np.int64] = 10**9 + np.cumsum([0, 60, 7200, 5, 86_400, 300, 40_000, 900_000, 60])
    return SimpleNamespace(items=items, times=times)
