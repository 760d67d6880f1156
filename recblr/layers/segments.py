"""Where learnable tokens stand among the events of a history, and who sees whom.

    n events a segment, k tokens after each of the J segments that are compressed; T readers, S sources

    slots:  n events, k tokens, n events, k tokens, ..., recent events

An event sees the events of its own segment up to itself and every token before it, and no event of an earlier segment.
A token sees the events of the segment that it closes, the tokens before it and itself.

Segments count from the oldest event, so that the slot of an event never changes as the history grows.

Source: PerSRec, arXiv 2601.03479, and its public code.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Slots:
    """Readers with consecutive slots, what is held before them, and which sources each reader sees."""

    first: int
    """Slot of the first reader."""
    sources: Int[Tensor, " S"]
    """Slots of all sources, the readers' own last."""
    visible: Bool[Tensor, "T S"]

    @property
    def readers(self) -> Int[Tensor, " T"]:
        """Slots of the readers."""
        return self.sources[len(self.sources) - len(self.visible) :]


@dataclass(frozen=True, kw_only=True, slots=True)
class Segments:
    """Slot arithmetic; all numbers count from 0."""

    events: int
    """n."""
    tokens: int
    """k."""
    count: int
    """J."""

    @property
    def block(self) -> int:
        """Slots of a segment with its tokens."""
        return self.events + self.tokens

    def closed(self, n_events: int) -> int:
        """Segments among the first events that are complete, and so have their tokens."""
        return min(n_events // self.events, self.count)

    def n_slots(self, n_events: int) -> int:
        """Slots of the first events, the tokens of every complete segment included."""
        return n_events + self.tokens * self.closed(n_events)

    def room(self, n_events: int) -> int | None:
        """Events until the segment that is being filled is complete; None where no further one is compressed."""
        segment = n_events // self.events
        return None if segment >= self.count else (segment + 1) * self.events - n_events

    def of_event(self, events: Int[Tensor, " T"]) -> Int[Tensor, " T"]:
        """Slot of each event."""
        return events + self.tokens * (events // self.events).clamp(max=self.count)

    def of_tokens(self, segment: int, device: torch.device | None = None) -> Int[Tensor, " k"]:
        """Slots of the tokens that close a segment."""
        first = segment * self.block + self.events
        return torch.arange(first, first + self.tokens, device=device)

    def segment(self, slots: Int[Tensor, " S"]) -> Int[Tensor, " S"]:
        """Segment of each slot; J for the recent events."""
        return (slots // self.block).clamp(max=self.count)

    def is_token(self, slots: Int[Tensor, " S"]) -> Bool[Tensor, " S"]:
        return (slots < self.count * self.block) & (slots % self.block >= self.events)

    def event(self, slots: Int[Tensor, " S"]) -> Int[Tensor, " S"]:
        """Event at each slot; at a token's, the last event of the segment that it closes."""
        segment = self.segment(slots)
        last = (segment + 1) * self.events - 1
        return torch.where(self.is_token(slots), last, slots - self.tokens * segment)

    def token(self, slots: Int[Tensor, " S"]) -> Int[Tensor, " S"]:
        """Token at each slot, 0..J k - 1; at an event's, anything."""
        segment = self.segment(slots)
        return segment * self.tokens + slots - segment * self.block - self.events

    def visible(self, readers: Int[Tensor, " T"], sources: Int[Tensor, " S"]) -> Bool[Tensor, "T S"]:
        """Whether a reader sees a source."""
        past = sources <= readers.unsqueeze(1)
        same = self.segment(sources) == self.segment(readers).unsqueeze(1)
        return past & (self.is_token(sources) | same)

    def read(self, readers: Int[Tensor, " T"], held: Int[Tensor, " P"]) -> Slots:
        """Consecutive readers after slots whose keys and values are held already."""
        sources = torch.cat([held, readers])
        return Slots(first=int(readers[0]), sources=sources, visible=self.visible(readers, sources))
