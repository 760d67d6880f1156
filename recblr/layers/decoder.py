"""A causal language model of `transformers` as a stack that reads vectors: any mask, a cache, its attention.

    B batch, T time of the readers, S time of the sources, w width, H heads, K of them for keys, P width of each

`transformers` hands the attention of every layer to a function of ours, with a `_Reading` that belongs to one call
alone. So a mask, the keys and values of earlier events, and a record need no hook and no switch on a shared model.

The package is imported when a model is built: it takes seconds, and only HLLM needs it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from recblr.errors import ConfigError
from recblr.layers.holdable import make_holdable
from recblr.layers.holding import held, is_holding
from recblr.layers.recorder import Record

TINY = "tiny"
"""In place of a folder or a hub name: a small Llama with weights drawn anew."""
PIP = 'pip install "transformers>=5.20,<6"'

Past = list[tuple[Tensor, Tensor]]
"""Keys and values of each layer, [B, K, S, P]."""

_ATTENTION = "recblr"
_REFUSED = {"softcap": "caps its attention scores", "s_aux": "has attention sinks", "position_bias": "adds a bias"}
_OUTPUT_NAMES = ("o_proj", "out_proj", "dense", "c_proj")
_TRACING = threading.Lock()
_PATIENCE = 4.0
"""Seconds that the hub is given to answer at all."""


@dataclass
class _Reading:
    """What one call of a model tells its attention, and what the attention answers."""

    visible: Tensor | None
    past: Past | None
    records: list[Record] | None
    held: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)


def transformers() -> Any:
    """The package. Raises ConfigError with the pip line where it is missing."""
    try:
        import transformers as package
        from transformers import AttentionInterface, AttentionMaskInterface
    except ImportError as error:
        raise ConfigError(f"HLLM needs the package transformers, which is not installed: {PIP}") from error
    AttentionInterface.register(_ATTENTION, _attention)
    AttentionMaskInterface.register(_ATTENTION, lambda *_, **__: None)  # a reading carries its own mask
    return package


def tiny_llama(width: int, layers: int, heads: int, vocab: int, dropout: float) -> Any:
    """A Llama with weights drawn anew; the inner width is Llama's 8/3 of the width, rounded up to a multiple of 8."""
    package = transformers()
    config = package.LlamaConfig(
        hidden_size=width,
        intermediate_size=tiny_inner(width),
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        vocab_size=vocab,
        attention_dropout=dropout,
        use_cache=False,
        bos_token_id=None,
        eos_token_id=None,
        attn_implementation=_ATTENTION,
    )
    return package.LlamaModel(config)


