"""The gated delta rule: a state that is a table of values by key; an event erases what its key finds before it writes.

    B batch, T time, d model width, H heads, P numbers of a value, N of a key, H P = expand * d

    [z, q, k, v, b, delta] = x W_in;  [q, k, v] = SiLU(conv([q, k, v]));  q = q / |q|;  k = k / |k|
    beta_t = sigmoid(b_t);  decay_t = exp(-exp(A_log) softplus(delta_t + dt_bias)), or 1 without the gate
    S_t = decay_t S_{t-1} (I - beta_t k_t k_t^T) + beta_t v_t k_t^T;  o_t = S_t q_t
    y = W_out(RMSNorm(o) SiLU(z)), the norm over each head

In other words S_t k_t moves from decay_t S_{t-1} k_t towards v_t by the share beta_t; what is at right angles to k_t
only fades.

Source: Yang et al., "Gated Delta Networks", arXiv 2412.06464, section 3; without the gate Yang et al., "Parallelizing
Linear Transformers with the Delta Rule", arXiv 2406.06484.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from lrscan import delta_scan, delta_step
from torch import Tensor, nn
from torch.nn.functional import silu, softplus

from recblr.layers.conv import CausalConv
from recblr.layers.holding import held, sloped, unit_length
from recblr.layers.post_norm import Mixer, State
from recblr.layers.recorder import Record
from recblr.layers.state_space import initial_step_bias

Gate = Float[Tensor, "B T H"]
Key = Float[Tensor, "B T H N"]
Value = Float[Tensor, "B T H P"]
Pairs = Float[Tensor, "B H T T"]

_LENGTH_EPS = 1e-6
_NORM_EPS = 1e-5


class DeltaRule(Mixer):
    """The mixer: x [B, T, d] -> y [B, T, d]."""

    def __init__(self, d: int, *, expand: int, heads: int, key: int, conv: int, gated: bool) -> None:
        super().__init__()
        inner = expand * d
        self.heads, self.key, self.gated = heads, key, gated
        self.sizes = [inner, 2 * heads * key + inner, heads, heads if gated else 0]
        self.project_in = nn.Linear(d, sum(self.sizes), bias=False)
        self.conv = CausalConv(self.sizes[1], conv)
        if gated:
            self.A_log = nn.Parameter(torch.log(torch.empty(heads).uniform_(1, 16)))
            self.dt_bias = nn.Parameter(initial_step_bias(heads))
        self.norm_weight = nn.Parameter(torch.ones(inner // heads))
        self.project_out = nn.Linear(inner, d, bias=False)

    def _by_head(self, value: Tensor) -> Tensor:
        """[..., H P] -> [..., H, P]."""
        return value.reshape(*value.shape[:-1], self.heads, -1)

    def _associated(self, mixed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q, k [..., H, N] of length 1 and v [..., H, P] of what the convolution gave out."""
        both = self.heads * self.key
        q, k, v = map(self._by_head, torch.split(sloped(silu, mixed), [both, both, self.sizes[0]], dim=-1))
        return held(unit_length(q, _LENGTH_EPS)), held(unit_length(k, _LENGTH_EPS)), v

    def _gates(self, b: Tensor, delta: Tensor) -> tuple[Tensor, Tensor]:
        """decay and beta, [..., H] each."""
        beta = held(torch.sigmoid(b))
        if not self.gated:
            return torch.ones_like(beta), beta
        return held(torch.exp(-torch.exp(self.A_log) * softplus(delta + self.dt_bias))), beta

    def _leave(self, o: Tensor, z: Tensor) -> Tensor:
        """o [..., H, P], z [..., H P] -> y [..., d]."""
        normed = o * held(torch.rsqrt(o.square().mean(-1, keepdim=True) + _NORM_EPS)) * self.norm_weight
        out: Tensor = self.project_out(normed.flatten(-2) * held(silu(z)))
        return out

    def forward(self, x: Float[Tensor, "B T d"], record: Record | None = None) -> Float[Tensor, "B T d"]:
        z, mixed, b, delta = self.project_in(x).split(self.sizes, dim=-1)
        q, k, v = self._associated(self.conv(mixed))
        decay, beta = self._gates(b, delta)
        received = delta_scan(q, k, v, decay, beta).transpose(1, 2)  # [B, H, T, P]
        if record is not None:
            gate = self._by_head(silu(z))
            record.update(self._recorded(q, k, v, decay, beta, gate), conv=self.conv.weight)
            record.update(offered=v.transpose(1, 2), received=received)
        return self._leave(received.transpose(1, 2), z)

    def _recorded(self, q: Tensor, k: Tensor, v: Tensor, decay: Tensor, beta: Tensor, gate: Tensor) -> Record:
        offered = torch.einsum("bthp,dhp->bhtd", v, self._by_head(self.project_out.weight) * self.norm_weight)
        mix, remains = unrolled(q, k, decay, beta)
        written, erased = exchanged(k, v, decay, beta)
        return {
            "decay": decay[..., None, None],
            "write": beta[..., None, None],
            "values": (written - erased).unsqueeze(-1),
            "written": written.unsqueeze(-1),
            "erased": erased.unsqueeze(-1),
            "keys": k.unsqueeze(-2),
            "gate": gate.unsqueeze(-1),
            "queries": q.unsqueeze(-2),
            "mix": mix,
            "value_norm": torch.linalg.vector_norm(offered, dim=-1),
            "overlap": torch.einsum("bthn,bshn->bhts", k, k).tril(-1),
            "remains": remains * torch.linalg.vector_norm(v, dim=-1).transpose(1, 2).unsqueeze(-2),
        }

    def initial_state(self, batch: int) -> State:
        """h [B, H P N] and the convolution's last inputs."""
        return {
            "h": self.norm_weight.new_zeros(batch, self.sizes[0] * self.key),
            "conv": self.conv.initial_state(batch),
        }

    def step(self, state: State, x: Float[Tensor, "B d"]) -> tuple[Float[Tensor, "B d"], State]:
        z, mixed, b, delta = self.project_in(x).split(self.sizes, dim=-1)
        mixed, window = self.conv.step(state["conv"], mixed)
        q, k, v = self._associated(mixed)
        decay, beta = self._gates(b, delta)
        o, h = delta_step(state["h"].view(*v.shape, self.key), q, k, v, decay, beta)
        return self._leave(o, z), {"h": h.flatten(1), "conv": window}


