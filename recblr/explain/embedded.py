"""A model as a function of its embeddings alone, and what to compare a history with: for methods that follow gradients.

    R rows, T events, d model width, V catalogue rows

The mask and the times are given apart and never change, so that a method which moves the embeddings moves nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from recblr.backbones.base import SequentialBackbone, last_hidden
from recblr.errors import ExplainError
from recblr.explain.attribution import DOUBTFUL, UNRELIABLE
from recblr.explain.question import Question

Baseline = Literal["mean", "popularity", "random"]
BASELINES: tuple[Baseline, ...] = ("mean", "popularity", "random")
"""mean: every event is the mean item. popularity: the mean item weighted by how often each occurs. random: as many
events of random items, over several draws. Zeros are none: no item is there, and a norm of zeros has no scale."""

Progress = Callable[[int, int], None]
"""Called with (rows done, rows in all)."""


@dataclass(frozen=True, eq=False)
class Embedded:
    """What is explained as a function of embeddings [R, T, d]."""

    question: Question
    embeddings: Float[Tensor, "1 T d"]
    """Of the history."""
    direction: Float[Tensor, " d"]
    bias: float
    progress: Progress | None = None
    total: int = 0
    """Rows that `progress` is told of."""

    @staticmethod
    def of(question: Question, progress: Progress | None = None, total: int = 0) -> Embedded:
        with _values():
            direction, bias = question.direction()
            embeddings = question.model.embed(question.batch().items)
        return Embedded(question, embeddings, direction, bias, progress, total)

    def counted(self) -> Callable[[Tensor], Tensor]:
        """The function, which tells `progress` of its rows each time it is called."""
        done = 0

        def forward(embeddings: Tensor) -> Tensor:
            nonlocal done
            value = self.value(embeddings)
            done += len(embeddings)
            if self.progress is not None:
                self.progress(min(done, self.total), self.total)
            return value

        return forward

    def value(self, embeddings: Float[Tensor, "R T d"]) -> Float[Tensor, " R"]:
        """Logit of the target, minus that of the contrast."""
        batch, rows = self.question.batch(), len(embeddings)
        hidden = self.question.model.encode(embeddings, batch.mask.repeat(rows, 1), batch.times.repeat(rows, 1))
        return last_hidden(hidden, batch.lengths.repeat(rows)) @ self.direction + self.bias

    def plain(self, embeddings: Float[Tensor, "R T d"]) -> Float[NDArray[np.float64], " R"]:
        """`value` without a gradient."""
        with _values():
            return self.value(embeddings).double().numpy()

    def item_mean(self, weights: Float[NDArray[np.float64], " V"] | None = None) -> Float[Tensor, " d"]:
        """Embedding of the mean item, weighted by `weights` where given (row 0 is padding and has no part)."""
        table = catalogue(self.question.model)  # [V-1, d]
        with _values():
            if weights is None:
                return table.mean(0)
            share = torch.from_numpy(weights[1:] / weights[1:].sum()).to(table.dtype)
            return share @ table

    def against(
        self, baseline: Baseline, *, counts: NDArray[np.integer] | None, draws: int, seed: int
    ) -> Float[Tensor, "R T d"]:
        """The histories to compare with: one, or `draws` of random items. Raises ExplainError for an unknown name, or
        for popularity without counts."""
        if baseline not in BASELINES:
            raise ExplainError(f"no baseline {baseline!r}: choose one of {', '.join(BASELINES)}")
        if baseline == "mean":
            return self.item_mean().expand_as(self.embeddings)
        if baseline == "popularity":
            return self.item_mean(_usable(counts, self.question.model)).expand_as(self.embeddings)
        if draws < 1:
            raise ExplainError(f"draws is {draws}: at least one random history is needed")
        size = (draws, len(self.question))
        items = np.random.default_rng(seed).integers(1, self.question.model.config.n_items + 1, size)
        with _values():
            return self.question.model.embed(torch.from_numpy(items))


def catalogue(model: SequentialBackbone) -> Float[Tensor, "I d"]:
    """Embeddings of every item, as events enter the model."""
    with _values():
        return model.embed(torch.arange(1, model.config.n_items + 1)[None])[0]


def _usable(counts: NDArray[np.integer] | None, model: SequentialBackbone) -> Float[NDArray[np.float64], " V"]:
    rows = model.config.n_items + 1
    if counts is None:
        raise ExplainError(
            "the popularity baseline needs how often each item occurs: pass counts, such as"
            " np.bincount(log.items, minlength=len(log.catalog))"
        )
    if np.shape(counts) != (rows,) or np.min(counts) < 0 or np.sum(counts[1:]) == 0:
        raise ExplainError(f"counts must be {rows} numbers from 0 on, row 0 for padding, not all of them 0")
    return np.asarray(counts, dtype=np.float64)


def doubts(error: float, explained: float) -> tuple[str, ...]:
    """The note that an estimate's error calls for."""
    part = error / max(abs(explained), 1e-12)
    if part <= DOUBTFUL:
        return ()
    refused = ", and no shares are shown" if part > UNRELIABLE else ""
    return (f"The error is {error:.3g} logits, {part:.0%} of the {explained:.3g} that is explained{refused}.",)


@contextmanager
def _values() -> Iterator[None]:
    """No gradients, but tensors that gradients can be taken from later, as those of an inference mode cannot."""
    with torch.inference_mode(False), torch.no_grad():
        yield


@contextmanager
def gradients() -> Iterator[None]:
    """Gradients, wherever the caller stands."""
    with torch.inference_mode(False), torch.enable_grad():
        yield
