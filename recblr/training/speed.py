"""How long a million training targets take: ``python -m recblr.training.speed --data LOG``.

One run times the project's step beside two re-statements on the same events, weights, optimiser and threads:

    plain     RecBLR as one writes it first: torch's Conv1d, Dropout, sigmoid and cumulative loop, all logits of a batch
              at once, rows padded to the longest allowed
    lru-log   LRURec with the published log-step scan: log2(T) passes over complex tensors padded to a power of two

Before any time is printed, the gradients of each re-statement must agree with the project's to 1e-3, on one batch
without dropout. The variants take turns, so that a busy moment of the machine meets all of them; medians are reported.
On a machine that runs nothing else, OMP_WAIT_POLICY=active keeps both threads awake between operations.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, cross_entropy, dropout, gelu, silu, softplus

from recblr.backbones import make_config
from recblr.backbones.lrurec import LRU, LRURec
from recblr.backbones.recblr import BDLRU, RecBLR
from recblr.backbones.stacked import StackedBackbone
from recblr.data.cache import open_log
from recblr.data.log import InteractionLog
from recblr.data.splits import leave_one_out
from recblr.layers.post_norm import PostNormLayer
from recblr.training import build
from recblr.training.batches import EpochBatches, TrainingBatch
from recblr.training.config import TrainConfig
from recblr.training.loop import Trainer


def _plain_mixer(mixer: BDLRU, x: Tensor) -> Tensor:
    """BD-LRU by torch's own layers, autograd through the time loop."""
    u, z = mixer.project_in(x).chunk(2, -1)
    kernel, channels = mixer.conv.weight.shape[1], mixer.conv.weight.shape[0]
    u = conv1d(u.mT, mixer.conv.weight[:, None], mixer.conv.bias, padding=kernel - 1, groups=channels)
    u = silu(u[..., : x.shape[1]].mT)
    r, i = mixer.gates(u).chunk(2, -1)
    a = torch.exp(-softplus(mixer.lam) * torch.sigmoid(r))
    b = torch.sqrt(1 - a**2 + 1e-8) * torch.sigmoid(i) * u
    h, states = torch.zeros_like(b[:, 0]), []
    for a_t, b_t in zip(a.unbind(1), b.unbind(1), strict=True):
        h = a_t * h + b_t
        states.append(h)
    out: Tensor = mixer.project_out(silu(z) * torch.stack(states, 1))
    return out


def _log_step_mixer(mixer: LRU, x: Tensor) -> Tensor:
    """LRU by recursive doubling: in pass k the second half of every block of 2^k receives the first half's end."""
    h = mixer.project_in(x)  # complex [B, T, H]
    steps = 1 << max(x.shape[1] - 1, 1).bit_length()
    h = nn.functional.pad(h, (0, 0, steps - x.shape[1], 0))
    eigenvalue = torch.polar(torch.exp(-torch.exp(mixer.log_nu)), torch.exp(mixer.log_theta))
    powers = eigenvalue[None]  # [2^k, H]
    for k in range(steps.bit_length() - 1):
        blocks = h.view(len(h), -1, 2 << k, h.shape[-1])
        first, second = blocks[:, :, : 1 << k], blocks[:, :, 1 << k :]
        h = torch.cat([first, second + powers * first[:, :, -1:]], 2).view_as(h)
        powers = torch.cat([powers, powers * powers[-1:]])
    return mixer.project_out(h[:, -x.shape[1] :])


def _restated(model: StackedBackbone, mix: Callable[[Any, Tensor], Tensor], batch: TrainingBatch) -> Tensor:
    """Loss of a batch with torch's own dropout, mixer `mix`, and all logits at once."""
    rate = model.config.dropout if model.training else 0.0
    activation = silu if isinstance(model, RecBLR) else gelu
    norm = cast("nn.LayerNorm", model.norm)
    x = norm(dropout(model.embed(batch.inputs.items), rate))
    for layer in cast("list[PostNormLayer]", list(model.layers)):
        x = layer.norm(x + dropout(mix(layer.mixer, x), rate))
        forward = layer.feed_forward
        inner = dropout(activation(forward.widen(x)), rate)
        x = forward.norm(x + dropout(forward.narrow(inner), rate))
    weight, bias = model.output_embedding()
    logits = x @ weight.T if bias is None else x @ weight.T + bias
    targets = batch.targets.masked_fill(batch.targets == 0, -1) - 1  # class 0 is padding, in neither
    return cross_entropy(logits[..., 1:].flatten(0, 1), targets.flatten(), ignore_index=-2)


def _padded(batch: TrainingBatch, length: int) -> TrainingBatch:
    """Every row as long as the longest allowed, as the published code does."""
    spare = length - batch.targets.shape[1]
    grow = {"items": batch.inputs.items, "times": batch.inputs.times}
    inputs = type(batch.inputs)(**{name: nn.functional.pad(part, (0, spare)) for name, part in grow.items()})
    return TrainingBatch(
        inputs=inputs,
        targets=nn.functional.pad(batch.targets, (0, spare)),
        weights=nn.functional.pad(batch.weights, (0, spare)),
    )