def exchanged(k: Key, v: Value, decay: Gate, beta: Gate) -> tuple[Value, Value]:
    """(w, e) with S_t = decay_t S_{t-1} + (w_t - e_t) k_t^T: beta_t times the value, and times what its key found."""
    next_keys = torch.cat([k[:, 1:], torch.zeros_like(k[:, :1])], dim=1)
    found = delta_scan(next_keys, k, v, decay, beta)  # S_t k_{t+1}
    found = torch.cat([torch.zeros_like(found[:, :1]), found[:, :-1]], dim=1)
    return beta.unsqueeze(-1) * v, (beta * decay).unsqueeze(-1) * found


def unrolled(q: Key, k: Key, decay: Gate, beta: Gate) -> tuple[Pairs, Pairs]:
    """(M with o_t = sum over s of M_ts v_s, R with R_ts |v_s| the norm of what S_t holds of v_s).

    M_ts = beta_s k_s^T A_{s+1} ... A_t q_t with A_j = decay_j (I - beta_j k_j k_j^T), and R_ts the norm without q_t: a
    table that is given the s-th unit vector for its value at step s has beta_s k_s^T A_{s+1} ... A_t in its row s.
    """
    batch, steps, heads, key = k.shape
    units = torch.eye(steps, dtype=k.dtype, device=k.device)
    table = k.new_zeros(batch, heads, steps, key)
    mix, remains = [], []
    for t in range(steps):
        value = units[t].expand(batch, heads, steps)
        row, table = delta_step(table, q[:, t], k[:, t], value, decay[:, t], beta[:, t])
        mix.append(row)
        remains.append(torch.linalg.vector_norm(table, dim=-1))
    return torch.stack(mix, dim=2), torch.stack(remains, dim=2)
