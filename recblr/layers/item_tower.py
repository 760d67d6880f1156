"""HLLM's item LLM: the tokens of a text in, one vector out.

    N items, L tokens of the longest text, w width

    e = LLM(embedding(tokens), item token)[last]      pooling "token": a learnt vector ends the text, its output is e
    e = mean LLM(embedding(tokens))                   pooling "mean"

Texts are right-padded: what follows the last token is never seen by what comes before it.

Source: Chen et al. 2024, arXiv 2409.12740, and its public code.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import pad

from recblr.layers.decoder import Decoder

_WORTH_GROUPING = 64
"""Fewest texts that are grouped by length."""


class ItemTower(nn.Module):
    """tokens [N, L] (id + 1, 0 = none) -> [N, w]."""

    def __init__(self, model: Any, pooling: str) -> None:
        super().__init__()
        embedding = model.get_input_embeddings()
        self.decoder = Decoder(model, "item_llm", reads_tokens=False)
        self.embedding = embedding
        width = self.decoder.width
        self.item_token = nn.Parameter(0.02 * torch.randn(width)) if pooling == "token" else None

    def forward(self, tokens: Int[Tensor, "N L"]) -> Float[Tensor, "N w"]:
        """Texts of like length are read together, so that little padding is."""
        lengths = (tokens > 0).sum(dim=1)  # [N]
        bucket = torch.log2(lengths.clamp(min=1).double()).ceil()
        if len(tokens) < _WORTH_GROUPING or bool((bucket == bucket[0]).all()):
            return self._read(tokens, lengths)
        groups = [(bucket == size).nonzero()[:, 0] for size in torch.unique(bucket)]
        read = torch.cat([self._read(tokens[rows], lengths[rows]) for rows in groups])
        return read[torch.cat(groups).argsort()]

    def _read(self, tokens: Int[Tensor, "N L"], lengths: Int[Tensor, " N"]) -> Float[Tensor, "N w"]:
        longest = int(lengths.max()) if len(lengths) else 0
        x = self.embedding((tokens[:, :longest] - 1).clamp(min=0))  # [N, longest, w]
        places = torch.arange(longest + 1, device=tokens.device)
        if self.item_token is None:
            real = places[:longest] < lengths.unsqueeze(1)  # [N, longest]
            total = (self.decoder(x) * real.unsqueeze(2)).sum(dim=1)
            mean: Tensor = total / lengths.clamp(min=1).unsqueeze(1)
            return mean
        ends = (places == lengths.unsqueeze(1)).unsqueeze(2)  # [N, longest + 1, 1]
        out = self.decoder(torch.where(ends, self.item_token, pad(x, (0, 0, 0, 1))))
        last: Tensor = out[torch.arange(len(tokens), device=tokens.device), lengths]
        return last
