"""A limit on what building a model may allocate, so that a setting in a file cannot exhaust the memory.

torch's "meta" device would tell the shapes without any memory, but its first operation imports torch's compiler, which
takes longer than all the rest of opening a run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_CREATORS = {
    *(torch.empty, torch.zeros, torch.ones, torch.full, torch.eye),
    *(torch.rand, torch.randn, torch.randint, torch.randperm, torch.arange, torch.linspace),
}


class OverBudget(RuntimeError):
    """More elements were asked for than the budget has."""


class Budget(TorchFunctionMode):
    """While active, tensors are created until `elements` in all are spent; what would exceed it is never created."""

    def __init__(self, elements: int) -> None:
        super().__init__()
        self.left = elements

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in _CREATORS:
            # The product of all whole numbers in the call: the size, or more where one of them is a value.
            wanted = math.prod(
                max(abs(number), 1) for number in _whole_numbers([*args, (kwargs or {}).get("size", ())])
            )
            if wanted > self.left:
                raise OverBudget(f"a tensor of {wanted:,} elements was asked for, {self.left:,} are left")
            self.left -= wanted
        return func(*args, **(kwargs or {}))


def _whole_numbers(values: Sequence[Any]) -> Iterator[int]:
    for value in values:
        if isinstance(value, int) and not isinstance(value, bool):
            yield value
        elif isinstance(value, list | tuple):
            yield from _whole_numbers(value)
