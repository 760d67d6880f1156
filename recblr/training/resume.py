"""Training state on disk: one safetensors file, replaced whole after each epoch.

A killed run loses one epoch at most. Order, windows and dropout of an epoch follow from (seed, epoch) alone; with
weights, optimiser moments and the averaged and best weights restored, a resumed run ends with the very bits of an
uninterrupted one.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn, optim

from recblr.errors import CheckpointError

Tensors = dict[str, Tensor]


@dataclass(kw_only=True)
class Progress:
    """Everything that changes while training, beside the live weights."""

    epoch: int = 0
    """Epochs done."""
    step: int = 0
    """Optimiser steps done."""
    curve: list[dict[str, float]] = field(default_factory=list)
    best: float = -1.0
    """Best validation NDCG@10."""
    best_epoch: int = 0
    seconds: float = 0.0
    best_weights: Tensors = field(default_factory=dict)
    average: Tensors = field(default_factory=dict)


def digest(*parts: Any) -> str:
    """Fingerprint of what must not change between a run and its continuation."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def save(path: Path, key: str, model: nn.Module, optimizer: optim.Optimizer, progress: Progress) -> None:
    tensors: Tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for group, values in (("best", progress.best_weights), ("average", progress.average)):
        tensors.update({f"{group}.{name}": value for name, value in values.items()})
    for index, moments in optimizer.state_dict()["state"].items():
        tensors.update({f"optimizer.{index}.{name}": value for name, value in moments.items()})
    scalars = {name: getattr(progress, name) for name in ("epoch", "step", "curve", "best", "best_epoch", "seconds")}
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    save_file({name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}, draft,
              metadata={"key": key, "progress": json.dumps(scalars)})  # fmt: skip
    os.replace(draft, path)


def load(path: Path, key: str, model: nn.Module, optimizer: optim.Optimizer) -> Progress:
    """Restore weights and moments in place; returns the rest. Raises CheckpointError for another run's state."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            tensors: Tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged ({error}): delete it to train from the start") from error
    if metadata.get("key") != key:
        raise CheckpointError(
            f"{path} belongs to a training with other settings or other data: repeat those, or delete it to start anew"
        )
    progress = Progress(**json.loads(metadata["progress"]))
    parts: dict[str, Tensors] = {}
    for name, value in tensors.items():
        group, rest = name.split(".", 1)
        parts.setdefault(group, {})[rest] = value
    model.load_state_dict(parts["model"])
    progress.best_weights, progress.average = parts.get("best", {}), parts.get("average", {})
    state: dict[int, Tensors] = {}
    for name, value in parts.get("optimizer", {}).items():
        index, moment = name.split(".", 1)
        state.setdefault(int(index), {})[moment] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return progress
