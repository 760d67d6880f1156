"""Backbones that are a stack of post-norm layers over the tied item embedding."""

from __future__ import annotations

from typing import ClassVar, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from recblr.backbones.base import Batch, State
from recblr.backbones.tied import TiedBackbone
from recblr.layers.post_norm import PostNormLayer
from recblr.layers.recorder import Record, layer_trace
from recblr.trace import LayerTrace, Trace


class StackedBackbone(TiedBackbone):
    """A subclass sets `layers` and `mixer_name`, and says how embeddings enter the stack."""

    mixer_name: ClassVar[str]
    """As a reader of a trace knows the mixer."""
    unrolls = True

    def enter(self, embeddings: Float[Tensor, "B T d"], first: int = 0) -> Float[Tensor, "B T d"]:
        """What the first layer reads; `first` is the position of the first event."""
        raise NotImplementedError

    def notes(self) -> tuple[str, ...]:
        """What a reader of a trace must know."""
        return ()

    def batch_notes(self, batch: Batch) -> tuple[str, ...]:
        """What a reader of a trace must know of this batch alone."""
        return ()

    def _stack(self) -> list[PostNormLayer]:
        return cast("list[PostNormLayer]", list(self.layers))

    def _run(self, embeddings: Tensor, mask: Tensor, times: Tensor, records: list[Record] | None) -> Tensor:
        x = self.enter(embeddings)
        for n, layer in enumerate(self._stack()):
            x = layer(x, None if records is None else records[n])
        return x

    def encode(
        self, embeddings: Float[Tensor, "B T d"], mask: Bool[Tensor, "B T"], times: Int[Tensor, "B T"]
    ) -> Float[Tensor, "B T d"]:
        return self._run(embeddings, mask, times, None)

    def _layer_traces(self, records: list[Record]) -> tuple[LayerTrace, ...]:
        return tuple(layer_trace(f"layer {n} · {self.mixer_name}", record) for n, record in enumerate(records, 1))

    @torch.no_grad()
    def trace(self, batch: Batch) -> Trace:
        records: list[Record] = [{} for _ in self.layers]
        hidden = self._run(self.embed(batch.items), batch.mask, batch.times, records)
        return Trace(
            backbone=self.name,
            preset=self.preset,
            items=batch.items.cpu().numpy(),
            times=batch.times.cpu().numpy(),
            layers=self._layer_traces(records),
            hidden=hidden.cpu().numpy(),
            causal=self.causal,
            notes=(*self.notes(), *self.untimed_notes(batch), *self.batch_notes(batch)),
        )

    def initial_state(self, batch_size: int) -> State:
        start: State = {
            "position": torch.zeros(batch_size, dtype=torch.int64, device=self.item_embedding.weight.device)
        }
        for n, layer in enumerate(self._stack()):
            start.update(self.layer_state(layer.mixer.initial_state(batch_size), n))
        return start

    @staticmethod
    def layer_state(own: State, n: int) -> State:
        """What layer n carries, under its names in the state of the stack."""
        return {f"{n}.{key}": value for key, value in own.items()}

    @staticmethod
    def own_state(state: State, n: int) -> State:
        """What layer n carries, under its own names."""
        prefix = f"{n}."
        return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}

    def step(
        self, state: State, items: Int[Tensor, " B"], times: Int[Tensor, " B"]
    ) -> tuple[Float[Tensor, "B d"], State]:
        x = self.enter(self.embed(items.unsqueeze(1)), int(state["position"].max()))[:, 0]
        new: State = {"position": state["position"] + 1}
        for n, layer in enumerate(self._stack()):
            x, own = layer.step(self.own_state(state, n), x)
            new.update(self.layer_state(own, n))
        return x, new
