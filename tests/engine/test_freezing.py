"""Frozen parts keep every bit, begin to move when they may, and resume exactly."""

from __future__ import annotations

import signal

import pytest
import torch
from torch import nn

from pointseg.config import ConfigError
from pointseg.engine.checkpoint import load_checkpoint
from pointseg.engine.checkpoint_folder import find_checkpoint
from pointseg.engine.freezing import Freezing
from pointseg.engine.optimizers import OptimizerConfig, build_optimizer
from pointseg.engine.train_config import TrainConfig
from pointseg.evaluation.inference import evaluation_mode
from pointseg.experiment import load_config
from tests.engine.runs import assert_same_run, assert_same_state, metrics
from tests.engine.test_resume import interrupt_after, train


def small_model() -> nn.Module:
    return nn.Sequential(
        nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout()), nn.Linear(4, 2)
    )


def test_modules_that_are_frozen_whole_are_in_evaluation_mode():
    model = small_model()
    freezing = Freezing(model, ["0.*"], until=2)
    freezing.enter(0)
    assert [model.training, model[0].training, model[0][1].training, model[1].training] == [
        *(True, False, False, True)
    ]
    assert [p.requires_grad for p in model.parameters()] == [False] * 4 + [True] * 2
    with evaluation_mode(model):
        assert not model.training
    assert model.training and not model[0][2].training  # an evaluation changes nothing
    freezing.enter(2)
    assert all(m.training for m in model.modules())
    assert all(p.requires_grad for p in model.parameters())


def test_a_norm_that_is_trained_goes_on_counting():
    model = small_model()
    Freezing(model, ["0.0.*"]).enter(10**6)  # without an end
    assert not model[0][0].training and model[0][1].training and model[0][2].training


def test_frozen_parameters_neither_move_nor_decay():
    model = small_model()
    optimizer = build_optimizer(OptimizerConfig(name="adamw", weight_decay=0.5), model)
    Freezing(model, ["0.*"]).enter(0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(5, 3)).square().sum().backward()
        optimizer.step()
    moved = {name for name, v in model.state_dict().items() if not torch.equal(v, before[name])}
    assert moved == {"1.weight", "1.bias"}


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["stem"], r"^freeze\[0\]: 'stem' matches no parameter"),
        (["*"], r"^freeze: \['\*'\] match all parameters"),
    ],
)
def test_patterns_that_leave_nothing(patterns, expected):
    with pytest.raises(ValueError, match=expected):
        Freezing(small_model(), patterns)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"freeze_until": 3}, "freeze names no parameters"),
        ({"freeze": ("a",), "freeze_until": 9}, "not before the end"),
        ({"freeze": ("a",), "freeze_until": -1}, "must not be negative"),
    ],
)
def test_bad_options(options, expected):
    with pytest.raises(ValueError, match=expected):
        TrainConfig(steps=9, **options)


FROZEN = ("stem.*", "encoder.*")
SETTINGS = (
    *("--set", f"train.freeze={list(FROZEN)}", "--set", "train.average_decay=0.9"),
    *("--set", "optimizer.groups=[{pattern: 'head.*', lr_factor: 10}]"),
)


def frozen_entries(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: v for name, v in state.items() if name.split(".")[0] in ("stem", "encoder")}


def test_a_run_leaves_frozen_parts_and_their_average_as_they_began(tiny_config, tmp_path):
    long, short = tmp_path / "long", tmp_path / "short"
    for run, steps in ((long, 4), (short, 1)):
        train("--config", tiny_config, *SETTINGS, "--set", f"train.steps={steps}", "--output", run)
    ends = [load_checkpoint(find_checkpoint(run)) for run in (long, short)]
    for of in ("model", "average"):
        first, second = (getattr(end, of) for end in ends)
        assert len(frozen_entries(first)) > 10  # norms with their statistics among them
        assert_same_state(frozen_entries(first), frozen_entries(second))
        assert not torch.equal(first["head.weight"], second["head.weight"])
    assert_same_state(frozen_entries(ends[0].average), frozen_entries(ends[0].model))
    for row in metrics(long):
        if row["kind"] == "train":
            assert row["lr/groups.0"] == pytest.approx(10 * row["lr"])


def test_a_run_interrupted_before_and_after_the_end_of_freezing(tiny_config, tmp_path, monkeypatch):
    settings = (*SETTINGS, "--set", "train.freeze_until=3", "--set", "train.steps=5")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train("--config", tiny_config, *settings, "--output", whole)
    arguments = ("--config", tiny_config, *settings, "--output", parts)
    for step in (2, 4):
        with monkeypatch.context() as patch:
            interrupt_after(patch, step, signal.SIGTERM)
            train(*arguments)
        stopped = load_checkpoint(find_checkpoint(parts))
        num_batches = int(stopped.model["stem.norm.bn.num_batches_tracked"])
        assert (stopped.step, num_batches) == (step, 2 * max(0, step - 3))  # 2 passes a step
        arguments = ("--resume", parts)
    train("--resume", parts)
    assert_same_run(whole, parts)


def test_a_frozen_codebook_keeps_its_codes_and_has_nothing_to_report(tiny_config, tmp_path):
    codebook = "{heads: 2, query: none, choice: {name: vq, code_dim: 3}}"
    model = (
        "{name: codedvtr, depths: [1, 1], widths: [8, 8], stem_width: 8, "
        f"blocks: [codebook, codebook], codebook: {codebook}}}"
    )
    settings = ("--set", f"model={model}", "--set", "train.steps=2", "--set", "train.accumulate=1")
    run = tmp_path / "run"
    freeze = ("--set", "train.freeze=['encoder.*']")
    train("--config", tiny_config, *settings, *freeze, "--output", run)
    codes = {
        stage: value
        for name, value in load_checkpoint(find_checkpoint(run)).model.items()
        if name.endswith("mean_counts") and (stage := name.split(".")[0])
    }
    assert not codes["encoder"].any() and codes["decoder"].any()
    keys = {key for row in metrics(run) for key in row}
    assert "codebook/decoder.0/perplexity" in keys
    assert not any(key.startswith("codebook/encoder") for key in keys)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("optimizer.groups=[{pattern: x, lr_factor: 0}]", "section optimizer.groups.0.: lr_factor"),
        ("optimizer.groups=[{pattern: 'hea.*'}]", "optimizer: groups.0.: 'hea.*' matches no"),
        ("train.freeze=['hea.*']", "train: freeze.0.: 'hea.*' matches no.*'head.bias'"),
    ],
)
def test_mistakes_are_found_before_any_data_is_read(override, expected, tiny_config):
    with pytest.raises(ConfigError, match=expected):
        load_config(tiny_config, [override])