def tiny_inner(width: int) -> int:
    return 8 * -(-width // 3)


def tiny_parameters(width: int, layers: int) -> int:
    """Parameters of a tiny Llama without its token embedding."""
    return layers * (4 * width**2 + 3 * width * tiny_inner(width) + 2 * width) + width


def load_llm(source: str, role: str) -> Any:
    """A causal LM, without its output layer, from a local folder or by a hub name. Raises ConfigError.

    Weights are read from safetensors alone, in float32, and no code of a model's author is run. Where the hub does not
    answer within seconds, a model of that name that was fetched before is read.
    """
    package = transformers()
    try:
        with quiet(package):
            return package.AutoModel.from_pretrained(
                source,
                local_files_only=is_here(source),
                use_safetensors=True,
                trust_remote_code=False,
                dtype=torch.float32,
                attn_implementation=_ATTENTION,
            )
    except (OSError, ValueError, ImportError) as error:
        raise ConfigError(not_loaded(source, role, error)) from error


def is_here(source: str) -> bool:
    """Whether to look for a source on this machine alone: a folder, or any name while the hub does not answer.

    Asked once, since the package itself asks six times over half a minute before it gives up.
    """
    if Path(source).is_dir():
        return True
    import huggingface_hub  # with transformers

    try:
        huggingface_hub.get_session().head(huggingface_hub.constants.ENDPOINT, timeout=_PATIENCE)
    except Exception:  # of an HTTP client that differs from release to release; the loading says what is missing
        return True
    return False


def not_loaded(source: str, role: str, error: Exception) -> str:
    """Why, and the way out, in one line."""
    why = " ".join(str(error).split())[:200]
    if Path(source).is_dir():
        return f"{role} {source!r} is a folder without a causal LM that transformers can read: {why}"
    return (
        f"{role} {source!r} is no folder here, and no model of that name could be fetched from the hub (offline, "
        f"misspelt, or behind a licence): download it where there is a network and pass its folder, or choose {TINY}. "
        f"transformers says: {why}"
    )


def rebuild_llm(architecture: str, role: str) -> Any:
    """A model of this architecture, its weights to be filled in. Raises ConfigError."""
    config = _settings(architecture, role)
    return transformers().AutoModel.from_config(config, dtype=torch.float32, attn_implementation=_ATTENTION)


def width_of(architecture: str, role: str) -> int:
    """Width of a model of this architecture. Raises ConfigError."""
    return int(_settings(architecture, role).hidden_size)


def _settings(architecture: str, role: str) -> Any:
    package = transformers()
    try:
        settings = json.loads(architecture)
        return package.AutoConfig.for_model(settings.pop("model_type"), **settings)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{role}_architecture is none that transformers can build: {error}") from error


def architecture_of(model: Any) -> str:
    """What `rebuild_llm` needs: the model's own settings, without the place they came from."""
    settings = {**model.config.to_diff_dict(), "model_type": model.config.model_type}
    for key in ("_name_or_path", "dtype", "torch_dtype", "architectures", "transformers_version"):
        settings.pop(key, None)
    return json.dumps(settings, sort_keys=True)


@contextmanager
def quiet(package: Any) -> Iterator[None]:
    """Without what loading prints: a progress bar, a table of left-out output weights, the hub's second attempts."""
    from huggingface_hub.utils import logging as hub

    logging = package.utils.logging
    level, hub_level, bars = logging.get_verbosity(), hub.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    hub.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        hub.set_verbosity(hub_level)
        if bars:
            logging.enable_progress_bar()


def _attention(
    module: Any,
    query: Float[Tensor, "B H T P"],
    key: Float[Tensor, "B K T P"],
    value: Float[Tensor, "B K T P"],
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    reading: _Reading | None = None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """[B, T, H, P] what the heads read."""
    for name, what in _REFUSED.items():
        if settings.get(name) is not None:
            raise ConfigError(f"this LLM {what}, which is not supported here: choose one such as Llama or Qwen")
    if not getattr(module, "is_causal", True):
        raise ConfigError("this model also reads what comes later: choose a causal LM, such as Llama, Qwen or GPT-2")
    if reading is None:
        raise ValueError("a model of a Decoder is called through it alone")
    layer = int(module.layer_idx)
    if reading.past is not None:
        key, value = (torch.cat(pair, dim=2) for pair in zip(reading.past[layer], (key, value), strict=True))
    reading.held[layer] = key, value
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)  # [B, H, S, P]
    visible = reading.visible
    if reading.records is None and not is_holding():
        causal = visible is None and reading.past is None
        mixed = scaled_dot_product_attention(
            query, key, value, attn_mask=visible, dropout_p=dropout, is_causal=causal, scale=scaling
        )
        return mixed.transpose(1, 2).contiguous(), None
    if visible is None:
        visible = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=key.device).tril()
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    mix = torch.softmax((query @ key.transpose(-1, -2) * scale).masked_fill(~visible, -torch.inf), dim=-1)
    if reading.records is not None:
        reading.records[layer].update(mix=mix, value_norm=_offered(module, value))
    return (held(mix) @ value).transpose(1, 2).contiguous(), None


def _offered(module: Any, value: Float[Tensor, "B H S P"]) -> Float[Tensor, "B H S"]:
    """Norm of W_out v, head by head; of v where the layer's output projection is not found."""
    heads, width = value.shape[1], value.shape[3]
    for name in _OUTPUT_NAMES:
        weight = getattr(getattr(module, name, None), "weight", None)
        if isinstance(weight, Tensor) and weight.dim() == 2 and weight.numel() % (heads * width) == 0:
            wide = weight if weight.shape[1] == heads * width and name != "c_proj" else weight.T  # GPT-2 transposes
            value = torch.einsum("bhsp,dhp->bhsd", value, wide.view(-1, heads, width))
            break
    norm: Tensor = torch.linalg.vector_norm(value, dim=-1)
    return norm


