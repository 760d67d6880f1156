"""Causal depthwise convolution over time: y_t = bias + sum_j weight[:, j] * x_{t-k+1+j}, zeros before the first step.

B batch, T time, C channels, k kernel size (oldest tap first), K = k - 1 inputs that a step still needs
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class _CausalConv(torch.autograd.Function):
    """k shifted multiply-adds in the [B, T, C] layout: no transposed copies, one pass a tap."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        k, steps = weight.shape[1], x.shape[1]
        y = torch.addcmul(bias, x, weight[:, -1])
        for lag in range(1, min(k, steps)):
            y[:, lag:].addcmul_(x[:, :-lag], weight[:, k - 1 - lag])
        ctx.save_for_backward(x, weight)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        k, steps = weight.shape[1], x.shape[1]
        dx, dweight = g * weight[:, -1], torch.zeros_like(weight)
        dweight[:, -1] = (g * x).sum((0, 1))
        for lag in range(1, min(k, steps)):
            dx[:, :-lag].addcmul_(g[:, lag:], weight[:, k - 1 - lag])
            dweight[:, k - 1 - lag] = (g[:, lag:] * x[:, :-lag]).sum((0, 1))
        return dx, dweight, g.sum((0, 1))


class CausalConv(nn.Module):
    """Weights and bias start uniform in +-1/sqrt(k), as torch's Conv1d does for a depthwise kernel."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(kernel)
        self.weight = nn.Parameter(torch.empty(channels, kernel).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(channels).uniform_(-bound, bound))

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        y: Tensor = _CausalConv.apply(x, self.weight, self.bias)  # type: ignore[no-untyped-call]
        return y

    def initial_state(self, batch: int) -> Float[Tensor, "B K C"]:
        channels, kernel = self.weight.shape
        return self.weight.new_zeros(batch, kernel - 1, channels)

    def step(
        self, state: Float[Tensor, "B K C"], x: Float[Tensor, "B C"]
    ) -> tuple[Float[Tensor, "B C"], Float[Tensor, "B K C"]]:
        """One step: (y, the last k-1 inputs)."""
        window = torch.cat([state, x.unsqueeze(1)], dim=1)  # [B, k, C]
        return self.bias + (window * self.weight.T).sum(1), window[:, 1:]
