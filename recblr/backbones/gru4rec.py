"""GRU4Rec: the gated recurrent baseline.

Source: Hidasi et al., "Session-based Recommendations with Recurrent Neural Networks", ICLR 2016, arXiv 1511.06939, in
the form that the compared papers run (RecBole, after Tan et al. 2016): Dropout(E[v]) -> GRU(d -> H) without bias ->
Dense(H -> d), tied output, full softmax.

    z_t = sigmoid(W_z x_t + U_z h);  r_t = sigmoid(W_r x_t + U_r h);  n_t = tanh(W_n x_t + r_t (U_n h))
    h_t = z_t h_{t-1} + (1 - z_t) n_t

Presets: ``reference`` keeps row 0 as a softmax class and has no biases, so that every state starts to halve with each
event. ``fixed`` drops that class and adds biases to W and U, of which that of z starts at log U(1, max_len - 1): a
channel then forgets after 2 to max_len events (the chrono initialisation of Tallec and Ollivier, arXiv 1804.11188).
Of several layers RecBole draws the first by Xavier's rule and leaves the others as torch has them; here all are by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from recblr.backbones.base import BackboneConfig, Batch, State
from recblr.backbones.tied import TiedBackbone
from recblr.errors import ConfigError
from recblr.layers.dropout import Dropout
from recblr.layers.holding import chord, held, is_holding
from recblr.layers.memories import start_with_memories
from recblr.layers.recorder import Record, layer_trace
from recblr.trace import Trace

_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


@dataclass(frozen=True, kw_only=True, slots=True)
class GRU4RecConfig(BackboneConfig):
    """GRU4Rec's settings; defaults are the preset "fixed"."""

    n_layers: int = 1
    """Layers."""
    dropout: float = 0.3
    """Dropout rate on the item embeddings while training."""
    hidden: int = 128
    """Width of the recurrent state."""
    pad_class: bool = False
    """Keep padding as a class of the softmax, as RecBole does."""
    biases: Literal["chrono", "none"] = "chrono"
    """Biases of the gates, with initial memories of 2 to max_len events, or none, as RecBole has it."""

    def __post_init__(self) -> None:
        BackboneConfig.__post_init__(self)
        if self.hidden < 1:
            raise ConfigError(f"hidden is {self.hidden}: it must be at least 1")
        if self.biases not in ("chrono", "none"):
            raise ConfigError(f"biases is {self.biases!r}: choose chrono or none")


