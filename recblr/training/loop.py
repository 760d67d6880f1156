"""The training loop: one epoch after another, validated, resumable, the same for every backbone."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn, optim

from recblr.backbones.base import SequentialBackbone
from recblr.data.log import InteractionLog
from recblr.data.splits import Split
from recblr.errors import ConfigError, DataError, RecblrError
from recblr.evaluation import Protocol, evaluate, protocol
from recblr.training import resume
from recblr.training.batches import EpochBatches, TrainingBatch
from recblr.training.config import TrainConfig
from recblr.training.loss import cross_entropy


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a progress bar shows."""

    epoch: int
    """Epoch under way, from 1."""
    epochs: int
    step: int
    """Steps done of this epoch."""
    steps: int
    loss: float
    """Mean over the epoch so far, nats a target."""
    metric: float | None
    """Last validation NDCG@10."""
    seconds_left: float | None
    """Estimate for the whole training."""


ProgressCallback = Callable[[Report], None]


def device_of(name: str) -> torch.device:
    """ "auto" takes a GPU where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"train.device is {name!r}: choose auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"train.device is {name!r}, but torch sees no GPU here: choose cpu or auto")
    return device


class Trainer:
    """Trains `model` in place; `run` returns the learning curve."""

    def __init__(
        self,
        model: SequentialBackbone,
        log: InteractionLog,
        config: TrainConfig,
        *,
        state: Path | None = None,
        split: Split | None = None,
        progress: ProgressCallback | None = None,
    ) -> None:
        """`state`: where to keep, and from where to continue, an interrupted training. `split`: the protocol's."""
        if config.objective == "all" and not model.causal:
            so = "its outputs before the last are no predictions"
            raise ConfigError(model.not_causal(so, "train it with --train.objective last"))
        self.device = device_of(config.device)
        if config.precision == "bfloat16" and self.device.type != "cuda":
            raise ConfigError("train.precision bfloat16 needs a GPU: choose float32")
        self.model, self.log, self.config = model.to(self.device), log, config
        self.protocol: Protocol = protocol(config.protocol)
        self.masks_seen = config.mask_seen == "protocol" and self.protocol.mask_seen != "off"
        self.split = self.protocol.split(log) if split is None else split
        self.optimizer = self._optimizer()
        self.progress, self.state = resume.Progress(), state
        self.notify = progress
        self.key = resume.digest(
            dataclasses.asdict(config), model.name, dataclasses.asdict(model.config), log.fingerprint
        )
        if len(self._epoch(0)) == 0:
            raise DataError(f"log {log.name!r} has no user with two training events: there is nothing to learn from")

    def _optimizer(self) -> optim.Optimizer:
        named = list(self.model.named_parameters())
        spared = self.model.undecayed
        decayed = {name for name, p in named if p.dim() >= 2 and not any(part in name for part in spared)}
        groups = [
            {"params": [p for name, p in named if name in decayed], "weight_decay": self.config.weight_decay},
            {"params": [p for name, p in named if name not in decayed], "weight_decay": 0.0},
        ]
        cls = optim.AdamW if self.config.optimizer == "adamw" else optim.Adam
        return cls(groups, lr=self.config.lr, fused=True)

    def _epoch(self, epoch: int) -> EpochBatches:
        config = self.config
        return EpochBatches(
            self.log, self.split, objective=config.objective, max_len=self.model.config.max_len,
            batch_size=config.batch_size, seed=config.seed, epoch=epoch, recency=config.recency,
        )  # fmt: skip

    def _rate(self, step: int, total: int) -> float:
        """Learning rate at a step of `total`."""
        warm = max(int(self.config.warmup * total), 1)
        if step < warm:
            return self.config.lr * (step + 1) / warm
        if self.config.schedule == "constant":
            return self.config.lr
        share = (step - warm) / max(total - warm, 1)
        return self.config.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(share, 1.0))))

    def loss(self, batch: TrainingBatch) -> Tensor:
        """Mean cross-entropy of the batch's targets; hidden states without a target are dropped before the logits."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            answers = self.model.answers(batch.inputs, batch.targets > 0)  # hidden [B, S, d] for steps [S]
        targets, weights = batch.targets[:, answers.step], batch.weights[:, answers.step]
        wanted = targets > 0
        loss = self.model.own_loss(answers.hidden[wanted], targets[wanted], weights[wanted])
        if loss is None:
            weight, bias = self.model.output_embedding()
            loss = cross_entropy(
                answers.hidden[wanted],
                weight,
                bias,
                targets[wanted],
                weights=weights[wanted],
                banned=self._seen(batch, wanted, answers.step) if self.masks_seen else None,
                pad_class=getattr(self.model, "pad_class", False),
                label_smoothing=self.config.label_smoothing,
            )
        if answers.further is None:
            return loss
        share = weights[wanted].sum()
        return (loss * share + answers.further.float().sum()) / (share + len(answers.further))

    def _seen(self, batch: TrainingBatch, wanted: Tensor, steps: Tensor) -> Tensor:
        """[N, T] items read up to each target's position, 0 after it."""
        row, answer = wanted.nonzero(as_tuple=True)
        past = torch.arange(batch.inputs.items.shape[1], device=wanted.device) <= steps[answer].unsqueeze(1)
        return batch.inputs.items[row] * past

    def _step(self, batch: TrainingBatch, total: int) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(self.progress.step, total)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.config.clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self.optimizer.step()
        self.progress.step += 1
        if self.config.average:
            self._update_average()
        return float(loss.detach())

    @torch.no_grad()
    def _update_average(self) -> None:
        live = dict(self.model.named_parameters())
        if not self.progress.average:
            self.progress.average = {name: value.detach().clone() for name, value in live.items()}
        # Younger averages follow faster, so that the initial weights do not linger.
        keep = min(self.config.average, (1 + self.progress.step) / (10 + self.progress.step))
        torch._foreach_lerp_([self.progress.average[n] for n in live], [p.detach() for p in live.values()], 1 - keep)

    def _train_epoch(self, epoch: int) -> float:
        batches = self._epoch(epoch)
        dropout_seed = np.random.SeedSequence([self.config.seed, epoch, 1]).generate_state(1, np.uint64)[0]
        torch.manual_seed(int(dropout_seed >> np.uint64(1)))
        self.model.train()
        total, seen, lost, began = len(batches) * self.config.epochs, 0, 0.0, time.perf_counter()
        for done, batch in enumerate(batches, 1):
            loss = self._step(batch.to(self.device), total)
            if not math.isfinite(loss):
                raise RecblrError(f"the loss is {loss} at step {self.progress.step}: lower train.lr or train.clip")
            n = int((batch.targets > 0).sum())
            seen, lost = seen + n, lost + loss * n
            if self.notify:
                spent = self.progress.seconds + time.perf_counter() - began
                left = spent / self.progress.step * (total - self.progress.step)
                metric = self.progress.curve[-1].get("NDCG@10") if self.progress.curve else None
                self.notify(
                    Report(
                        epoch=epoch + 1, epochs=self.config.epochs, step=done, steps=len(batches),
                        loss=lost / seen, metric=metric, seconds_left=left,
                    )
                )  # fmt: skip
        return lost / seen

    def _weights(self) -> resume.Tensors:
        """What is validated and kept: the average where there is one."""
        live = {name: value.detach() for name, value in self.model.state_dict().items()}
        return {**live, **self.progress.average}

    def _validate(self, loss: float) -> None:
        progress, live = self.progress, {n: v.detach().clone() for n, v in self.model.state_dict().items()}
        weights = {name: value.clone() for name, value in self._weights().items()}
        self.model.load_state_dict(weights)
        result = evaluate(
            self.model, self.log, self.protocol, "valid", split=self.split,
            max_users=self.config.eval_users or None, draws=0,
        )  # fmt: skip
        self.model.load_state_dict(live)
        progress.curve.append({"epoch": progress.epoch, "loss": loss, "seconds": progress.seconds, **result.metrics})
        if result.metrics["NDCG@10"] > progress.best:
            progress.best, progress.best_epoch, progress.best_weights = (
                result.metrics["NDCG@10"],
                progress.epoch,
                weights,
            )

    def run(self) -> resume.Progress:
        """Train to the end (or to the patience's); the model then holds the weights of the best validation."""
        if self.state is not None and self.state.exists():
            self.progress = resume.load(self.state, self.key, self.model, self.optimizer)
        progress, config = self.progress, self.config
        while progress.epoch < config.epochs and not self._out_of_patience():
            began = time.perf_counter()
            loss = self._train_epoch(progress.epoch)
            progress.epoch += 1
            progress.seconds += time.perf_counter() - began
            if progress.epoch % config.eval_every == 0 or progress.epoch == config.epochs:
                self._validate(loss)
            if self.state is not None:
                resume.save(self.state, self.key, self.model, self.optimizer, progress)
        self.model.load_state_dict(progress.best_weights)
        self.model.eval()
        return progress

    def _out_of_patience(self) -> bool:
        waited = (self.progress.epoch - self.progress.best_epoch) // self.config.eval_every
        return bool(self.config.patience) and self.progress.best_epoch > 0 and waited >= self.config.patience
