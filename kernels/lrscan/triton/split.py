"""Scans split over time, for few long sequences: summaries of chunks, a scan of the summaries, the chunks replayed.

A chunk maps the state that enters it to ``product * state + local``; so does its adjoint with the carry. The replay
runs the ordinary kernels on the chunks as if they were packed sequences, each with its own initial state.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from lrscan.triton.common import Sequences


@dataclass(frozen=True, kw_only=True)
class Chunks:
    """B sequences of T steps, cut into K chunks each."""

    each: Sequences
    """the B * K chunks as packed sequences"""
    over: Sequences
    """the K summaries of every sequence"""
    size: int

    @classmethod
    def of(cls, sequences: Sequences, size: int, like: Tensor) -> Chunks:
        batch, steps, reset = sequences.count, sequences.steps, sequences.reset
        count = -(-steps // size)
        starts = torch.arange(batch, device=like.device)[:, None] * steps
        starts = starts + torch.arange(count, device=like.device) * size  # [B, K]
        bounds = pad(starts.reshape(-1), (0, 1), value=batch * steps)
        any_reset = None
        if reset is not None:
            padded = pad(reset.reshape(batch, steps), (0, count * size - steps))
            any_reset = padded.view(batch, count, size).amax(-1).contiguous()
        reverse = sequences.reverse
        flat = None if reset is None else reset.reshape(-1)
        each = Sequences(count=batch * count, steps=0, bounds=bounds, reset=flat, reverse=reverse, covered=True)
        over = Sequences(count=batch, steps=count, bounds=None, reset=any_reset, reverse=reverse)
        return cls(each=each, over=over, size=size)

    @property
    def against(self) -> Sequences:
        """The summaries in the order in which gradients run."""
        over = self.over
        return Sequences(count=over.count, steps=over.steps, bounds=None, reset=over.reset, reverse=not over.reverse)

    def entering(self, after: Tensor, initial: Tensor | None, *, against: bool = False) -> Tensor:
        """What enters each chunk [B * K, D], from what leaves each [B, K, D] and what enters the first [B, D]."""
        first = torch.zeros_like(after[:, :1]) if initial is None else initial.to(after.dtype)[:, None]
        backwards = self.over.reverse != against
        joined = torch.cat([after[:, 1:], first] if backwards else [first, after[:, :-1]], dim=1)
        return joined.reshape(-1, after.shape[-1])

    def before(self, h: Tensor, h0: Tensor | None) -> Tensor:
        """h just before each chunk [B * K, D], from h [B, T, D]."""
        if self.over.reverse:
            ends = h[:, :: self.size]
        else:
            ends = h[:, self.size - 1 :: self.size]
            ends = torch.cat([ends, h[:, -1:]], dim=1)[:, : self.over.steps]
        wide = torch.promote_types(h.dtype, torch.float32)
        return self.entering(ends.to(wide), h0)

    def final(self, each: Tensor, *, against: bool = False) -> Tensor:
        """What leaves the chunk that is scanned last [B, D], of [B * K, D]."""
        of_sequence = each.view(self.over.count, self.over.steps, -1)
        return of_sequence[:, 0 if self.over.reverse != against else -1].contiguous()


def flat(x: Tensor) -> Tensor:
    """[B, T, D] as rows [B * T, D]; a view where the layout allows it."""
    return x.reshape(-1, x.shape[-1])
