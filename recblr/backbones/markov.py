"""First-order Markov chain: what people took right after this item.

    B batch, T time, d model width, V catalogue rows (item 0 = padding), R rows scored, P pairs that occur

    score_j = log p(j | i),   p(j | i) = (n_ij + w p_j) / (n_i + w)

with i the last item, n_ij the times j follows i in the training part, n_i their sum over j, p_j the popularity, and w
the back-off weight: small, so that popularity orders only what never followed i.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from recblr.backbones.base import BackboneConfig, Batch, State
from recblr.backbones.popularity import CountingConfig, Popularity, in_training, no_padding
from recblr.data.log import InteractionLog
from recblr.errors import CheckpointError, ConfigError, RecblrError
from recblr.trace import LayerTrace


@dataclass(frozen=True, kw_only=True, slots=True)
class MarkovConfig(CountingConfig):
    """What the Markov chain is configured by."""

    backoff: float = 0.01
    """Weight of popularity beside the counted pairs, in pairs."""
    n_pairs: int = 0
    """Different pairs counted; `fit` sets it, so that a saved model says how large its tables are."""

    def __post_init__(self) -> None:
        CountingConfig.__post_init__(self)
        if not 0 < self.backoff < float("inf"):
            raise ConfigError(f"backoff is {self.backoff}: it must be a number above 0")
        if self.n_pairs < 0:
            raise ConfigError(f"n_pairs is {self.n_pairs}: it must be at least 0")


class Markov(Popularity):
    """Counts of adjacent pairs in CSR form, with popularity behind them; before `fit` all items are level."""

    Config: ClassVar[type[BackboneConfig]] = MarkovConfig
    name: ClassVar[str] = "markov"
    title: ClassVar[str] = "Markov chain"
    paper: ClassVar[str] = "None: counts of adjacent pairs in the training part"

    starts: Tensor
    """[V + 1] pairs starts[i]:starts[i + 1] begin with item i."""
    followers: Tensor
    """[P] item that followed."""
    pair_counts: Tensor
    """[P] how often."""

    config: MarkovConfig

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__(config)
        self.register_buffer("starts", torch.zeros(config.n_items + 2, dtype=torch.int64))
        self.register_buffer("followers", torch.zeros(self.config.n_pairs, dtype=torch.int32))
        self.register_buffer("pair_counts", torch.zeros(self.config.n_pairs, dtype=torch.int32))

    def fit(self, log: InteractionLog, train_end: NDArray[np.int64]) -> Markov:
        """Count items and adjacent pairs within offsets[u]:train_end[u] of each user. Errors as in Popularity."""
        super().fit(log, train_end)
        inside = in_training(log, train_end)
        first = np.zeros(log.n_events + 1, dtype=bool)
        first[log.offsets] = True
        pairs = np.flatnonzero(inside[1:] & ~first[1:-1])  # event p and p + 1 belong to one user and train
        size = len(log.catalog)
        keys, counts = np.unique(log.items[pairs].astype(np.int64) * size + log.items[pairs + 1], return_counts=True)
        place = self.counts.device
        self.config = replace(self.config, n_pairs=len(keys))
        self.starts = torch.from_numpy(np.searchsorted(keys // size, np.arange(size + 1))).to(place)
        self.followers = torch.from_numpy((keys % size).astype(np.int32)).to(place)
        self.pair_counts = torch.from_numpy(counts.astype(np.int32)).to(place)
        return self

    def scores(self, hidden: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch V"]:
        """log p(j | i) for the item i in channel 0; for padding (an empty history) the log shares."""
        last = hidden[..., 0].round().long().clamp(0, self.config.n_items).reshape(-1)  # [R]
        weight = self.config.backoff
        mass = (weight * self.probabilities()).repeat(len(last), 1)  # [R, V]
        begin = self.starts[last]  # [R]
        size = self.starts[last + 1] - begin  # [R] pairs of each row
        row = torch.repeat_interleave(torch.arange(len(last), device=last.device), size)  # [pairs of all rows]
        pair = torch.arange(len(row), device=last.device) + (begin - size.cumsum(0) + size)[row]
        counted = self.pair_counts[pair].to(mass.dtype)
        mass[row, self.followers[pair].long()] += counted  # a pair occurs once, so no two additions meet
        total = torch.zeros(len(last), device=last.device).index_add_(0, row, counted) + weight
        return no_padding((mass / total[:, None]).log()).reshape(*hidden.shape[:-1], -1)

    def output_embedding(self) -> tuple[Float[Tensor, "V d"], Float[Tensor, " V"] | None]:
        raise RecblrError("the scores of a Markov chain are looked up, not products with an output embedding")

    def initial_state(self, batch_size: int) -> State:
        """The last item, 0 before the first."""
        return {"item": torch.zeros(batch_size, dtype=torch.int64, device=self.counts.device)}

    def step(
        self, state: State, items: Int[Tensor, " B"], times: Int[Tensor, " B"]
    ) -> tuple[Float[Tensor, "B d"], State]:
        item = torch.where(items > 0, items.long(), state["item"])
        return self.embed(item), {"item": item}

    def _layers(self, batch: Batch) -> tuple[LayerTrace, ...]:
        rows, steps = batch.items.shape
        mix = np.broadcast_to(np.eye(steps, dtype=np.float32), (rows, 1, steps, steps))
        return (LayerTrace(name="layer 1 · last item", mix=mix),)

    def _notes(self) -> tuple[str, ...]:
        return ("A first-order Markov chain holds the last item alone, so all of its memory is one event deep.",)

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        self._check_pairs()

    def _check_pairs(self) -> None:
        """Raises CheckpointError where the tables would index outside each other or the catalogue."""
        starts, followers = self.starts, self.followers
        sound = (
            int(starts[0]) == 0
            and int(starts[-1]) == len(followers)
            and bool((starts.diff() >= 0).all())
            and bool(((followers >= 1) & (followers <= self.config.n_items)).all())
            and bool((self.pair_counts >= 1).all())
            and bool((self.counts >= 0).all())
        )
        if not sound:
            raise CheckpointError(
                f"the pair tables of the Markov chain do not fit a catalogue of {self.config.n_items} items:"
                " the weights are damaged or belong to another catalogue; copy the run folder again or fit anew"
            )