class GRU4Rec(TiedBackbone):
    """See the module docstring."""

    Config = GRU4RecConfig
    config: GRU4RecConfig
    name = "gru4rec"
    title = "GRU4Rec"
    paper = "Hidasi et al. 2016, arXiv 1511.06939"
    recurrent = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "fixed": {"pad_class": False, "biases": "chrono"},
        "reference": {"pad_class": True, "biases": "none"},
    }

    def __init__(self, config: GRU4RecConfig) -> None:
        super().__init__(config, pad_class=config.pad_class)
        self.dropout = Dropout(config.dropout)
        biased = config.biases == "chrono"
        self.gru = nn.GRU(config.d, config.hidden, config.n_layers, bias=biased, batch_first=True)
        self.dense = nn.Linear(config.hidden, config.d)
        nn.init.xavier_normal_(self.item_embedding.weight)
        for name, weight in self.gru.named_parameters():
            if name.startswith("weight"):
                nn.init.xavier_uniform_(weight)
            else:
                nn.init.zeros_(weight)
                if name.startswith("bias_ih"):
                    start_with_memories(weight.chunk(3)[1], config.max_len)  # of z
        self.clear_padding_row()

    def _weights(self, n: int) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """(W, U) of layer n with their biases, or None; gates in the order r, z, n."""
        w, u, b, c = (getattr(self.gru, f"{name}_l{n}", None) for name in _WEIGHTS)
        assert isinstance(w, Tensor)
        assert isinstance(u, Tensor)
        return w, u, b, c

    def encode(
        self, embeddings: Float[Tensor, "B T d"], mask: Bool[Tensor, "B T"], times: Int[Tensor, "B T"]
    ) -> Float[Tensor, "B T d"]:
        x = self.dropout(embeddings)
        out: Tensor = self.dense(self._held(x) if is_holding() else self.gru(x)[0])
        return out

    def _held(self, x: Float[Tensor, "B T d"]) -> Float[Tensor, "B T H"]:
        """What the GRU gives out as a linear recurrence, its gates held: h_t = z h + g (W_n x_t + b + r (U_n h + c)).

        All gates come from one pass of the GRU as it is; g = (1 - z) times the slope of tanh.
        """
        for n in range(self.config.n_layers):
            w, u, b, c = self._weights(n)
            xr, xz, xn = linear(x, w, b).chunk(3, -1)  # [B, T, H] each
            h = x.new_zeros(len(x), self.config.hidden)
            with torch.no_grad():
                given = [one for one in (w, u, b, c) if one is not None]
                known = torch.gru(x, h.unsqueeze(0), given, b is not None, 1, 0.0, False, False, True)[0]
                hr, hz, hn = linear(pad(known[:, :-1], (0, 0, 1, 0)), u, c).chunk(3, -1)
                r, z = held(torch.sigmoid(xr + hr)), held(torch.sigmoid(xz + hz))
                gain = (1 - z) * held(chord(torch.tanh, xn + r * hn))
            states, recurrent = [], u[2 * self.config.hidden :].T
            own = gain * xn if c is None else gain * (xn + r * c[2 * self.config.hidden :])
            for entered, keep, back in zip(own.unbind(1), z.unbind(1), (gain * r).unbind(1), strict=True):
                h = torch.addcmul(torch.addcmul(entered, keep, h), back, h @ recurrent)
                states.append(h)
            x = torch.stack(states, dim=1)
        return x

    def _cell(self, n: int, x: Tensor, h: Tensor) -> dict[str, Tensor]:
        """One step of layer n with its gates in the open: x [B, in], h [B, H]."""
        w, u, b, c = self._weights(n)
        (xr, xz, xn), (hr, hz, hn) = linear(x, w, b).chunk(3, -1), linear(h, u, c).chunk(3, -1)
        r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
        candidate = torch.tanh(xn + r * hn)
        entered = (1 - z) * candidate
        return {"decay": z, "write": 1 - z, "read": r, "entered": entered, "state": z * h + entered}

    @torch.no_grad()
    def trace(self, batch: Batch) -> Trace:
        x = self.embed(batch.items)  # [B, T, d]
        layers = []
        for n in range(self.config.n_layers):
            h = x.new_zeros(len(x), self.config.hidden)
            steps: list[dict[str, Tensor]] = []
            for t in range(x.shape[1]):
                steps.append(self._cell(n, x[:, t], h))
                h = steps[-1]["state"]
            record: Record = {key: torch.stack([step[key] for step in steps], dim=1) for key in steps[0]}
            x = record["state"]
            layers.append(layer_trace(f"layer {n + 1} · GRU", record))
        return Trace(
            backbone=self.name,
            preset=self.preset,
            items=batch.items.cpu().numpy(),
            times=batch.times.cpu().numpy(),
            layers=tuple(layers),
            hidden=self.dense(x).cpu().numpy(),
            notes=(
                "A GRU's candidate also depends on the old state, so its update gate is a lower bound on memory: "
                "shares are those of the gate alone.",
            ),
        )

    def initial_state(self, batch_size: int) -> State:
        return {
            f"{n}.h": self.dense.weight.new_zeros(batch_size, self.config.hidden) for n in range(self.config.n_layers)
        }

    def step(
        self, state: State, items: Int[Tensor, " B"], times: Int[Tensor, " B"]
    ) -> tuple[Float[Tensor, "B d"], State]:
        x = self.item_embedding(items)
        new: State = {}
        for n in range(self.config.n_layers):
            x = new[f"{n}.h"] = self._cell(n, x, state[f"{n}.h"])["state"]
        return self.dense(x), new
