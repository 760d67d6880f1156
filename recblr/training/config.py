"""How a backbone is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from recblr.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """Training settings; the defaults are the recipe behind the shipped ML-1M results."""

    objective: Literal["all", "last"] = "all"
    """Positions that are trained: "all" of a window (causal backbones), or the "last" of every prefix."""
    epochs: int = 24
    """Passes over the training events."""
    batch_size: int = 16
    """Windows a step for objective "all", on average: batches hold as many events each; prefixes a step for "last"."""
    optimizer: Literal["adamw", "adam"] = "adamw"
    """Optimiser."""
    lr: float = 3e-3
    """Peak learning rate."""
    weight_decay: float = 0.01
    """Decoupled weight decay; spares biases, norms and the decay parameters."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Learning rate after the warm-up: down to a hundredth along a cosine, or constant."""
    warmup: float = 0.02
    """Share of all steps over which the learning rate rises from zero."""
    clip: float = 5.0
    """Largest norm of the gradient; 0 switches clipping off."""
    label_smoothing: float = 0.0
    """Share of the target's probability spread over all items."""
    mask_seen: Literal["protocol", "off"] = "protocol"
    """Leave items already read out of the loss: as the protocol leaves them out of the ranking, or never."""
    recency: int = 0
    """Half-life in events of a target's weight, counted back from the user's last one; 0 weighs all alike."""
    average: float = 0.999
    """Decay of the exponential moving average of the weights that is evaluated and saved; 0 keeps the last weights."""
    protocol: str = "lrurec"
    """Protocol of split and validation: recbole, lrurec or time."""
    patience: int = 0
    """Evaluations without a better validation NDCG@10 before stopping; 0 runs all epochs."""
    eval_every: int = 1
    """Epochs between validations."""
    eval_users: int = 0
    """Users in each validation, the first ones of a fixed shuffle; 0 takes all."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 runs the forward pass under autocast, on a GPU only."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    seed: int = 0
    """Seed of weights, order and dropout."""

    def __post_init__(self) -> None:
        positive = ("epochs", "batch_size", "lr", "eval_every")
        for name in positive:
            if getattr(self, name) <= 0:
                raise ConfigError(f"train.{name} is {getattr(self, name)}: it must be positive")
        for name in ("weight_decay", "clip", "recency", "patience", "eval_users"):
            if getattr(self, name) < 0:
                raise ConfigError(f"train.{name} is {getattr(self, name)}: it must not be negative")
        for name in ("warmup", "label_smoothing", "average"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"train.{name} is {getattr(self, name)}: it must lie in [0, 1)")
        if self.label_smoothing and self.mask_seen != "off":
            raise ConfigError("train.label_smoothing spreads over all items: pass it with train.mask_seen off")
        for name, choices in (
            ("objective", ("all", "last")),
            ("optimizer", ("adamw", "adam")),
            ("schedule", ("cosine", "constant")),
            ("mask_seen", ("protocol", "off")),
            ("precision", ("float32", "bfloat16")),
        ):
            if getattr(self, name) not in choices:
                raise ConfigError(f"train.{name} is {getattr(self, name)!r}: choose {' or '.join(choices)}")
