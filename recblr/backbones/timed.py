"""Stacks whose layers are told the time: a signal made of the times of events goes through the layers beside them.

B batch, T time, d model width
"""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from recblr.backbones.base import State
from recblr.backbones.stacked import StackedBackbone
from recblr.layers.post_norm import PostNormLayer
from recblr.layers.recorder import Record


class TimedLayer(PostNormLayer):
    """A layer that reads a signal and hands one on."""

    def timed(
        self, x: Float[Tensor, "B T d"], signal: Tensor, record: Record | None
    ) -> tuple[Float[Tensor, "B T d"], Tensor]:
        """(x, signal of the next layer)."""
        raise NotImplementedError

    def timed_step(
        self, state: State, x: Float[Tensor, "B d"], signal: Tensor
    ) -> tuple[Float[Tensor, "B d"], Tensor, State]:
        """(x, signal of the next layer, new state)."""
        raise NotImplementedError


class TimedStack(StackedBackbone):
    """A subclass says what the first layer is told; the state holds the time of the last event."""

    uses_time = True

    def signal(self, times: Int[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Tensor:
        """What the first layer is told, with B for its first axis."""
        raise NotImplementedError

    def step_signal(
        self, times: Int[Tensor, " B"], before: Int[Tensor, " B"], position: Int[Tensor, " B"]
    ) -> Tensor:  # fmt: skip
        """The same for one event; `before`: the time of the event before it, where `position` is not 0."""
        raise NotImplementedError

    def _timed_layers(self) -> list[TimedLayer]:
        return cast("list[TimedLayer]", list(self.layers))

    def _run(self, embeddings: Tensor, mask: Tensor, times: Tensor, records: list[Record] | None) -> Tensor:
        x, signal = self.enter(embeddings), self.signal(times, mask)
        for n, layer in enumerate(self._timed_layers()):
            x, signal = layer.timed(x, signal, None if records is None else records[n])
        return x

    def initial_state(self, batch_size: int) -> State:
        state = super().initial_state(batch_size)
        return {**state, "time": torch.zeros_like(state["position"])}

    def step(
        self, state: State, items: Int[Tensor, " B"], times: Int[Tensor, " B"]
    ) -> tuple[Float[Tensor, "B d"], State]:
        x = self.enter(self.embed(items.unsqueeze(1)))[:, 0]
        signal = self.step_signal(times, state["time"], state["position"])
        new: State = {"position": state["position"] + 1, "time": times}
        for n, layer in enumerate(self._timed_layers()):
            x, signal, own = layer.timed_step(self.own_state(state, n), x, signal)
            new.update(self.layer_state(own, n))
        return x, new
