"""Two ways to carry a compressed history: learnt tokens between segments, or the state that a backbone has anyway.

B batch, T events, S slots (events and tokens), k tokens a segment, J segments that are compressed, d model width
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from recblr.backbones.base import Batch, SequentialBackbone, State
from recblr.layers.recorder import Record
from recblr.layers.segments import Segments, Slots

POSITION = "position"
"""Events read so far, in a state."""

_SLOT_AXES = {
    "mix": (2, 3),
    "score_content": (2, 3),
    "score_position": (2, 3),
    "score_time": (2, 3),
    "value_norm": (2,),
    "offered": (2,),
    "received": (2,),
    "read": (1,),
    "out": (1,),
}
"""Fields of a trace over slots -> their axes of slots."""


@runtime_checkable
class SlotReader(Protocol):
    """What an attention backbone offers so that its history can be compressed into tokens."""

    mixer_name: str

    def embed(self, items: Int[Tensor, "B T"]) -> Float[Tensor, "B T d"]: ...

    def as_classes(self, vectors: Float[Tensor, "N d"]) -> Float[Tensor, "N d"]:
        """Vectors as rows of the output embedding."""

    def held_slots(self, batch_size: int) -> State:
        """The state before the first slot; each of its tensors is [B, slots held, ...]."""

    def read_slots(
        self,
        state: State,
        embeddings: Float[Tensor, "B T d"],
        times: Int[Tensor, "B T"],
        slots: Slots,
        records: list[Record] | None = None,
    ) -> tuple[Float[Tensor, "B T d"], State]:
        """(hidden, state) of consecutive slots after those that `state` holds; `slots` says who sees whom."""

    def slot_notes(self, batch: Batch) -> tuple[str, ...]:
        """What a reader of a trace over slots must know."""


class TokenReader:
    """Over attention: the tokens of a segment are all that later events see of it."""

    def __init__(self, inner: SlotReader, segments: Segments, tokens: nn.Embedding) -> None:
        self.inner, self.segments, self.tokens = inner, segments, tokens

    def _tokens(self, which: Int[Tensor, " k"], rows: int) -> Float[Tensor, "B k d"]:
        vectors: Tensor = self.tokens(which)
        return vectors.expand(rows, -1, -1)

    def read(
        self, embeddings: Float[Tensor, "B T d"], times: Int[Tensor, "B T"], records: list[Record] | None = None
    ) -> tuple[Float[Tensor, "B S d"], Int[Tensor, " S"]]:
        """(hidden, slots) of a whole history with its tokens, in one pass under the mask."""
        layout, (rows, n) = self.segments, times.shape
        slots = torch.arange(layout.n_slots(n), device=times.device)
        known = torch.arange(layout.tokens * layout.closed(n), device=times.device)
        both = torch.cat([embeddings, self._tokens(known, rows)], dim=1)
        order = torch.where(layout.is_token(slots), n + layout.token(slots), layout.event(slots))
        hidden, _ = self.inner.read_slots(
            self.inner.held_slots(rows),
            both[:, order],
            times[:, layout.event(slots)],
            layout.read(slots, slots[:0]),
            records,
        )
        return hidden, slots

    def encode(
        self, embeddings: Float[Tensor, "B T d"], mask: Bool[Tensor, "B T"], times: Int[Tensor, "B T"]
    ) -> Float[Tensor, "B T d"]:
        hidden, slots = self.read(embeddings, times)
        return hidden[:, ~self.segments.is_token(slots)]

    def readout(
        self, embeddings: Float[Tensor, "B T d"], mask: Bool[Tensor, "B T"], times: Int[Tensor, "B T"]
    ) -> Float[Tensor, "B J k d"]:
        """Hidden states at the tokens of each complete segment."""
        hidden, slots = self.read(embeddings, times)
        tokens = hidden[:, self.segments.is_token(slots)]
        return tokens.view(len(tokens), -1, self.segments.tokens, tokens.shape[2])

    def initial_state(self, batch: int) -> State:
        held = self.inner.held_slots(batch)
        device = next(iter(held.values())).device
        return {**held, POSITION: torch.zeros(batch, dtype=torch.int64, device=device)}

    def advance(
        self, state: State, items: Int[Tensor, "B T"], times: Int[Tensor, "B T"]
    ) -> tuple[Float[Tensor, "B T d"], State]:
        """Read on. When a segment is complete its tokens are run, and of it only their keys and values are kept."""
        read, at, hidden = int(state[POSITION].max()), 0, []
        total = items.shape[1]
        while at < total:
            room = self.segments.room(read)
            n = total - at if room is None else min(room, total - at)
            events = torch.arange(read, read + n, device=items.device)
            slots = self.segments.read(self.segments.of_event(events), self._held(read, items.device))
            part = slice(at, at + n)
            out, state = self._extend(state, self.inner.embed(items[:, part]), times[:, part], slots)
            hidden.append(out)
            at, read = at + n, read + n
            if n == room:
                state = self._compress(state, read, times[:, at - 1 : at])
        return torch.cat(hidden, dim=1), {**state, POSITION: state[POSITION] + total}

    def _held(self, n_events: int, device: torch.device) -> Int[Tensor, " P"]:
        """Slots whose keys and values are kept after `n_events` events: all tokens so far, then the open segment."""
        slots = torch.arange(self.segments.n_slots(n_events), device=device)
        is_open = self.segments.segment(slots) == self.segments.closed(n_events)
        return slots[self.segments.is_token(slots) | is_open]

    def _extend(self, state: State, x: Tensor, times: Tensor, slots: Slots) -> tuple[Tensor, State]:
        held = {key: value for key, value in state.items() if key != POSITION}
        hidden, held = self.inner.read_slots(held, x, times, slots)
        return hidden, {**held, POSITION: state[POSITION]}

    def _compress(self, state: State, n_events: int, times: Int[Tensor, "B 1"]) -> State:
        """Run the tokens of the segment that ends after `n_events` events, and forget its events."""
        layout = self.segments
        segment = n_events // layout.events - 1
        readers = layout.of_tokens(segment, times.device)
        every = torch.arange(int(readers[0]), device=times.device)
        mine = layout.segment(every) == segment
        slots = layout.read(readers, every[layout.is_token(every) | mine])
        x = self._tokens(layout.token(readers), len(times))
        _, state = self._extend(state, x, times.expand(-1, layout.tokens), slots)
        kept = layout.is_token(slots.sources)
        return {key: value if key == POSITION else value[:, kept] for key, value in state.items()}

    def split(self, record: Record, slots: Int[Tensor, " S"]) -> Record:
        """A record over slots as one over events, with what tokens read and are read by beside it."""
        tokens = self.segments.is_token(slots)
        parts: Record = {}
        for name, value in record.items():
            for axis in _SLOT_AXES.get(name, ()):
                value = value.index_select(axis, (~tokens).nonzero()[:, 0])
            parts[name] = value
        if tokens.any():
            mix = record["mix"]
            parts["token_mix"] = mix[:, :, ~tokens][..., tokens]
            parts["token_read"] = mix[:, :, tokens][..., ~tokens]
            if "offered" in record:
                parts["skipped"] = parts["token_mix"] @ record["offered"][:, :, tokens]  # all that is not from `mix`
            parts["token_after"] = (self.segments.event(slots[tokens]) + 1).expand(len(mix), -1)
        return parts


class StateReader:
    """Over a recurrence: the state is carried on as it is, and tokens only read it out.

    The tokens of a segment are run from the state at its end, on a copy: no event ever sees them.
    """

    def __init__(self, inner: SequentialBackbone, segments: Segments, tokens: nn.Embedding | None) -> None:
        self.inner, self.segments, self.tokens = inner, segments, tokens

    def encode(
        self, embeddings: Float[Tensor, "B T d"], mask: Bool[Tensor, "B T"], times: Int[Tensor, "B T"]
    ) -> Float[Tensor, "B T d"]:
        return self.inner.encode(embeddings, mask, times)

    def readout(
        self, embeddings: Float[Tensor, "B T d"], mask: Bool[Tensor, "B T"], times: Int[Tensor, "B T"]
    ) -> Float[Tensor, "B J k d"]:
        """Hidden states at tokens run after each complete segment."""
        layout, (rows, n) = self.segments, times.shape
        outs = [embeddings.new_zeros(rows, 0, layout.tokens, embeddings.shape[2])]
        table = embeddings[0, :0] if self.tokens is None else self.tokens.weight  # [J k, d]
        for segment in range(min(layout.closed(n), len(table))):
            upto, first = (segment + 1) * layout.events, segment * layout.tokens
            tokens = table[first : first + layout.tokens].expand(rows, -1, -1)
            x = torch.cat([embeddings[:, :upto], tokens], dim=1)
            seen = torch.cat([mask[:, :upto], mask[:, upto - 1 : upto].expand(-1, layout.tokens)], dim=1)
            when = torch.cat([times[:, :upto], times[:, upto - 1 : upto].expand(-1, layout.tokens)], dim=1)
            outs.append(self.inner.encode(x, seen, when)[:, upto:].unsqueeze(1))
        return torch.cat(outs, dim=1)

    def initial_state(self, batch: int) -> State:
        return self.inner.initial_state(batch)

    def advance(
        self, state: State, items: Int[Tensor, "B T"], times: Int[Tensor, "B T"]
    ) -> tuple[Float[Tensor, "B T d"], State]:
        """Read on, event by event."""
        hidden = []
        for t in range(items.shape[1]):
            one, state = self.inner.step(state, items[:, t], times[:, t])
            hidden.append(one)
        return torch.stack(hidden, dim=1), state
