"""HLLM: an item LLM reads the text of each item, a user LLM reads the sequence of what it made of them.

    B batch, T time, V catalogue rows (item 0 = padding), L tokens of a text, d model width, N targets, S negatives

    e_v = item LLM(tokens of v, item token)[last]
    h_t = user LLM(e_{v_1}, ..., e_{v_t})[t]                 two causal language models, each with weights of its own
    score_v = exp(s) cos(h_t, e_v),   s learnt, in [0, ln 100], ln(1 / .07) at first

Source: Chen et al., "HLLM", 2024, arXiv 2409.12740, and its public code.

Presets: ``reference`` trains by the published NCE: against the target stand S items drawn evenly from the catalogue,
those with cos(e_target, e) > .99 left out; items already read stay. ``fixed`` ranks the target against the whole
catalogue, as all backbones here are trained, so that they can be compared.

Each LLM is any causal language model with attention that `transformers` reads, from a folder or the hub, trained or
frozen. "tiny", the default, is a small Llama with weights drawn anew, for which a tokenizer is learnt from the texts of
the catalogue. Differs from the source: there both LLMs have the same width, here a linear map meets widths that differ;
there the words "Compress the following sentence into embedding: " and the column's name stand before every text, here
they cost tokens and are left out unless `prompt` gives them.

Everything needed to use a run is in its folder. Of a trained item LLM these are its weights, the tokens and the
tokenizer; of a frozen one only the vectors that it made, once, when it read the catalogue.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize, pad

from recblr.backbones.base import BackboneConfig, Batch, SequentialBackbone, State
from recblr.backbones.hllm_config import HLLMConfig
from recblr.backbones.text_items import TextItems, linear_map, short_name
from recblr.data.log import Catalog
from recblr.errors import ConfigError, HistoryError
from recblr.layers.decoder import (
    TINY,
    Decoder,
    Past,
    architecture_of,
    load_llm,
    rebuild_llm,
    tiny_llama,
    tiny_parameters,
)
from recblr.layers.dropout import Dropout
from recblr.layers.holding import unit_length
from recblr.layers.recorder import Record, layer_trace
from recblr.layers.segments import Slots
from recblr.trace import Trace

_WHOLE_HISTORY = "Attention carries no state of fixed size: every step reads the keys and values of the whole history."
_EPS = 1e-6
_WARMEST = math.log(100)
_ALL_AT_ONCE = 4096
"""Largest catalogue whose every vector is made in each step of NCE; of a larger one, those of the batch."""


class HLLM(SequentialBackbone):
    """See the module docstring."""

    Config = HLLMConfig
    config: HLLMConfig
    name = "hllm"
    title = "HLLM"
    paper = "Chen et al. 2024, arXiv 2409.12740"
    mixer_name = "attention"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "fixed": {"objective": "softmax"},
        "reference": {"objective": "nce", "dropout": 0.0},
    }

    def __init__(self, config: HLLMConfig) -> None:
        """Raises ConfigError where an LLM cannot be loaded, is not causal, or is shorter than max_len."""
        super().__init__(config)
        self.items = TextItems(config)
        user, architecture = self._user(config)
        self.keeps_texts = self.items.trained
        self.config = replace(
            config,
            item_llm=short_name(config.item_llm),
            item_architecture=self.items.architecture,
            user_llm=short_name(config.user_llm),
            user_architecture=architecture,
        )
        self.user_llm = Decoder(user, "user_llm", reads_tokens=False).requires_grad_(config.user_weights == "trained")
        reach = self.user_llm.longest
        if config.user_llm != TINY and reach is not None and reach < config.max_len:
            raise ConfigError(f"max_len is {config.max_len}, user_llm reads {reach} vectors at most: lower max_len")
        self.user_in = linear_map(config.d, self.user_llm.width)
        self.user_out = linear_map(self.user_llm.width, config.d)
        self.dropout = Dropout(config.dropout)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def _user(self, config: HLLMConfig) -> tuple[Any, str]:
        """The user LLM, and its settings where it is not a tiny one."""
        if config.user_llm == TINY:
            return tiny_llama(config.d, config.n_layers, config.heads, 1, config.dropout), ""
        if config.user_architecture:
            return rebuild_llm(config.user_architecture, "user_llm"), config.user_architecture
        model = load_llm(config.user_llm, "user_llm")
        return model, architecture_of(model)

    @classmethod
    def count_parameters(cls, config: BackboneConfig) -> int:
        """Of two tiny LLMs without building them, which would import transformers."""
        if not isinstance(config, HLLMConfig) or (config.item_llm, config.user_llm) != (TINY, TINY):
            return super().count_parameters(config)
        item = tiny_parameters(config.d, config.item_layers) + config.vocab * config.d
        item += config.d if config.pooling == "token" else 0
        user = tiny_parameters(config.d, config.n_layers)
        return (item if config.item_weights == "trained" else 0) + user + 1

    # Items

    def read_catalog(self, catalog: Catalog) -> None:
        """Read every item's text: its tokens are kept or, with a frozen item LLM, its vector.

        Raises ConfigError for a column that the catalogue lacks, DataError where no item has a text.
        """
        self.config = replace(self.config, texts=self.items.read(catalog))

    def text_vectors(self, texts: Sequence[str]) -> Float[Tensor, "N d"]:
        """Vectors of texts that need not be in the catalogue. Raises ConfigError before a catalogue is read."""
        if not self.config.texts:
            raise ConfigError("this model has read no catalogue, so it has no tokenizer: call read_catalog first")
        return self.items.of_texts(texts)

    def words(self, item: int) -> list[str]:
        """The tokens of an item's text as they are read; none where the item LLM is frozen or read no catalogue."""
        return self.items.words(item)

    def item_table(self) -> Float[Tensor, "V d"]:
        """The vector of every item, row 0 zero."""
        return self.items.table()

    def _reads_by_need(self) -> bool:
        return self.training and self.config.objective == "nce" and self.config.n_items > _ALL_AT_ONCE

    def embed(self, items: Int[Tensor, "B T"]) -> Float[Tensor, "B T d"]:
        return self.items.some(items) if self._reads_by_need() else self.item_table()[items]

    # Scores and losses

    def _scale(self) -> Float[Tensor, ""]:
        if self.training:
            with torch.no_grad():
                self.logit_scale.clamp_(0, _WARMEST)
        return self.logit_scale.exp()

    def output_embedding(self) -> tuple[Float[Tensor, "V d"], None]:
        """Items at length exp(s)."""
        return self.as_classes(self.item_table()), None

    def as_classes(self, vectors: Float[Tensor, "N d"]) -> Float[Tensor, "N d"]:
        """Vectors as rows of the output embedding."""
        return normalize(vectors, dim=-1, eps=_EPS) * self._scale()

    def scores(self, hidden: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch V"]:
        logits = hidden @ self.output_embedding()[0].T
        logits[..., 0] = -torch.inf
        return logits

    def own_loss(
        self, hidden: Float[Tensor, "N d"], targets: Int[Tensor, " N"], weights: Float[Tensor, " N"]
    ) -> Float[Tensor, ""] | None:
        """NCE; None with the objective softmax. Negatives are drawn from torch's generator."""
        if self.config.objective != "nce":
            return None
        drawn = torch.randint(1, self.config.n_items + 1, (self.config.negatives,), device=targets.device)  # [S]
        wanted = torch.cat([targets, drawn])
        vectors = self.items.some(wanted) if self._reads_by_need() else self.item_table()[wanted]
        vectors = normalize(vectors, dim=-1, eps=_EPS)
        target, negative = vectors[: len(targets)], vectors[len(targets) :]
        cosines = torch.cat([(hidden * target).sum(-1, keepdim=True), hidden @ negative.T], dim=1)  # [N, 1 + S]
        same = target.detach() @ negative.detach().T > self.config.same_item
        logits = (cosines * self._scale()).masked_fill(pad(same, (1, 0)), -torch.inf)
        losses = cross_entropy(logits, torch.zeros_like(targets), reduction="none")
        return (losses * weights).sum() / weights.sum()

    # Reading a history

    def _enter(self, embeddings: Float[Tensor, "B T d"], last: int) -> Float[Tensor, "B T w"]:
        reach = self.user_llm.longest
        if reach is not None and last > reach:
            raise HistoryError(
                f"user_llm reads {reach} vectors and was given event {last}: pass the most recent events"
            )
        entered: Tensor = self.user_in(self.dropout(embeddings))
        return entered

    def _leave(self, out: Float[Tensor, "B T w"]) -> Float[Tensor, "B T d"]:
        return unit_length(self.user_out(out), _EPS)

    def encode(
        self, embeddings: Float[Tensor, "B T d"], mask: Bool[Tensor, "B T"], times: Int[Tensor, "B T"]
    ) -> Float[Tensor, "B T d"]:
        return self._leave(self.user_llm(self._enter(embeddings, embeddings.shape[1])))

    @torch.no_grad()
    def trace(self, batch: Batch) -> Trace:
        out, records = self.user_llm.record(self._enter(self.embed(batch.items), batch.items.shape[1]))
        return Trace(
            backbone=self.name,
            preset=self.preset,
            items=batch.items.cpu().numpy(),
            times=batch.times.cpu().numpy(),
            layers=tuple(layer_trace(f"layer {n} · {self.mixer_name}", one) for n, one in enumerate(records, 1)),
            hidden=self._leave(out).cpu().numpy(),
            notes=(_WHOLE_HISTORY, *self.slot_notes(batch)),
        )

    def slot_notes(self, batch: Batch) -> tuple[str, ...]:
        """What a reader of a trace must know."""
        notes = []
        if not self.config.texts:
            notes.append("This model has read no catalogue: the numbers of items stand in for their texts.")
            return tuple(notes)
        if cut := self.items.cut():
            notes.append(f"Texts that may go on, but end after {self.config.text_tokens} tokens: {cut} of them.")
        if twins := self.items.twins():
            notes.append(f"Items whose texts are the same to the model get one vector, and tie: {twins} of them.")
        return tuple(notes)

    # Event by event

    def held_slots(self, batch_size: int) -> State:
        """Keys and values, each [B, events so far, K, P]: a state that grows."""
        return _state(self.user_llm.no_past(batch_size))

    def initial_state(self, batch_size: int) -> State:
        return self.held_slots(batch_size)

    def step(
        self, state: State, items: Int[Tensor, " B"], times: Int[Tensor, " B"]
    ) -> tuple[Float[Tensor, "B d"], State]:
        past = _past(state)
        x = self._enter(self.embed(items.unsqueeze(1)), past[0][0].shape[2] + 1)
        out, past = self.user_llm.extend(x, past=past)
        return self._leave(out)[:, 0], _state(past)

    def read_slots(
        self,
        state: State,
        embeddings: Float[Tensor, "B T d"],
        times: Int[Tensor, "B T"],
        slots: Slots,
        records: list[Record] | None = None,
    ) -> tuple[Float[Tensor, "B T d"], State]:
        """(hidden, state) of consecutive positions after those that `state` holds."""
        x = self._enter(embeddings, slots.first + embeddings.shape[1])
        out, past = self.user_llm.extend(
            x, visible=slots.visible[None], positions=slots.readers, past=_past(state), records=records
        )
        return self._leave(out), _state(past)


def _state(past: Past) -> State:
    state: State = {}
    for n, (keys, values) in enumerate(past):
        state |= {f"{n}.keys": keys.transpose(1, 2), f"{n}.values": values.transpose(1, 2)}
    return state


def _past(state: State) -> Past:
    layers = len(state) // 2
    return [(state[f"{n}.keys"].transpose(1, 2), state[f"{n}.values"].transpose(1, 2)) for n in range(layers)]
