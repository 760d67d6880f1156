"""A tensor kept until what it was made from changes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


class Kept:
    """One value and the key it was made under. A copy of the model starts with nothing kept.

    With gradients, a value serves every use of one forward pass; the backward pass frees its graph, and so drops it.
    """

    def __init__(self) -> None:
        self._kept: tuple[Hashable, Tensor] | None = None  # one name, so that threads never see half of a change

    def get(self, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        kept = self._kept
        if kept is None or kept[0] != key:
            kept = key, make()
            if kept[1].requires_grad:
                kept[1].register_hook(self._drop_after_backward)  # type: ignore[no-untyped-call]
            self._kept = kept
        return kept[1]

    def drop(self) -> None:
        self._kept = None

    def _drop_after_backward(self, _: Tensor) -> None:
        self.drop()

    def __deepcopy__(self, _: dict[int, Any]) -> Kept:
        return Kept()

    def __reduce__(self) -> tuple[type[Kept], tuple[()]]:
        return Kept, ()


def versions(module: nn.Module) -> tuple[tuple[int, int], ...]:
    """What every change in place of a weight or buffer changes."""
    tensors: Iterable[Tensor] = (*module.parameters(), *module.buffers())
    return tuple((id(tensor), 0 if tensor.is_inference() else tensor._version) for tensor in tensors)


def needs_gradient(module: nn.Module) -> bool:
    return torch.is_grad_enabled() and any(parameter.requires_grad for parameter in module.parameters())
