"""HLLM's items: each is its text, and its vector what a language model makes of it.

    V catalogue rows (item 0 = padding), L tokens of a text, w width of the item LLM, d model width, N items

    e_v = map(item LLM(tokens of v))            the map is nothing where w = d

Of a trained item LLM the module keeps weights, tokens and tokenizer; of a frozen one only the vectors [V, w].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from recblr.backbones.hllm_config import HLLMConfig
from recblr.data.log import Catalog
from recblr.errors import CheckpointError, ConfigError
from recblr.layers import item_texts
from recblr.layers.decoder import TINY, architecture_of, load_llm, rebuild_llm, tiny_llama, width_of
from recblr.layers.item_tower import ItemTower
from recblr.layers.kept import Kept, needs_gradient, versions

_AT_ONCE = 1024
"""Texts read at once where no gradient is needed."""


def short_name(source: str) -> str:
    """A source without its place on this machine, as a run folder names it."""
    return Path(source).name if source != TINY and Path(source).is_dir() else source


def linear_map(width: int, onto: int) -> nn.Module:
    """Nothing where the widths agree, as published; else a linear map."""
    return nn.Identity() if width == onto else nn.Linear(width, onto, bias=False)


class TextItems(nn.Module):
    """items [N] -> vectors [N, d]."""

    tokens: Tensor
    """int32 [V, L] token id + 1 of each item's text, 0 after its end; of a trained item LLM."""
    vectors: Tensor
    """[V, w] what a frozen item LLM made."""
    tokenizer: Tensor
    """uint8, the tokenizer's own JSON; empty before a catalogue is read, and with a frozen item LLM."""

    def __init__(self, config: HLLMConfig) -> None:
        """Raises ConfigError where the LLM cannot be loaded or is not causal."""
        super().__init__()
        self.config = config
        self.trained = config.item_weights == "trained"
        self.architecture = config.item_architecture
        self._kept = Kept()
        self._frozen: list[ItemTower] = []  # beside the modules, so that no run carries its weights
        self.register_buffer("tokenizer", torch.zeros(0, dtype=torch.uint8))
        rows = config.n_items + 1
        if self.architecture and not self.trained:  # of a run, whose vectors are made
            width = width_of(self.architecture, "item_llm")
            self.register_buffer("vectors", torch.zeros(rows, width))
        else:
            tower = ItemTower(self._llm(), config.pooling)
            width = tower.decoder.width
            if self.trained:
                self.tower = tower
                self.register_buffer("tokens", item_texts.number_tokens(rows, config.text_tokens))
            else:
                self._frozen = [tower.eval().requires_grad_(False)]
                self.register_buffer("vectors", 0.02 * torch.randn(rows, width))
        self.out = linear_map(width, config.d)

    def _llm(self) -> Any:
        config = self.config
        if config.item_llm == TINY:
            return tiny_llama(config.d, config.item_layers, config.heads, config.vocab, 0.0)
        if self.architecture:
            return rebuild_llm(self.architecture, "item_llm")
        model = load_llm(config.item_llm, "item_llm")
        self.architecture = architecture_of(model)
        return model

    # Texts

    def read(self, catalog: Catalog) -> str:
        """Read every item's text, and return the fingerprint of all. Raises as `item_texts` and `load_tokenizer`."""
        if catalog.n_items != self.config.n_items:
            raise ConfigError(f"the catalogue has {catalog.n_items} items, n_items is {self.config.n_items}")
        texts = self._prompted(item_texts.item_texts(catalog, self.config.text))
        tokenizer = self._tokenizer_for(texts)
        tokens = self._encoded(tokenizer, texts)  # [V - 1, L]
        if self.trained:
            self.tokens[1:] = tokens
            self.tokenizer = item_texts.to_bytes(tokenizer).to(tokens.device)
        else:
            self.vectors[0] = 0
            self.vectors[1:] = self._read(self._tower(), tokens)
        self._kept.drop()
        return item_texts.fingerprint(texts)

    def of_texts(self, texts: Sequence[str]) -> Float[Tensor, "N d"]:
        """Vectors of texts that need not be in the catalogue."""
        prompted = self._prompted(texts)
        tokens = self._encoded(self._tokenizer_for(prompted), prompted)
        with torch.no_grad():
            vectors: Tensor = self.out(self._read(self._tower(), tokens))
        return vectors

    def words(self, item: int) -> list[str]:
        """The tokens of an item's text; none where the item LLM is frozen or has read no catalogue."""
        if not len(self.tokenizer):
            return []
        tokenizer, tokens = item_texts.from_bytes(self.tokenizer), self.tokens[item]
        return [tokenizer.decode([token - 1]).strip() for token in tokens[tokens > 0].tolist()]

    def twins(self) -> int:
        """Items that share their tokens, or their frozen vector, with another."""
        rows = (self.tokens if self.trained else self.vectors)[1:]
        _, counts = torch.unique(rows, dim=0, return_counts=True)
        return int(counts[counts > 1].sum())

    def cut(self) -> int:
        """Items whose text ends where reading does, so that some of it may be left out; 0 with a frozen item LLM."""
        return int((self.tokens[1:, -1] > 0).sum()) if self.trained else 0

    def _prompted(self, texts: Sequence[str]) -> list[str]:
        return [f"{self.config.prompt} {text}".strip() for text in texts]

    def _tokenizer_for(self, texts: Sequence[str]) -> Any:
        """The one of an earlier reading, whose tokens the weights know; else the LLM's own, or one for the texts."""
        if len(self.tokenizer):
            return item_texts.from_bytes(self.tokenizer)
        if self.config.item_llm == TINY:
            return item_texts.make_tokenizer(texts, self.config.vocab)
        return item_texts.load_tokenizer(self.config.item_llm, "item_llm")

    def _encoded(self, tokenizer: Any, texts: Sequence[str]) -> Int[Tensor, "N L"]:
        tokens = item_texts.encode(tokenizer, texts, self.config.text_tokens)
        if len(tokens) and int(tokens.max()) > self._tower().decoder.vocab:
            raise ConfigError("the tokenizer of item_llm has tokens that its weights lack: take both from one model")
        return tokens.to(self.tokenizer.device)

    def _tower(self) -> ItemTower:
        if self.trained:
            return self.tower
        if not self._frozen:
            raise ConfigError("a run keeps only the vectors of a frozen item LLM: build the model anew to read texts")
        return self._frozen[0].to(self.vectors.device)

    @torch.no_grad()
    def _read(self, tower: ItemTower, tokens: Int[Tensor, "N L"]) -> Float[Tensor, "N w"]:
        return torch.cat([tower(part) for part in torch.split(tokens, _AT_ONCE)])

    # Vectors

    def forward(self, items: Int[Tensor, " N"]) -> Float[Tensor, "N d"]:
        """Vectors of items that are not padding."""
        if not self.trained:
            wide = self.vectors[items]
        elif torch.is_grad_enabled():
            wide = self.tower(self.tokens[items])
        else:
            wide = self._read(self.tower, self.tokens[items])
        vectors: Tensor = self.out(wide)
        return vectors

    def some(self, items: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch d"]:
        """Vectors of these items alone, each read once; zero for padding."""
        once, place = torch.unique(items, return_inverse=True)
        vectors: Tensor = self(once.clamp(min=1)) * (once > 0).unsqueeze(1)
        return vectors[place]

    def table(self) -> Float[Tensor, "V d"]:
        """The vector of every item, row 0 zero; made once for a state of the weights, or for a training step."""
        key = (needs_gradient(self), versions(self))
        if needs_gradient(self):
            return self._kept.get(key, self._make_table)
        with torch.inference_mode(False), torch.no_grad():  # what is kept may meet gradients later
            return self._kept.get(key, self._make_table)

    def _make_table(self) -> Float[Tensor, "V d"]:
        rows = self(torch.arange(1, self.config.n_items + 1, device=self.tokenizer.device))
        return torch.cat([rows.new_zeros(1, rows.shape[1]), rows])

    def train(self, mode: bool = True) -> TextItems:
        if mode != self.training:
            self._kept.drop()
        super().train(mode)
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> TextItems:
        self._kept.drop()  # what moves or changes type keeps its identity and version
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        saved = state_dict.get(f"{prefix}tokenizer")
        if saved is not None and saved.shape != self.tokenizer.shape:
            self.tokenizer = torch.zeros_like(saved, device=self.tokenizer.device)
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._kept.drop()
        self._frozen = []
        if self.trained and not bool(((self.tokens >= 0) & (self.tokens <= self.tower.decoder.vocab)).all()):
            raise CheckpointError("the tokens of the texts do not fit the item LLM: copy the run folder again")
