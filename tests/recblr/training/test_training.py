"""The loop end to end on a toy: it learns, stops, resumes bit by bit after being killed."""

import math
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from recblr.backbones import REGISTRY, make_config
from recblr.checkpoint import load_run
from recblr.data.log import Catalog, InteractionLog
from recblr.errors import CheckpointError, ConfigError, DataError, RecblrError
from recblr.layers.dropout import Dropout
from recblr.training import TrainConfig, Trainer, build, train

TOY = Path(__file__).parent / "ring.py"
ring = runpy.run_path(str(TOY))["ring"]  # the killed process below runs the same file


def small(name, **fields):
    return make_config(REGISTRY[name], n_items=12, d=16, max_len=20, dropout=0.1, **fields)


QUICK = {
    "epochs": 8,
    "batch_size": 8,
    "lr": 0.01,
    "weight_decay": 0.1,
    "warmup": 0.05,
    "average": 0.0,
    "protocol": "recbole",
}


MARKOV = (1 + 1 / math.log2(3)) / 2
"""NDCG of knowing the two neighbours on the ring but not the direction."""


@pytest.mark.parametrize("objective", ["all", "last"])
@pytest.mark.parametrize("name", [name for name, cls in REGISTRY.items() if cls.learns])
def test_every_backbone_learns_a_ring_that_no_markov_chain_can(name, objective, tmp_path):
    if objective == "all" and not REGISTRY[name].causal:
        pytest.skip("not causal")
    batch_size, epochs = (8, 12) if objective == "all" else (64, 18)
    config = TrainConfig(**QUICK | {"epochs": epochs, "objective": objective, "batch_size": batch_size})
    settings = make_config(REGISTRY[name], n_items=12, d=32, max_len=20, dropout=0.0)
    folder = train(name, settings, config, ring(users=120), tmp_path / "run")
    run = load_run(folder)
    assert run.metrics["test"]["metrics"]["NDCG@10"] > MARKOV + 0.04
    assert run.metrics["curve"][-1]["loss"] < run.metrics["curve"][0]["loss"]
    assert not list(tmp_path.glob(".*training*"))


@pytest.mark.parametrize("name", [name for name, cls in REGISTRY.items() if cls.learns])
def test_weight_decay_spares_biases_norms_and_memories(name):
    trainer = Trainer(build(name, small(name), 0), ring(users=20), TrainConfig(weight_decay=0.1, protocol="recbole"))
    decay = {id(p): group["weight_decay"] for group in trainer.optimizer.param_groups for p in group["params"]}
    assert set(decay) == {id(p) for p in trainer.model.parameters()}
    for module in trainer.model.modules():
        matrix = isinstance(module, torch.nn.Linear | torch.nn.Embedding)
        for part, parameter in module.named_parameters(recurse=False):
            if matrix and part == "weight":
                assert decay[id(parameter)] == 0.1
            elif parameter.dim() == 1 or part in {"A_log", "log_nu", "log_theta", "lam"}:
                assert decay[id(parameter)] == 0


@pytest.mark.parametrize("name", [name for name, cls in REGISTRY.items() if not cls.learns])
def test_counting_baselines_are_fitted_and_saved_by_the_same_call(name, tmp_path):
    config = make_config(REGISTRY[name], n_items=12, max_len=20)
    run = load_run(train(name, config, TrainConfig(**QUICK), ring(), tmp_path / "run"))
    assert 0.05 < run.metrics["test"]["metrics"]["NDCG@10"] < 0.9


def trainer(config, state=None, **options):
    return Trainer(build("recblr", small("recblr"), config.seed), ring(), config, state=state, **options)


def weights(trained):
    return {name: value.clone() for name, value in trained.model.state_dict().items()}


KILLED = """
{toy}
import sys, torch
from pathlib import Path
from recblr.backbones import REGISTRY, make_config
from recblr.training import TrainConfig, Trainer, build
torch.set_num_threads(1)
config = TrainConfig(epochs=8, batch_size=8, lr=0.01, average=0.9)
model = build("recblr", make_config(REGISTRY["recblr"], n_items=12, d=16, max_len=20, dropout=0.1), 0)
def wait(report):
    if report.epoch == 5 and report.step == 3:
        print("in epoch five", flush=True)
        sys.stdin.read()
Trainer(model, ring(), config, state=Path(sys.argv[1]), progress=wait).run()
"""


def test_a_training_killed_in_the_middle_of_an_epoch_ends_with_the_weights_of_an_uninterrupted_one(tmp_path):
    config = TrainConfig(epochs=8, batch_size=8, lr=0.01, average=0.9)
    torch.set_num_threads(1)
    whole = trainer(config)
    whole.run()
    state = tmp_path / "state.safetensors"
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED.format(toy=TOY.read_text()), str(state)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout.readline() == "in epoch five\n"
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    resumed = trainer(config, state)
    progress = resumed.run()
    assert progress.epoch == 8
    assert [row["epoch"] for row in progress.curve] == list(range(1, 9))
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[name]), name


