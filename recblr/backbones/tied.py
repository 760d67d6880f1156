"""The item embedding, tied to the output layer, and the backbones that score through it."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from recblr.backbones.base import BackboneConfig, SequentialBackbone
from recblr.layers.recorder import Record


class TiedBackbone(SequentialBackbone):
    """scores = hidden @ E.T (+ bias), with E the input embedding.

    `pad_class` keeps row 0 as a class of the softmax, as the published codes do; without it row 0 is zero and its
    logit is -inf.
    """

    def __init__(self, config: BackboneConfig, *, pad_class: bool, item_bias: bool = False) -> None:
        super().__init__(config)
        self.pad_class = pad_class
        self.item_embedding = nn.Embedding(config.n_items + 1, config.d, padding_idx=0)
        self.item_bias = nn.Parameter(torch.zeros(config.n_items + 1)) if item_bias else None

    layers: nn.ModuleList
    """Of the backbones that record what they do."""

    def _run(self, embeddings: Tensor, mask: Tensor, times: Tensor, records: list[Record] | None) -> Tensor:
        raise NotImplementedError

    def recorded(self, embeddings: Tensor, mask: Tensor, times: Tensor) -> tuple[Tensor, list[Record]]:
        """(hidden, what each layer records), with gradients: what stands in `state` where the state is no matrix, and
        in `received`, lies on the way to the hidden states."""
        records: list[Record] = [{} for _ in self.layers]
        return self._run(embeddings, mask, times, records), records

    def clear_padding_row(self) -> None:
        """Call last in ``__init__``: initialisers write over the whole table."""
        if not self.pad_class:
            with torch.no_grad():
                self.item_embedding.weight[0].zero_()

    def embed(self, items: Int[Tensor, "B T"]) -> Float[Tensor, "B T d"]:
        vectors: Tensor = self.item_embedding(items)
        return vectors

    def output_embedding(self) -> tuple[Float[Tensor, "V d"], Float[Tensor, " V"] | None]:
        return self.item_embedding.weight, self.item_bias

    def scores(self, hidden: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch V"]:
        logits = hidden @ self.item_embedding.weight.T
        if self.item_bias is not None:
            logits = logits + self.item_bias
        if not self.pad_class:
            logits[..., 0] = -torch.inf
        return logits


def normal_init(module: nn.Module, std: float = 0.02) -> None:
    """N(0, std) for every Linear and Embedding, zero biases: RecBole's ``_init_weights``."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, std=std)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
