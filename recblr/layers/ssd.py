"""SSD: a state space with one decay a head, the mixer of Mamba-2.

    B batch, T time, d model width, H heads, P width of a head, N numbers a channel, H P = expand * d

    [z, u, B, C, delta] = x W_in;  [u, B, C] = act(conv([u, B, C]));  A = -exp(A_log)
    Delta = softplus(delta' + dt_bias), with delta' = delta, or what the caller's `adjust` makes of it
    S_t = exp(A Delta_t) S_{t-1} + Delta_t u_t B_t^T;  o_t = S_t C_t + D u_t
    y = W_out(RMSNorm(o SiLU(z)))

Source: Dao and Gu, "Transformers are SSMs", arXiv 2405.21060, with the published settings: one group of B and C, D and
A one number a head, the norm after the gate.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from lrscan import ssd_scan, ssd_step
from torch import Tensor, nn
from torch.nn.functional import silu, softplus

from recblr.layers.conv import CausalConv
from recblr.layers.holding import held, sloped
from recblr.layers.post_norm import Mixer, State
from recblr.layers.recorder import Record
from recblr.layers.state_space import initial_step_bias, state_record

Adjust = Callable[[Tensor], Tensor]
"""delta [..., H] -> delta' [..., H]."""


class SSD(Mixer):
    """The mixer: x [B, T, d] -> y [B, T, d]."""

    def __init__(
        self,
        d: int,
        *,
        expand: int,
        heads: int,
        state: int,
        conv: int,
        activation: Callable[[Tensor], Tensor],
        bias: bool,
        eps: float,
    ) -> None:
        super().__init__()
        inner = expand * d
        self.heads, self.n_states, self.eps, self.activation = heads, state, eps, activation
        self.sizes = [inner, inner + 2 * state, heads]
        self.project_in = nn.Linear(d, sum(self.sizes), bias=bias)
        self.conv = CausalConv(inner + 2 * state, conv)
        self.A_log = nn.Parameter(torch.log(torch.empty(heads).uniform_(1, 16)))
        self.dt_bias = nn.Parameter(initial_step_bias(heads))
        self.D = nn.Parameter(torch.ones(heads))
        self.norm_weight = nn.Parameter(torch.ones(inner))
        self.project_out = nn.Linear(inner, d, bias=bias)

    def _split(self, mixed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """u [..., H, P], B and C [..., 1, N] of what the convolution gave out."""
        u, b, c = torch.split(sloped(self.activation, mixed), [self.sizes[0], self.n_states, self.n_states], dim=-1)
        return self._by_head(u), held(b).unsqueeze(-2), held(c).unsqueeze(-2)

    def _by_head(self, value: Tensor) -> Tensor:
        """[..., H P] -> [..., H, P]."""
        return value.reshape(*value.shape[:-1], self.heads, -1)

    def _delta(self, delta: Tensor, adjust: Adjust | None) -> Tensor:
        return softplus((delta if adjust is None else adjust(delta)) + self.dt_bias)

    def _leave(self, o: Tensor, z: Tensor) -> Tensor:
        """o [..., H, P], z [..., H P] -> y [..., d]."""
        gated = o.flatten(-2) * held(silu(z))
        normed = gated * held(torch.rsqrt(gated.square().mean(-1, keepdim=True) + self.eps))
        out: Tensor = self.project_out(normed * self.norm_weight)
        return out

    def forward(
        self, x: Float[Tensor, "B T d"], record: Record | None = None, adjust: Adjust | None = None
    ) -> Float[Tensor, "B T d"]:
        z, mixed, delta = self.project_in(x).split(self.sizes, dim=-1)
        u, b, c = self._split(self.conv(mixed))
        delta = held(self._delta(delta, adjust))
        a = -torch.exp(self.A_log)
        received = ssd_scan(u, delta, a, b, c, self.D).transpose(1, 2)  # [B, H, T, P]
        if record is not None:
            record.update(self._recorded(u, delta, a, b, c, z), received=received)
        return self._leave(received.transpose(1, 2), z)

    def _recorded(self, u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, z: Tensor) -> Record:
        decay = torch.exp(delta * a)[..., None, None]
        fields = state_record(decay=decay, delta=delta, values=u, keys=b, gate=self._by_head(silu(z)), queries=c)
        weight = self._by_head(self.project_out.weight * self.norm_weight)  # [d, H, P]
        offered = torch.einsum("bthp,dhp->bhtd", u, weight)
        return {
            **fields,
            "conv": self.conv.weight,
            "mix": self._mix(delta, a, b.squeeze(-2), c.squeeze(-2)),
            "value_norm": torch.linalg.vector_norm(offered, dim=-1),
            "offered": u.transpose(1, 2),
            "skipped": (self.D[:, None] * u).transpose(1, 2),
        }

    def _mix(self, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Float[Tensor, "B H T T"]:
        """M with o_t = sum over s of M_ts u_s, but for the skip D u_t.

        M_ts = (C_t . B_s) exp(A (Delta_{s+1} + ... + Delta_t)) Delta_s
        """
        faded = torch.cumsum(delta * a, dim=1).transpose(1, 2)  # [B, H, T]
        lasting = (faded.unsqueeze(-1) - faded.unsqueeze(-2)).clamp(max=0)  # later sources are cut off below
        content = (c @ b.transpose(1, 2)).unsqueeze(1)  # [B, 1, T, T]
        return (content * torch.exp(lasting) * delta.transpose(1, 2).unsqueeze(-2)).tril()

    def initial_state(self, batch: int) -> State:
        """h [B, H P N] and the convolution's last inputs."""
        return {
            "h": self.D.new_zeros(batch, self.sizes[0] * self.n_states),
            "conv": self.conv.initial_state(batch),
        }

    def step(
        self, state: State, x: Float[Tensor, "B d"], adjust: Adjust | None = None
    ) -> tuple[Float[Tensor, "B d"], State]:
        z, mixed, delta = self.project_in(x).split(self.sizes, dim=-1)
        mixed, window = self.conv.step(state["conv"], mixed)
        u, b, c = self._split(mixed)
        h = state["h"].view(len(x), *u.shape[1:], self.n_states)
        o, h = ssd_step(h, u, self._delta(delta, adjust), -torch.exp(self.A_log), b, c, self.D)
        return self._leave(o, z), {"h": h.flatten(1), "conv": window}
