"""Dropout whose mask is cheap on a CPU.

torch's CPU dropout draws one 32-bit Mersenne number an element and takes a third of a training step here; this one
draws a byte an element from a fast counter seeded by one draw of torch's generator, so ``torch.manual_seed`` still
decides everything. The rate is therefore a multiple of 1/256, and the kept values are scaled by the rate really used.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import dropout


class Dropout(nn.Module):
    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self._threshold = round(rate * 256)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self._threshold == 0:
            return x
        if x.device.type != "cpu":
            return dropout(x, self.rate)
        seed = int(torch.randint(2**62, ()))
        words = np.random.Generator(np.random.SFC64(seed)).integers(
            0, 2**64, -(-x.numel() // 8), dtype=np.uint64, endpoint=False
        )
        bytes_ = torch.from_numpy(words.view(np.uint8))[: x.numel()].view(x.shape)
        scale = 256 / (256 - self._threshold)
        return x * (bytes_ >= self._threshold).to(x.dtype).mul_(scale)

    def extra_repr(self) -> str:
        return f"rate={self.rate}"
