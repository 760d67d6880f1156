"""Training: from a log and two configurations to a run folder."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import torch

from recblr.backbones import backbone
from recblr.backbones.base import BackboneConfig, SequentialBackbone
from recblr.checkpoint import save_run
from recblr.data.log import InteractionLog
from recblr.errors import ConfigError
from recblr.evaluation import Evaluation, Truth, evaluate, protocol
from recblr.training.config import TrainConfig
from recblr.training.loop import ProgressCallback, Report, Trainer, device_of

__all__ = ["ProgressCallback", "Report", "TrainConfig", "Trainer", "build", "train"]


def build(name: str, config: BackboneConfig, seed: int) -> SequentialBackbone:
    """A backbone with weights drawn from `seed`; torch's own random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return backbone(name)(config)


def train(
    name: str,
    model_config: BackboneConfig,
    config: TrainConfig,
    log: InteractionLog,
    out: str | Path,
    *,
    truth: Truth | None = None,
    save_titles: bool = True,
    progress: ProgressCallback | None = None,
) -> Path:
    """Train a backbone on a log, choose the weights on validation, read the test figures once, save the run folder.

    An interrupted training continues where it stopped when called again with the same arguments: its state lies beside
    `out` in ``.NAME.training`` until the run folder is complete. `truth` adds the per-cause table.
    """
    out = Path(out)
    model = build(name, model_config, config.seed)
    if model.learns:
        model.to(device_of(config.device))  # texts are read there too
    model.read_catalog(log.catalog)
    if model.keeps_texts and not save_titles:
        raise ConfigError(
            f"the weights of {model.title} hold the texts of items, so titles cannot be left out: drop --no-titles, or "
            "keep vectors alone with --model.item_weights frozen"
        )
    chosen = protocol(config.protocol)
    split = chosen.split(log)
    metrics: dict[str, Any] = {"n_parameters": model.n_parameters()}
    state = out.parent / f".{out.name}.training" / "state.safetensors"
    if model.learns:
        done = Trainer(model, log, config, state=state, split=split, progress=progress).run()
        metrics |= {"curve": done.curve, "best_epoch": done.best_epoch, "training_seconds": done.seconds}
    else:
        model.fit(log, split.train_end)
        model.eval()
    model.to("cpu")
    for part in ("valid", "test"):
        result: Evaluation = evaluate(model, log, chosen, part, split=split, truth=truth)
        metrics[part] = result.as_dict()
    save_run(
        out,
        model,
        log.catalog,
        train=dataclasses.asdict(config),
        data={"name": log.name, "fingerprint": log.fingerprint, "n_users": log.n_users, "n_events": log.n_events},
        metrics=metrics,
        save_titles=save_titles,
    )
    shutil.rmtree(state.parent, ignore_errors=True)
    return out
