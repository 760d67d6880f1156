"""Gated DeltaNet: the delta rule over a history, a memory that an event corrects where its key finds something.

    B batch, T time, d model width; the mixer: `recblr.layers.delta_rule`

    x = LN(Dropout(E[items]));  per layer: x = LN(Dropout(DeltaRule(x)) + x);  x = LN(x + FFN(x))

Source: Yang et al., "Gated Delta Networks", arXiv 2412.06464, for the mixer. Its paper models language; the layer
around it is that of the compared recommenders (`recblr.layers.post_norm`), with a tied embedding and no positions.

Presets. ``fixed`` has the decay. ``ungated`` is the delta rule alone (arXiv 2406.06484): nothing fades, and what an
event wrote goes only when later events write over it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu

from recblr.backbones.base import BackboneConfig
from recblr.backbones.stacked import StackedBackbone
from recblr.backbones.tied import normal_init
from recblr.errors import ConfigError
from recblr.layers.delta_rule import DeltaRule
from recblr.layers.dropout import Dropout
from recblr.layers.holding import LayerNorm
from recblr.layers.post_norm import PostNormLayer


@dataclass(frozen=True, kw_only=True, slots=True)
class DeltaNetConfig(BackboneConfig):
    """Gated DeltaNet's settings; defaults are the preset "fixed"."""

    expand: int = 2
    """Numbers of all values as a multiple of d."""
    heads: int = 4
    """Tables, each with a decay and a write strength of its own; must divide expand * d."""
    key: int = 32
    """Numbers of a key: so many values a table holds apart."""
    conv: int = 4
    """Width of the causal convolution."""
    gated: bool = True
    """Let the whole table fade with each event, as much as the event says."""

    def __post_init__(self) -> None:
        BackboneConfig.__post_init__(self)
        for name in ("expand", "key", "conv"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: it must be at least 1")
        if self.heads < 1 or self.expand * self.d % self.heads:
            raise ConfigError(f"heads is {self.heads} and expand * d is {self.expand * self.d}: heads must divide it")


class DeltaNet(StackedBackbone):
    """See the module docstring."""

    Config = DeltaNetConfig
    config: DeltaNetConfig
    name = "deltanet"
    title = "Gated DeltaNet"
    paper = "Yang et al. 2024, arXiv 2412.06464"
    recurrent = True
    mixer_name = "delta rule"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"fixed": {"gated": True}, "ungated": {"gated": False}}

    def __init__(self, config: DeltaNetConfig) -> None:
        super().__init__(config, pad_class=False)
        self.norm = LayerNorm(config.d, eps=1e-12)
        self.dropout = Dropout(config.dropout)
        sizes = {"expand": config.expand, "heads": config.heads, "key": config.key, "conv": config.conv}
        mixers = (DeltaRule(config.d, **sizes, gated=config.gated) for _ in range(config.n_layers))
        self.layers = nn.ModuleList(PostNormLayer(mixer, config.d, silu, config.dropout) for mixer in mixers)
        normal_init(self)
        self.clear_padding_row()

    def enter(self, embeddings: Float[Tensor, "B T d"], first: int = 0) -> Float[Tensor, "B T d"]:
        out: Tensor = self.norm(self.dropout(embeddings))
        return out

    def notes(self) -> tuple[str, ...]:
        width = self.config.expand * self.config.d // self.config.heads
        notes = [
            f"Every number of the state is a channel: {self.config.heads} heads of {width} numbers of a value by"
            f" {self.config.key} of a key. Write is beta, one a head: the share by which the value under the event's"
            " key moves to the new one. What entered is the difference: what is written less what is erased for it.",
            "Overlap is the cosine of two events' keys: near 1 or -1, the later one writes over the earlier. What"
            " remains counts the fading and the writing over; a memory horizon counts what remains.",
        ]
        if not self.config.gated:
            notes.append("Nothing fades: the decay is 1, and only writing over makes the state forget.")
        return tuple(notes)
