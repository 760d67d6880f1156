"""The tuned table, in place of tuning at run time: the same launch, and so the same bits, on every machine.

The entries rest on compiled machine code (no spills, loads started steps ahead) and not on timings.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

KINDS = {"bdlru": 0, "rglru": 0, "mingru": 1, "hgrn": 2}
"""Kernel variant of each gate: bdlru and rglru differ only in how the rate follows from lam."""


@dataclass(frozen=True, kw_only=True)
class Config:
    block: int
    """Channels a program."""
    stages: int
    """Time steps of loads in flight."""
    warps: int = 1
    """One: barriers in a pipelined loop are free for a single warp only."""


def power_of_two(n: int) -> int:
    """The smallest power of two that is at least n (and at least 1)."""
    return 1 << max(n - 1, 0).bit_length()


def channels(width: int, dtype: torch.dtype, *, stages: int = 8, most: int = 128) -> Config:
    """Elementwise recurrences. Two-byte types take 64 channels or more: an asynchronous load moves 4 bytes a thread."""
    least = 64 if dtype in (torch.bfloat16, torch.float16) else 32
    return Config(block=max(least, min(most, power_of_two(width))), stages=stages)


SPLIT_CHANNELS = 32768
"""With fewer channels over all sequences than this, a device is not filled by one program a sequence."""
SPLIT_LEAST_CHUNK = 256


def chunk_steps(sequences: int, steps: int, width: int) -> int:
    """Steps a chunk where a scan is split over time, or 0 where it is not."""
    if sequences * width >= SPLIT_CHANNELS or steps < 4 * SPLIT_LEAST_CHUNK:
        return 0
    wanted = -(-2 * SPLIT_CHANNELS // max(sequences * width, 1))  # chunks a sequence
    return max(SPLIT_LEAST_CHUNK, -(-steps // wanted))


GATED_FORWARD_STAGES = 6
GATED_BACKWARD_STAGES = 6


def series_terms(dtype: torch.dtype) -> int:
    """Terms of 1 - exp(-z) below z = 0.5 that reach the last digit of the accumulation type."""
    return 16 if dtype == torch.float64 else 8


COMPLEX_STAGES = 8
COMPLEX_BLOCK = 64
"""Complex channels a program: 128 numbers, as of the real recurrences."""


SELECTIVE_PIECE = 16
"""Steps whose states the backward pass holds at once."""
SELECTIVE_STAGES = 4
SELECTIVE_STATES = 512
"""Channels times states a program."""


def selective(width: int, states: int, dtype: torch.dtype, *, backward: bool = False) -> Config:
    """Several states a channel, all in registers; twice as many where asynchronous loads of two-byte types need it."""
    most = SELECTIVE_STATES * (2 if dtype in (torch.bfloat16, torch.float16) and not backward else 1)
    block = max(1, min(most // power_of_two(states), power_of_two(width)))
    return Config(block=block, stages=SELECTIVE_STAGES)


DELTA_PIECE = 16
"""Steps whose states the backward pass holds at once."""
DELTA_STAGES = 4
DELTA_STATE = 512
"""Numbers of a state a program: its rows are independent, so a head may be several programs."""


def delta(width: int, keys: int, *, backward: bool = False) -> Config:
    """Rows of a head's state in registers; half as many backward, where four states are alive at once."""
    most = DELTA_STATE // (2 if backward else 1)
    return Config(block=max(1, min(most // power_of_two(keys), power_of_two(width))), stages=DELTA_STAGES)


@dataclass(frozen=True, kw_only=True)
class Ssd:
    block: int
    """Channels of a head a program."""
    states: int
    """N, filled up to a power of two that a matrix product takes."""
    length: int
    """Steps a chunk."""
    precision: str
    """Of the matrix products: "ieee" for float32; "tf32" keeps three bits more than bfloat16 has."""
    warps: int


def ssd_forward(width: int, states: int, chunk: int, dtype: torch.dtype) -> Ssd:
    """`chunk` is the most steps asked for."""
    filled = max(16, power_of_two(states))
    half = dtype != torch.float32
    length = 32 if chunk >= 32 and filled <= 32 else 16
    block = min(32 if filled <= 64 else 16, max(16, power_of_two(width)))
    return Ssd(
        block=block, states=filled, length=length, precision="tf32" if half else "ieee",
        warps=4 if half and filled <= 32 else 8,
    )  # fmt: skip


def ssd_backward(width: int, states: int, chunk: int, dtype: torch.dtype) -> Ssd:
    """Nine matrix products a chunk: shorter chunks than forward, so that all stay in registers."""
    filled = max(16, power_of_two(states))
    half = dtype != torch.float32
    block = min(32 if filled <= 32 and not half else 16, max(16, power_of_two(width)))
    return Ssd(
        block=block, states=filled, length=16, precision="tf32" if half else "ieee", warps=4 if filled <= 32 else 8
    )
