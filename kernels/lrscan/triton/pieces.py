"""Resets as more packed sequences: for kernels that work in chunks, where a NaN times a masked zero would leak."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """Sequences cut where they are reset. In the order of the scan, the first piece of a sequence takes its state."""

    bounds: Tensor
    """[pieces + 1] int64"""
    first: Tensor
    """[S] the piece of each sequence that is scanned first"""
    last: Tensor
    """[S] the piece that is scanned last"""
    batched: bool

    @classmethod
    def of(cls, like: Tensor, cu_seqlens: Tensor | None, reset: Tensor, reverse: bool) -> Pieces:
        """`like` [B, T, ...] or packed [N, ...]; waits for the device, because it counts the resets."""
        if cu_seqlens is None:
            starts = torch.arange(like.shape[0], device=like.device) * like.shape[1]
            end = starts.new_full((1,), like.shape[0] * like.shape[1])
        else:
            bounds = cu_seqlens.to(like.device, torch.int64)
            starts, end = bounds[:-1], bounds[-1:]
        cuts = reset.reshape(-1).nonzero().squeeze(1)
        cuts = cuts[cuts < end]
        if reverse:
            cuts = cuts + 1
        # At equal places a sequence starts before its own cut, and in reverse after the cut of the one before it.
        places, own = torch.cat([starts, cuts]), torch.arange(len(starts) + len(cuts), device=like.device)
        is_cut = (own >= len(starts)).long()
        order = torch.argsort(2 * places + (1 - is_cut if reverse else is_cut), stable=True)
        rank = torch.empty_like(order).scatter_(0, order, own)[: len(starts)]  # piece that begins each sequence
        until = torch.cat([rank[1:], rank.new_full((1,), len(own))]) - 1  # piece that ends it
        bounds = torch.cat([places[order], end])
        first, last = (until, rank) if reverse else (rank, until)
        return cls(bounds=bounds, first=first, last=last, batched=cu_seqlens is None)

    def rows(self, x: Tensor) -> Tensor:
        """[B, T, ...] or [N, ...] as rows [N, ...]."""
        return x.flatten(0, 1) if self.batched else x

    def spread(self, states: Tensor, *, at_end: bool = False) -> Tensor:
        """One state a piece: those of sequences [S, ...] where they enter (or leave), zero elsewhere."""
        out = states.new_zeros(len(self.bounds) - 1, *states.shape[1:])
        out[self.last if at_end else self.first] = states
        return out

    def initial(self, of_pieces: Tensor) -> Tensor:
        return of_pieces[self.first]

    def final(self, of_pieces: Tensor) -> Tensor:
        return of_pieces[self.last]