class Decoder(nn.Module):
    """x [B, T, w] -> [B, T, w], after the final norm."""

    def __init__(self, model: Any, role: str, *, reads_tokens: bool) -> None:
        """Without `reads_tokens` the token embedding is dropped: the decoder reads vectors alone.

        Raises ConfigError for a model that is not causal, or whose attention cannot be handed over.
        """
        super().__init__()
        self.width = int(model.config.hidden_size)
        self.vocab = int(model.config.vocab_size)
        self.model = model
        make_holdable(model)
        self.kv_shapes = self._probe(role)
        if not reads_tokens:
            model.set_input_embeddings(None)

    @torch.no_grad()
    def _probe(self, role: str) -> list[tuple[int, int]]:
        """(K, P) of each layer's keys and values; ConfigError where a later vector moves an earlier output."""
        training = self.model.training
        self.model.eval()
        one = torch.arange(3 * self.width, dtype=torch.float32).sin().view(1, 3, self.width)
        reading = _Reading(visible=None, past=None, records=None)
        try:
            first, second = self._call(one, None, reading), self._call(one.flip(2) * one[:, 2:], None, reading)
            moved = self._call(torch.cat([one[:, :2], second[:, 2:]], dim=1), None, reading)
        except ConfigError as error:
            raise ConfigError(f"{role}: {error}") from error
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{role} cannot be read as a stack over vectors ({error}): choose another") from error
        finally:
            self.model.train(training)
        if not reading.held or not torch.allclose(first[:, :2], moved[:, :2], atol=1e-4):
            raise ConfigError(
                f"{role} is no causal LM whose attention can be handed over: choose a decoder such as Llama, Qwen, "
                "Mistral or GPT-2"
            )
        return [(reading.held[n][0].shape[1], reading.held[n][0].shape[3]) for n in sorted(reading.held)]

    @property
    def n_layers(self) -> int:
        return len(self.kv_shapes)

    @property
    def longest(self) -> int | None:
        """Most positions that the model can tell apart or reach, or None where there is no such limit."""
        config = self.model.config
        rotary = getattr(config, "rope_parameters", None) is not None
        limits = [getattr(config, "sliding_window", None), None if rotary else _positions(config)]
        return min((limit for limit in limits if limit), default=None)

    def _call(self, x: Tensor, positions: Tensor | None, reading: _Reading) -> Tensor:
        if positions is None:
            positions = torch.arange(x.shape[1], device=x.device)
        out: Tensor = self.model(
            inputs_embeds=x,
            position_ids=positions if positions.dim() == 2 else positions.unsqueeze(0),
            use_cache=False,
            reading=reading,
        ).last_hidden_state
        return out

    def forward(self, x: Float[Tensor, "B T w"]) -> Float[Tensor, "B T w"]:
        """Each vector sees itself and those before it."""
        return self.extend(x)[0]

    def extend(
        self,
        x: Float[Tensor, "B T w"],
        *,
        past: Past | None = None,
        visible: Bool[Tensor, "#B T S"] | None = None,
        positions: Int[Tensor, "*B T"] | None = None,
        records: list[Record] | None = None,
    ) -> tuple[Float[Tensor, "B T w"], Past]:
        """As `forward`, after the vectors whose keys and values are `past`; returns those of all, too.

        `visible`: which reader sees which source, those of the past first; by default the past, itself and what lies
        before it. `positions` go on where the past ends by default. `records`: a dict for each layer, which takes its
        attention and its output.
        """
        if past is not None:
            before, steps = past[0][0].shape[2], torch.arange(x.shape[1], device=x.device)
            positions = before + steps if positions is None else positions
            if visible is None:
                sources = torch.arange(before + x.shape[1], device=x.device)
                visible = (sources <= (before + steps).unsqueeze(1))[None]  # [1, T, S]
        reading = _Reading(visible=None if visible is None else visible.unsqueeze(1), past=past, records=records)
        if records is None:
            out = self._call(x, positions, reading)
        else:
            with self._outputs_into(records, reading):
                out = self._call(x, positions, reading)
        return out, [reading.held[layer] for layer in sorted(reading.held)]

    def record(self, x: Float[Tensor, "B T w"]) -> tuple[Float[Tensor, "B T w"], list[Record]]:
        """As `forward`, with each layer's attention and output."""
        records: list[Record] = [{} for _ in range(self.n_layers)]
        return self.extend(x, records=records)[0], records

    @contextmanager
    def _outputs_into(self, records: list[Record], reading: _Reading) -> Iterator[None]:
        """Layers write their outputs into the records of this reading, and of no other that another thread makes."""

        def keep(record: Record) -> Any:
            def hook(_: nn.Module, __: Any, given: dict[str, Any], output: Any) -> None:
                if given.get("reading") is reading:
                    record["out"] = output[0] if isinstance(output, tuple) else output

            return hook

        with _TRACING:
            pairs = zip(self._layers(), records, strict=True)
            hooks = [layer.register_forward_hook(keep(record), with_kwargs=True) for layer, record in pairs]
            try:
                yield
            finally:
                for hook in hooks:
                    hook.remove()

    def _layers(self) -> list[nn.Module]:
        """The model's layers: its list of modules as long as it has layers of attention."""
        found = (
            part for part in self.model.modules() if isinstance(part, nn.ModuleList) and len(part) == self.n_layers
        )
        return list(next(found))

    def no_past(self, batch: int) -> Past:
        """Before the first event."""
        some = next(self.parameters())
        return [(some.new_zeros(batch, k, 0, p), some.new_zeros(batch, k, 0, p)) for k, p in self.kv_shapes]


def _positions(config: Any) -> int | None:
    return getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
