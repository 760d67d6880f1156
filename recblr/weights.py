"""The weights of a backbone to a safetensors file, and back with every name, shape and value checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from recblr.backbones.base import BackboneConfig, SequentialBackbone
from recblr.budget import Budget, OverBudget
from recblr.errors import CheckpointError
from recblr.runs import CONFIG

_SPARE_ELEMENTS = 2**26
"""What a model may allocate beside its weights, such as masks: 256 MiB of float32."""


def portable_tensors(model: SequentialBackbone) -> dict[str, Tensor]:
    """What is saved of a model. Raises CheckpointError where a value is not finite."""
    tensors = {name: _portable(tensor) for name, tensor in _unique_tensors(model).items()}
    _check_finite(tensors, "the model")
    return tensors


def read_weights(path: Path, cls: type[SequentialBackbone], config: BackboneConfig) -> SequentialBackbone:
    """Build the model, within a memory that the file justifies, and fill it."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in list(file.keys())}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is no complete safetensors file: copy the run folder again") from error
    _check_finite(tensors, str(path))
    model = _build(path, tensors, cls, config)
    _check_shapes(path, tensors, model)
    try:
        model.load_state_dict(tensors, strict=False)  # the names were compared; tied tensors are stored once
    except (CheckpointError, RuntimeError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    return model.eval().requires_grad_(False)


def _build(
    path: Path, tensors: Mapping[str, Tensor], cls: type[SequentialBackbone], config: BackboneConfig
) -> SequentialBackbone:
    if cls.learns and config.n_layers > len(tensors):
        raise CheckpointError(
            f"{path} holds {len(tensors)} tensors, too few for model.n_layers {config.n_layers} in {CONFIG}: "
            "copy the whole run folder again"
        )
    budget = Budget(4 * sum(tensor.numel() for tensor in tensors.values()) + _SPARE_ELEMENTS)
    try:
        with torch.random.fork_rng(devices=[]), budget:  # loading leaves the caller's random numbers alone
            return cls(config)
    except OverBudget as error:
        raise CheckpointError(
            f"{path}: the settings in {CONFIG} ask for far more weights than it holds ({error}): "
            "copy the whole run folder again"
        ) from error
    except RuntimeError as error:
        raise CheckpointError(f"{path.parent / CONFIG}: no model can be built from these settings: {error}") from error


def _check_shapes(path: Path, tensors: Mapping[str, Tensor], model: SequentialBackbone) -> None:
    wanted = _unique_tensors(model)
    for name in sorted(wanted.keys() | tensors.keys()):
        found, needed = tensors.get(name), wanted.get(name)
        if found is None or needed is None or not _fits(found, needed):
            raise CheckpointError(
                f"{path}: tensor {name!r} is {_described(found)}, the settings in {CONFIG} "
                f"ask for {_described(needed)}: copy the whole run folder again"
            )


def _fits(found: Tensor, needed: Tensor) -> bool:
    """Same type and shape, where an axis that a new model leaves empty (a table of counts) may have any length."""
    if found.dtype != needed.dtype or found.ndim != needed.ndim:
        return False
    return all(length in (size, 0) for size, length in zip(found.shape, needed.shape, strict=True))


def _described(tensor: Tensor | None) -> str:
    return "none" if tensor is None else f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _unique_tensors(model: SequentialBackbone) -> dict[str, Tensor]:
    """Parameters and saved buffers by name; of tied ones, the first name."""
    unique: dict[int, str] = {}
    state: dict[str, Tensor] = model.state_dict(keep_vars=True)
    for name, tensor in state.items():
        unique.setdefault(id(tensor), name)
    return {name: state[name] for name in unique.values()}


def _portable(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    return tensor.float() if tensor.is_floating_point() else tensor  # bfloat16 and float64 are ways of training


def _check_finite(tensors: Mapping[str, Tensor], place: str) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{place}: tensor {name!r} holds NaN or infinity: train anew, at a lower rate")