class Variant:
    """A model with its loss and optimiser; `step` trains on one batch and returns (seconds, targets)."""

    def __init__(self, name: str, trainer: Trainer, loss: Callable[[TrainingBatch], Tensor]) -> None:
        self.name, self.trainer, self.loss = name, trainer, loss
        self.seconds: list[float] = []

    def step(self, batch: TrainingBatch) -> None:
        n = int((batch.targets > 0).sum())
        began = time.perf_counter()
        self.trainer.optimizer.zero_grad(set_to_none=True)
        self.loss(batch).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.trainer.model.parameters(), 5.0)
        self.trainer.optimizer.step()
        self.seconds.append((time.perf_counter() - began) / n * 1e6)


def _variants(log: InteractionLog, batch_size: int, max_len: int) -> list[Variant]:
    def trainer(cls: type[StackedBackbone]) -> Trainer:
        model = build(cls.name, make_config(cls, n_items=log.catalog.n_items, max_len=max_len), seed=0)
        return Trainer(model, log, TrainConfig(batch_size=batch_size, device="cpu", protocol="recbole"))

    ours, plain, lru, log_step = trainer(RecBLR), trainer(RecBLR), trainer(LRURec), trainer(LRURec)
    plain_model, log_step_model = cast("RecBLR", plain.model), cast("LRURec", log_step.model)
    return [
        Variant("RecBLR, this project", ours, ours.loss),
        Variant("RecBLR, plain torch", plain, lambda b: _restated(plain_model, _plain_mixer, _padded(b, max_len))),
        Variant("LRURec, this project", lru, lru.loss),
        Variant(
            "LRURec, log-step scan", log_step,
            lambda b: _restated(log_step_model, _log_step_mixer, _padded(b, max_len)),
        ),
    ]  # fmt: skip


def _check(variants: list[Variant], batch: TrainingBatch) -> dict[str, float]:
    """Widest relative difference of a gradient to the project's own, on one batch without dropout.

    Raises AssertionError where a re-statement computes something else.
    """
    gradients = {}
    for variant in variants:
        model = variant.trainer.model.eval()
        parameters = list(model.parameters())
        gradients[variant.name] = torch.autograd.grad(variant.loss(batch), parameters)
        model.train()
    found = {}
    for ours, other in ((variants[0], variants[1]), (variants[2], variants[3])):
        pairs = zip(gradients[ours.name], gradients[other.name], strict=True)
        found[other.name] = max(float((a - b).norm() / a.norm()) for a, b in pairs)
        if not found[other.name] < 1e-3:
            raise AssertionError(f"{other.name} computes other gradients, so no time is printed: {found}")
    return found


def _where(variant: Variant, batches: list[TrainingBatch]) -> dict[str, float]:
    """Share of a step's CPU time by operation, the ten largest, and of the whole loss beside them."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for batch in batches:
            variant.step(batch)
    rows = profile.key_averages()
    total = sum(row.self_cpu_time_total for row in rows)
    top = sorted(rows, key=lambda row: -row.self_cpu_time_total)[:10]
    shares = {row.key.removeprefix("aten::"): row.self_cpu_time_total / total for row in top}
    loss = next(row.cpu_time_total for row in rows if row.key == "_ChunkedCrossEntropy")
    return {"loss, forward and gradients, all operations": loss / total, **shares}


def measure(log: InteractionLog, *, steps: int, batch_size: int = 16, max_len: int = 200) -> dict[str, Any]:
    """Seconds for a million targets, median over `steps` batches, of every variant."""
    split = leave_one_out(log)
    cut = EpochBatches(log, split, objective="all", max_len=max_len, batch_size=batch_size, seed=0, epoch=0)
    # A plain version has no length buckets: its batches are random rows.
    rng = np.random.default_rng(0)
    cut.batches = [rng.permutation(len(cut.starts))[:batch_size] for _ in range(steps + 2)]
    mixed = list(cut)
    cut.batches = EpochBatches(
        log, split, objective="all", max_len=max_len, batch_size=batch_size, seed=0, epoch=0
    ).batches[: steps + 2]
    bucketed = list(cut)
    variants = _variants(log, batch_size, max_len)
    differences = _check(variants, bucketed[0])
    for n in range(steps + 2):
        for variant in variants:
            variant.step(bucketed[n] if "this project" in variant.name else mixed[n])
    medians = {variant.name: statistics.median(variant.seconds[2:]) for variant in variants}
    return {
        "log": log.name,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "steps": steps,
        "gradient_difference_without_dropout": differences,
        "batch_size": batch_size,
        "seconds_per_million_targets": medians,
        "where_the_time_goes": {variant.name: _where(variant, bucketed[:5]) for variant in (variants[0], variants[2])},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="path of a log, such as ML-1M")
    parser.add_argument("--steps", type=int, default=60, help="batches of each variant")
    parser.add_argument("--batch-size", type=int, default=16, help="windows a batch")
    options = parser.parse_args()
    log, _ = open_log(options.data)
    print(json.dumps(measure(log, steps=options.steps, batch_size=options.batch_size), indent=1))  # noqa: T201 - a command's output


if __name__ == "__main__":
    main()
