"""Popularity: the items that most people take, whatever came before. The floor of every leaderboard.

    B batch, T time, d model width, V catalogue rows (item 0 = padding)

    score_j = log p_j,   p_j = (n_j + 1) / (N + V - 1)

with n_j the times item j occurs in the training part and N the sum of n. Channel 0 of embedding and hidden state
carries the item id, the other channels are zero; float32 holds ids up to 16.7 million exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from recblr.backbones.base import BackboneConfig, Batch, SequentialBackbone, State
from recblr.data.log import InteractionLog
from recblr.errors import ConfigError, DataError
from recblr.trace import LayerTrace, Trace

MAX_ITEMS = 2**24 - 1
"""Largest item id that float32 tells from its neighbours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CountingConfig(BackboneConfig):
    """What a counting baseline is configured by."""

    d: int = 1
    """Width of the hidden state; its first channel carries the item id, the others are zero."""
    n_layers: int = 1
    """Always 1: there is nothing to stack."""
    dropout: float = 0.0
    """Without effect: there is no training by gradients."""

    def __post_init__(self) -> None:
        BackboneConfig.__post_init__(self)
        if self.n_items > MAX_ITEMS:
            raise ConfigError(f"n_items is {self.n_items}: a counting baseline takes up to {MAX_ITEMS}")


def in_training(log: InteractionLog, train_end: NDArray[np.int64]) -> NDArray[np.bool_]:
    """[N] whether an event belongs to the training part."""
    return np.arange(log.n_events) < np.repeat(train_end, log.lengths())


def no_padding(scores: Float[Tensor, "*batch V"]) -> Float[Tensor, "*batch V"]:
    """The same scores, with padding at -inf."""
    scores[..., 0] = -torch.inf
    return scores


class Popularity(SequentialBackbone):
    """Counts of the training part; before `fit` all items are level."""

    Config: ClassVar[type[BackboneConfig]] = CountingConfig
    name: ClassVar[str] = "popularity"
    title: ClassVar[str] = "Popularity"
    paper: ClassVar[str] = "None: counts of the training part"
    learns: ClassVar[bool] = False

    counts: Tensor

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__(config)
        self.register_buffer("counts", torch.zeros(config.n_items + 1, dtype=torch.int64))

    def fit(self, log: InteractionLog, train_end: NDArray[np.int64]) -> Popularity:
        """Count the events offsets[u]:train_end[u] of each user; earlier counts are forgotten.

        Raises ConfigError on another catalogue, DataError on an empty training part.
        """
        if self.config.n_items != log.catalog.n_items:
            raise ConfigError(f"the model has {self.config.n_items} items, log {log.name!r} {log.catalog.n_items}")
        items = log.items[in_training(log, train_end)]
        if len(items) == 0:
            raise DataError(f"the training part of log {log.name!r} is empty: there is nothing to count")
        self.counts.copy_(torch.from_numpy(np.bincount(items, minlength=len(log.catalog))))
        return self

    def probabilities(self) -> Float[Tensor, " V"]:
        """Share of each item, one event added to every item; they sum to 1 over 1..V-1."""
        return (self.counts + 1.0) / (self.counts.sum() + self.config.n_items)

    def embed(self, items: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch d"]:
        embeddings = torch.zeros(*items.shape, self.config.d, device=items.device)
        embeddings[..., 0] = items
        return embeddings

    def encode(
        self, embeddings: Float[Tensor, "B T d"], mask: Bool[Tensor, "B T"], times: Int[Tensor, "B T"]
    ) -> Float[Tensor, "B T d"]:
        return embeddings

    def scores(self, hidden: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch V"]:
        """Log shares, the same after every history."""
        return no_padding(self.probabilities().log()).expand(*hidden.shape[:-1], -1)

    def output_embedding(self) -> tuple[Float[Tensor, "V d"], Float[Tensor, " V"] | None]:
        return torch.zeros(len(self.counts), self.config.d, device=self.counts.device), no_padding(
            self.probabilities().log()
        )

    def initial_state(self, batch_size: int) -> State:
        """Empty: nothing is carried."""
        return {}

    def step(
        self, state: State, items: Int[Tensor, " B"], times: Int[Tensor, " B"]
    ) -> tuple[Float[Tensor, "B d"], State]:
        return self.embed(items), state

    def _layers(self, batch: Batch) -> tuple[LayerTrace, ...]:
        return ()

    def _notes(self) -> tuple[str, ...]:
        return ("Popularity reads no history: the scores are the shares of the training part after every event.",)

    @torch.no_grad()
    def trace(self, batch: Batch) -> Trace:
        return Trace(
            backbone=self.name,
            preset=self.preset,
            items=batch.items.cpu().numpy().astype(np.int64),
            times=batch.times.cpu().numpy().astype(np.int64),
            layers=self._layers(batch),
            hidden=self(batch).cpu().numpy(),
            notes=self._notes(),
        )
