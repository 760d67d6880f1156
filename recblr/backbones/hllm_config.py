"""The settings of HLLM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from recblr.backbones.base import BackboneConfig
from recblr.errors import ConfigError
from recblr.layers import item_texts
from recblr.layers.decoder import TINY


@dataclass(frozen=True, kw_only=True, slots=True)
class HLLMConfig(BackboneConfig):
    """HLLM's settings; defaults are the preset "fixed"."""

    dropout: float = 0.1
    """Dropout rate while training, on the vectors of items and, in a tiny user LLM, on attention."""
    item_llm: str = TINY
    """LLM that reads texts: tiny, a folder, or a name on the hub."""
    user_llm: str = TINY
    """LLM that reads vectors: tiny, a folder, or a name on the hub."""
    item_weights: Literal["trained", "frozen"] = "trained"
    """Train the item LLM, or make its vectors once and keep them as they are."""
    user_weights: Literal["trained", "frozen"] = "trained"
    """Train the user LLM, or only the maps around it."""
    text: str = "title"
    """Catalogue columns of an item's text, with commas between; id reads the external ids as words."""
    text_tokens: int = 16
    """Longest text in tokens; of a longer one, the beginning."""
    prompt: str = ""
    """Words before each text."""
    pooling: Literal["token", "mean"] = "token"
    """Output at a learnt vector that ends the text, or the mean over its tokens; a frozen LLM learns no such vector, so
    mean suits it."""
    vocab: int = 1024
    """Most tokens of the tokenizer made for a tiny item LLM."""
    item_layers: int = 1
    """Layers of a tiny item LLM; n_layers are those of a tiny user LLM."""
    heads: int = 2
    """Attention heads of a tiny LLM; d / heads must be whole and even."""
    objective: Literal["softmax", "nce"] = "softmax"
    """Train against the whole catalogue, or by the published NCE."""
    negatives: int = 512
    """Items that NCE draws for each step."""
    same_item: float = 0.99
    """Cosine to the target from which on NCE leaves a negative out."""
    item_architecture: str = ""
    """Settings of a loaded item LLM; the model fills it in."""
    user_architecture: str = ""
    """Settings of a loaded user LLM; the model fills it in."""
    texts: str = ""
    """Fingerprint of the texts that were read; the model fills it in."""

    def __post_init__(self) -> None:
        BackboneConfig.__post_init__(self)
        lows = {"text_tokens": 1, "item_layers": 1, "negatives": 1, "heads": 1, "vocab": item_texts.BYTES + 1}
        for name, low in lows.items():
            if getattr(self, name) < low:
                raise ConfigError(f"{name} is {getattr(self, name)}: it must be at least {low}")
        if self.d % self.heads or self.d // self.heads % 2:
            raise ConfigError(f"heads is {self.heads} and d is {self.d}: d / heads must be whole and even")
        if not 0 < self.same_item <= 1:
            raise ConfigError(f"same_item is {self.same_item}: a cosine in (0, 1] is needed")
        for name, choices in (
            ("item_weights", ("trained", "frozen")),
            ("user_weights", ("trained", "frozen")),
            ("pooling", ("token", "mean")),
            ("objective", ("softmax", "nce")),
        ):
            if getattr(self, name) not in choices:
                raise ConfigError(f"{name} is {getattr(self, name)!r}: choose {' or '.join(choices)}")
        for name in ("item_llm", "user_llm"):
            if not getattr(self, name).strip():
                raise ConfigError(f"{name} is empty: give a folder, a name on the hub, or {TINY}")
