"""Operator calls to measure: what is called at which size, on which numbers, and what it costs at the least.

    B batch, T time, D channels, N states a channel (or a head), H heads of P channels, G groups that share B and C

A `Case` is plain data. Its inputs are the same on every machine, and gates are where trained models have them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize, softplus

import lrscan

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}
DIRECTIONS = ("forward", "backward", "both")
PARAMETERS = frozenset({"lam", "log_nu", "theta", "A"})
"""Inputs that all sequences share; they keep float32 where the others are bfloat16, as in training."""
OUTPUT_LIKE = ("b", "x", "u", "v")
"""Inputs that an output has the shape and type of: the first of these that an operator takes."""
STATES = 16
HEAD = 32
HEADED = ("ssd", "delta")
"""Operators whose channels come in heads of HEAD."""

Leaves = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One operator call."""

    operator: str = "bdlru"
    """A name of `OPERATORS`."""
    batch: int = 64
    """Sequences, B."""
    time: int = 200
    """Events of the longest sequence, T."""
    channels: int = 128
    """Channels, D."""
    dtype: str = "float32"
    """What the inputs and outputs are stored as: float32, bfloat16 or float64."""
    direction: str = "both"
    """forward, backward (alone, of a forward pass that was kept), or both."""
    fill: float = 1.0
    """Mean length over `time`; below 1 the lengths vary and the sequences are packed, without padding."""

    def __post_init__(self) -> None:
        for name, allowed in (("operator", tuple(OPERATORS)), ("dtype", tuple(DTYPES)), ("direction", DIRECTIONS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        for name in ("batch", "time", "channels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.fill <= 1:
            raise ValueError(f"fill must be above 0 and at most 1, got {self.fill}")
        if self.operator in HEADED and self.channels % HEAD:
            raise ValueError(f"channels must be a multiple of {HEAD} for {self.operator}, got {self.channels}")
        if self.operator == "complex" and self.dtype == "bfloat16":
            raise ValueError("dtype bfloat16 has no complex counterpart: choose float32")


@dataclass(frozen=True, kw_only=True)
class Operator:
    """What can be called, and what a call costs."""

    function: str
    """Its name in lrscan."""
    leaves: Callable[[tuple[int, ...], int, Callable[..., Tensor]], Leaves]
    """(leading sizes such as (B, T), D, normal numbers of a size) -> inputs, in the function's order."""
    options: Mapping[str, Any]
    operations: tuple[int, int]
    """Arithmetic operations an element of the output, forward and backward; exp and sqrt count as one."""
    not_read_again: frozenset[str] = frozenset()
    """Inputs that the backward pass has no need of."""
    keeps_states: bool = True
    """Whether the backward pass reads the forward pass's output; else it computes the states again."""


def _linear(lead: tuple[int, ...], channels: int, normal: Callable[..., Tensor]) -> Leaves:
    return {"a": torch.sigmoid(normal(*lead, channels) + 2), "b": normal(*lead, channels)}


def _gated(shift: float, *names: str) -> Callable[[tuple[int, ...], int, Callable[..., Tensor]], Leaves]:
    def leaves(lead: tuple[int, ...], channels: int, normal: Callable[..., Tensor]) -> Leaves:
        found = {name: normal(*lead, channels) for name in names if name != "lam"}
        return found | ({"lam": normal(channels) * 0.5 + shift} if "lam" in names else {})

    return leaves


def _hgrn(lead: tuple[int, ...], channels: int, normal: Callable[..., Tensor]) -> Leaves:
    return {**_gated(0.0, "x", "r")(lead, channels, normal), "lam": 0.9 * torch.sigmoid(normal(channels))}


def _complex(lead: tuple[int, ...], channels: int, normal: Callable[..., Tensor]) -> Leaves:
    u = torch.complex(normal(*lead, channels), normal(*lead, channels))
    return {"u": u, "log_nu": normal(channels) - 2, "theta": normal(channels)}


def _ssd(lead: tuple[int, ...], channels: int, normal: Callable[..., Tensor]) -> Leaves:
    heads = channels // HEAD
    shared = {name: normal(*lead, 1, STATES) for name in ("B", "C")}
    dt = softplus(normal(*lead, heads) - 3)
    return {"x": normal(*lead, heads, HEAD), "dt": dt, "A": -torch.exp(normal(heads)), **shared}


def _selective(lead: tuple[int, ...], channels: int, normal: Callable[..., Tensor]) -> Leaves:
    shared = {name: normal(*lead, STATES) for name in ("B", "C")}
    dt = softplus(normal(*lead, channels) - 3)
    return {"u": normal(*lead, channels), "dt": dt, "A": -torch.exp(normal(channels, STATES)), **shared}


def _delta(lead: tuple[int, ...], channels: int, normal: Callable[..., Tensor]) -> Leaves:
    heads = channels // HEAD
    keys = {name: normalize(normal(*lead, heads, STATES), dim=-1) for name in ("q", "k")}
    gates = {"decay": torch.sigmoid(normal(*lead, heads) + 2), "beta": torch.sigmoid(normal(*lead, heads))}
    return {**keys, "v": normal(*lead, heads, HEAD), **gates}


OPERATORS: dict[str, Operator] = {
    "linear": Operator(
        function="linear_scan",
        leaves=_linear,
        options={},
        operations=(2, 3),
        not_read_again=frozenset({"b"}),
    ),
    "bdlru": Operator(
        function="gated_scan",
        leaves=_gated(-4.0, "x", "r", "i", "lam"),
        options={"kind": "bdlru"},
        operations=(15, 32),
    ),
    "rglru": Operator(
        function="gated_scan",
        leaves=_gated(4.4, "x", "r", "i", "lam"),
        options={"kind": "rglru", "c": 8.0},
        operations=(15, 32),
    ),
    "mingru": Operator(
        function="gated_scan",
        leaves=_gated(0.0, "x", "r"),
        options={"kind": "mingru"},
        operations=(8, 14),
    ),
    "hgrn": Operator(
        function="gated_scan",
        leaves=_hgrn,
        options={"kind": "hgrn"},
        operations=(9, 17),
    ),
    "complex": Operator(
        function="complex_scan",
        leaves=_complex,
        options={},
        operations=(8, 16),
        not_read_again=frozenset({"u"}),
    ),
    "ssd": Operator(
        function="ssd_scan",
        leaves=_ssd,
        options={},
        operations=(5 * STATES, 12 * STATES),
        keeps_states=False,
    ),
    "selective": Operator(
        function="selective_scan",
        leaves=_selective,
        options={},
        operations=(6 * STATES, 14 * STATES),
        keeps_states=False,
    ),
    "delta": Operator(
        function="delta_scan",
        leaves=_delta,
        options={},
        operations=(7 * STATES, 18 * STATES),
        keeps_states=False,
    ),
}


def lengths(case: Case) -> list[int]:
    """[B] events of each sequence: all `time`, or log-normal around fill * time, the longest of all `time`."""
    if case.fill == 1:
        return [case.time] * case.batch
    g = torch.Generator().manual_seed(3)
    drawn = torch.exp(0.6 * torch.randn(case.batch, generator=g)).clamp(max=4)
    for _ in range(20):  # the cut at `time` lowers the mean, so a few rounds bring it back
        drawn = (drawn * case.fill * case.time / drawn.mean()).clamp(1, case.time)
    whole = drawn.round().to(torch.int64)
    whole[0] = case.time
    return list(whole.tolist())


def inputs(case: Case, device: str = "cpu") -> tuple[Leaves, Tensor | None]:
    """(leaves that require gradients, cu_seqlens or None): the same numbers for the same case."""
    g = torch.Generator().manual_seed(0)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=g)

    packed = case.fill < 1
    bounds = torch.tensor([0, *lengths(case)]).cumsum(0) if packed else None
    lead = (case.batch, case.time) if bounds is None else (int(bounds[-1]),)
    drawn = OPERATORS[case.operator].leaves(lead, case.channels, normal)
    made = {name: _cast(name, leaf, case).to(device).requires_grad_() for name, leaf in drawn.items()}
    return made, None if bounds is None else bounds.to(device)


def _cast(name: str, leaf: Tensor, case: Case) -> Tensor:
    wide = case.dtype == "float64"
    if leaf.is_complex():
        return leaf.to(torch.complex128 if wide else torch.complex64)
    return leaf.to(torch.float32 if name in PARAMETERS and not wide else DTYPES[case.dtype])


def call(case: Case, leaves: Leaves, cu_seqlens: Tensor | None = None, backend: str | None = None) -> Tensor:
    """The operator's output on these inputs, [B, T, ...] or packed [N, ...]."""
    operator = OPERATORS[case.operator]
    given: list[Tensor | None] = list(leaves.values())
    if operator.function == "gated_scan":
        given = [leaves.get(name) for name in ("x", "r", "i", "lam")]
    out: Tensor = getattr(lrscan, operator.function)(*given, cu_seqlens=cu_seqlens, backend=backend, **operator.options)
    return out


def minimal_bytes(case: Case) -> int:
    """Bytes that must cross the memory bus: each input read once a pass, each result written once.

    Backward reads what the forward pass read, less `not_read_again`, the kept states and the gradient that comes in,
    and writes one gradient an input.
    """
    operator = OPERATORS[case.operator]
    lead = (case.batch, case.time) if case.fill == 1 else (sum(lengths(case)),)
    on_paper = operator.leaves(lead, case.channels, lambda *size: torch.empty(*size, device="meta"))
    sizes = {name: leaf.numel() * _cast(name, leaf, case).element_size() for name, leaf in on_paper.items()}
    output = sizes[next(name for name in OUTPUT_LIKE if name in sizes)]
    forward = sum(sizes.values()) + output
    again = sum(size for name, size in sizes.items() if name not in operator.not_read_again)
    backward = again + output * (2 if operator.keeps_states else 1) + sum(sizes.values())
    return {"forward": forward, "backward": backward, "both": forward + backward}[case.direction]


def operations(case: Case) -> int:
    """Arithmetic operations of the call."""
    elements = sum(lengths(case)) * case.channels
    forward, backward = OPERATORS[case.operator].operations
    return elements * {"forward": forward, "backward": backward, "both": forward + backward}[case.direction]
