"""What a language model reads of a catalogue: a text for each item, a tokenizer, and token ids.

    V catalogue rows (item 0 = padding), L tokens of the longest text

Tokens are kept as id + 1, so that 0 is none: id 0 is a token like any other in most published tokenizers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from recblr.data.log import Catalog
from recblr.errors import ConfigError, DataError
from recblr.layers.decoder import PIP, is_here, quiet, transformers

BYTES = 256
"""Tokens of every tokenizer made here before its merges: any text can be written in them."""


def item_texts(catalog: Catalog, columns: str) -> list[str]:
    """[V - 1] the text of each item: its column, or "name: value, name: value" of several.

    The external id stands in for a text that is empty. Raises ConfigError for a column that the catalogue lacks,
    DataError where no item has a text at all.
    """
    names = [name.strip() for name in columns.split(",") if name.strip()]
    offered = {"title": catalog.titles, **catalog.columns, "id": catalog.ids}
    cells = [(name, _column(offered, name)) for name in names]
    if not cells:
        raise ConfigError("text names no column of the catalogue: give one, such as title")
    if not any((column[1:] != "").any() for _, column in cells):
        raise DataError(f"no item has a text in {columns}: HLLM reads texts, so give the log an item file with titles")
    texts = []
    for row in range(1, len(catalog)):
        parts = [(name, str(column[row]).strip()) for name, column in cells]
        said = [value if len(cells) == 1 else f"{name}: {value}" for name, value in parts if value]
        texts.append(", ".join(said) or str(catalog.ids[row]))
    return texts


def _column(offered: Mapping[str, Any], name: str) -> Any:
    """[V] of one name; `offered` has None where the catalogue lacks it."""
    column = offered.get(name)
    if column is not None:
        return column
    others = [other for other, values in offered.items() if values is not None and other != "id"]
    has = f"it has {', '.join(others)}" if others else "it has ids alone"
    raise ConfigError(
        f"the catalogue has no {name!r}, and HLLM reads the texts of items ({has}): give the log an item file with "
        "that column, name another with --model.text, or pass --model.text id to read the ids as words"
    )


def fingerprint(texts: Sequence[str]) -> str:
    """Twelve hex digits of the texts in order."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]


def make_tokenizer(texts: Sequence[str], vocab: int) -> Any:
    """Byte-pair encoding learnt from the texts, `vocab` tokens at most; it can write any text."""
    transformers()  # brings tokenizers, or says how to get it
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocab, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def load_tokenizer(source: str, role: str) -> Any:
    """The tokenizer that a published LLM came with, special tokens at the ends included. Raises ConfigError."""
    package = transformers()
    try:
        with quiet(package):
            loaded = package.AutoTokenizer.from_pretrained(
                source, local_files_only=is_here(source), trust_remote_code=False
            )
        return loaded.backend_tokenizer
    except (OSError, ValueError, ImportError, AttributeError, KeyError) as error:
        why = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"{role} {source!r} has no tokenizer.json that can be read ({why}): put the model's tokenizer files into "
            "its folder"
        ) from error


def to_bytes(tokenizer: Any) -> UInt8[Tensor, " N"]:
    """The tokenizer as it is saved with the weights: its own JSON, in UTF-8."""
    return torch.from_numpy(np.frombuffer(tokenizer.to_str().encode(), dtype=np.uint8).copy())


def from_bytes(saved: UInt8[Tensor, " N"]) -> Any:
    """The tokenizer of `to_bytes`. Raises ConfigError where tokenizers is missing."""
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ConfigError(f"HLLM's texts need the package tokenizers, which transformers brings: {PIP}") from error
    return Tokenizer.from_str(saved.cpu().numpy().tobytes().decode())


def encode(tokenizer: Any, texts: Sequence[str], length: int) -> Int[Tensor, "V L"]:
    """int32 token id + 1 of each text, 0 after its end; of a longer text the first `length` tokens."""
    out = np.zeros((len(texts), length), dtype=np.int32)
    for row, found in enumerate(tokenizer.encode_batch(list(texts))):
        ids = found.ids[:length]
        out[row, : len(ids)] = np.asarray(ids, dtype=np.int32) + 1
    return torch.from_numpy(out)


def number_tokens(rows: int, length: int) -> Int[Tensor, "V L"]:
    """int32 digits of each row's number as bytes: what stands in for texts before a catalogue is read."""
    out = np.zeros((rows, length), dtype=np.int32)
    for row in range(rows):
        digits = np.frombuffer(str(row).encode(), dtype=np.uint8)[-length:]
        out[row, : len(digits)] = digits.astype(np.int32) + 1
    return torch.from_numpy(out)