def test_the_state_of_another_training_is_refused(tmp_path):
    state = tmp_path / "state.safetensors"
    trainer(TrainConfig(epochs=1), state).run()
    with pytest.raises(CheckpointError, match="other settings or other data"):
        trainer(TrainConfig(epochs=2), state).run()
    state.write_bytes(state.read_bytes()[:200])
    with pytest.raises(CheckpointError, match="damaged"):
        trainer(TrainConfig(epochs=1), state).run()


def test_patience_ends_a_training_that_no_longer_improves():
    progress = trainer(TrainConfig(**QUICK | {"epochs": 40, "patience": 3})).run()
    assert progress.epoch < 40
    assert progress.epoch - progress.best_epoch == 3


def test_the_weights_of_the_best_validation_are_kept():
    trained = trainer(TrainConfig(**QUICK | {"epochs": 8, "lr": 0.02, "schedule": "constant"}))
    progress = trained.run()
    assert progress.best == max(row["NDCG@10"] for row in progress.curve)
    for name, value in progress.best_weights.items():
        assert torch.equal(value, trained.model.state_dict()[name])


def test_progress_tells_epoch_loss_metric_and_time_left():
    reports = []
    trainer(TrainConfig(epochs=2, batch_size=8), progress=reports.append).run()
    assert [(r.epoch, r.step) for r in reports][:2] == [(1, 1), (1, 2)]
    assert reports[0].metric is None
    assert reports[-1].metric is not None
    assert reports[-1].seconds_left == pytest.approx(0, abs=1e-6)
    assert reports[-1].step == reports[-1].steps


@pytest.mark.parametrize(("protocol", "masked"), [("lrurec", True), ("recbole", False)])
def test_items_already_read_are_no_classes_where_the_protocol_does_not_rank_them(protocol, masked):
    trained = trainer(TrainConfig(protocol=protocol))
    assert trained.masks_seen == masked
    assert not trainer(TrainConfig(protocol=protocol, mask_seen="off")).masks_seen
    batch = next(iter(trained._epoch(0)))
    wanted = batch.targets > 0
    rows = trained._seen(batch, wanted, torch.arange(wanted.shape[1]))
    for seen, (row, step) in zip(rows, wanted.nonzero().tolist(), strict=True):
        assert seen[: step + 1].tolist() == batch.inputs.items[row, : step + 1].tolist()
        assert not seen[step + 1 :].any()


def test_an_exploding_loss_is_an_error_with_a_way_out():
    with pytest.raises(RecblrError, match=r"lower train\.lr"):
        trainer(TrainConfig(epochs=50, lr=1e12, clip=0, warmup=0.0, optimizer="adam")).run()


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"epochs": 0}, "train.epochs is 0"),
        ({"objective": "some"}, "all or last"),
        ({"average": 1.0}, "train.average"),
        ({"weight_decay": -1}, "train.weight_decay"),
    ],
)
def test_settings_out_of_range_are_named(fields, named):
    with pytest.raises(ConfigError, match=named):
        TrainConfig(**fields)


def test_choices_this_machine_cannot_serve_are_named():
    with pytest.raises(ConfigError, match="choose auto, cpu"):
        trainer(TrainConfig(device="warp"))
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="sees no GPU"):
            trainer(TrainConfig(device="cuda"))
        with pytest.raises(ConfigError, match="needs a GPU"):
            trainer(TrainConfig(precision="bfloat16"))


def test_a_log_of_single_events_teaches_nothing_and_says_so(tmp_path):
    single = InteractionLog(
        name="single", items=np.ones(3, np.int32), times=np.zeros(3, np.int64), offsets=np.arange(4),
        users=np.array(["a", "b", "c"]), catalog=Catalog(ids=np.array(["", "x"])),
    )  # fmt: skip
    config = make_config(REGISTRY["recblr"], n_items=1, d=8)
    with pytest.raises(DataError, match="no user"):
        train("recblr", config, TrainConfig(), single, tmp_path / "run")


def test_dropout_keeps_the_mean_and_follows_torchs_seed():
    layer, x = Dropout(0.25), torch.ones(1000, 100)
    torch.manual_seed(3)
    first = layer(x)
    torch.manual_seed(3)
    assert torch.equal(first, layer(x))
    assert not torch.equal(first, layer(x))
    assert first.mean().item() == pytest.approx(1, abs=0.01)
    assert (first == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert layer.eval()(x) is x
