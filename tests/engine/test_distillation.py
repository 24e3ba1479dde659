"""The distillation term against its formula, in the trainer, and in runs of the command."""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
import signal

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from pointseg.cli.train import main
from pointseg.config import ConfigError
from pointseg.data import SCANNET20, collate
from pointseg.engine.checkpoint import load_checkpoint, save_checkpoint
from pointseg.engine.checkpoint_folder import find_checkpoint
from pointseg.engine.distillation import (
    Distillation,
    DistillationConfig,
    distillation_divergence,
)
from pointseg.engine.losses import LossConfig
from pointseg.engine.weights import hash_weights
from pointseg.experiment import build_trainer, load_config, load_trained
from pointseg.teacher import build_distillation, find_teacher
from tests.engine.runs import assert_same_run, metrics
from tests.engine.test_resume import interrupt_after, train
from tests.engine.test_trainer import (
    NUM_SCENES,
    PointwiseNet,
    make_trainer,
    run,
    scene,
    taken_alone,
)
from tests.helpers.properties import given, settings, st

__all__ = ["make_trainer"]  # a fixture


def logits(seed: int, rows: int = 6, classes: int = 4, scale: float = 2.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(rows, classes, generator=generator, dtype=torch.float64)


def brute_force(student, teacher, temperature) -> list[float]:
    def shares(row):
        powers = [math.exp(v / temperature) for v in row]
        return [p / sum(powers) for p in powers]

    return [
        temperature**2 * sum(p * math.log(p / q) for p, q in zip(shares(t), shares(s), strict=True))
        for s, t in zip(student.tolist(), teacher.tolist(), strict=True)
    ]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_term_and_its_gradient_are_those_of_the_formula(temperature):
    student, teacher = logits(0).requires_grad_(), logits(1).requires_grad_()
    rows = distillation_divergence(student, teacher, temperature)
    assert rows.tolist() == pytest.approx(brute_force(student, teacher, temperature), rel=1e-12)
    rows.sum().backward()
    p, q = ((x.detach() / temperature).softmax(dim=1) for x in (teacher, student))
    torch.testing.assert_close(student.grad, temperature * (q - p), rtol=1e-12, atol=1e-14)
    assert teacher.grad is None
    assert torch.autograd.gradcheck(
        lambda x: distillation_divergence(x, teacher.detach(), temperature),
        student.detach().requires_grad_(),
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**16), st.floats(0.5, 20.0), st.floats(-30.0, 30.0))
def test_the_term_is_zero_for_equal_opinions_only(seed, temperature, shift):
    student, teacher = logits(seed), logits(seed + 1)
    assert (distillation_divergence(student, teacher, temperature) > 0).all()
    same = distillation_divergence(teacher + shift, teacher, temperature)
    torch.testing.assert_close(same, torch.zeros_like(same), rtol=0, atol=1e-9)


def test_half_precision_is_raised_and_shapes_are_checked():
    half = distillation_divergence(logits(0).half(), logits(1).half(), 2.0)
    assert half.dtype == torch.float32
    with pytest.raises(ValueError, match=r"\(6, 4\) and \(6, 3\)"):
        distillation_divergence(logits(0), logits(1, classes=3), 2.0)


def teacher_net() -> nn.Module:
    torch.manual_seed(5)
    net = PointwiseNet()
    nn.init.normal_(net.linear.weight)
    return net.eval().requires_grad_(False)


def make(make_trainer, distillation: DistillationConfig, **options):
    trainer = make_trainer(**options)
    trainer.distillation = Distillation(distillation, teacher_net())
    return trainer


@pytest.mark.parametrize("voxels", ["all", "labelled"])
def test_the_term_is_the_mean_over_the_voxels_that_count_of_all_passes(make_trainer, voxels):
    """Half of the last scene's voxels have no label."""
    given = DistillationConfig("", weight=0.5, temperature=3.0, voxels=voxels)
    whole = make(make_trainer, given, steps=1, batch_size=NUM_SCENES)
    parts = make(make_trainer, given, steps=1, accumulate=NUM_SCENES)
    batch = collate([scene(i) for i in range(NUM_SCENES)])
    with torch.no_grad():
        student, teacher = (net(batch.voxels) for net in (PointwiseNet(), teacher_net()))
    counted = [voxels == "all" or label >= 0 for label in batch.voxel_labels.tolist()]
    rows = list(itertools.compress(brute_force(student, teacher, 3.0), counted))
    assert 0 < len(rows) <= batch.voxels.num_voxels
    run(whole), run(parts)
    rows_logged = [metrics(trainer.log.run.path)[0] for trainer in (whole, parts)]
    for row in rows_logged:
        assert row["loss_distillation"] == pytest.approx(0.5 * np.mean(rows), rel=1e-5)
        assert row["loss"] == pytest.approx(row["loss_cross_entropy"] + row["loss_distillation"])
    for a, b in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)  # float32 sums in another order


def test_without_labels_a_student_becomes_its_teacher(make_trainer):
    """Both are linear maps, so it can; the teacher stays as it is."""
    without = LossConfig(cross_entropy=0.0)
    trainer = make(make_trainer, DistillationConfig(""), loss=without, steps=60, lr=0.5)
    batch = collate([scene(i) for i in range(NUM_SCENES)])
    blank = dataclasses.replace(batch, voxel_labels=torch.full_like(batch.voxel_labels, -1))
    trainer.train_batches = lambda position: taken_alone(itertools.repeat(blank))
    before = hash_weights(trainer.distillation.teacher.state_dict())
    run(trainer)
    with torch.no_grad():
        student = trainer.model(batch.voxels).softmax(dim=1)
        teacher = trainer.distillation.teacher(batch.voxels).softmax(dim=1)
    assert float((student - teacher).abs().max()) < 0.06
    rows = metrics(trainer.log.run.path)
    assert rows[-1]["loss_distillation"] < 1e-2 * rows[0]["loss_distillation"]
    assert hash_weights(trainer.distillation.teacher.state_dict()) == before


def test_the_hash_is_of_names_types_shapes_and_bits():
    weights = {"a": torch.arange(6.0), "b": torch.tensor(1)}
    others = [
        {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor(1)},
        {"c": torch.arange(6.0), "b": torch.tensor(1)},
        {"a": torch.arange(6.0, dtype=torch.float64), "b": torch.tensor(1)},
        {"a": torch.arange(6.0), "b": torch.tensor(2)},
    ]
    same = dict(reversed(weights.items()))
    assert hash_weights(same) == hash_weights(weights)
    assert len({hash_weights(w) for w in (weights, *others)}) == 5
    with pytest.raises(TypeError, match="a: expected a tensor, got int"):
        hash_weights({"a": 1})


@pytest.mark.parametrize("options", [{"weight": 0.0}, {"temperature": 0.0}])
def test_bad_options(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        DistillationConfig("teacher", **options)


def test_something_must_be_learnt_from(tiny_config):
    nothing = ["loss={cross_entropy: 0, lovasz: 0}"]
    with pytest.raises(ConfigError, match=r"tiny\.yaml.*loss\.lovasz are both 0.*teacher"):
        load_config(tiny_config, nothing)
    load_config(tiny_config, [*nothing, "distillation.teacher=runs/any"])


@pytest.fixture
def teacher_run(tiny_config, tmp_path):
    """A run that was trained for a step, with a moving average and other widths."""
    run = tmp_path / "teacher"
    wide = ("--set", "model.widths=[16, 8]", "--set", "train.average_decay=0.5")
    train("--config", tiny_config, *wide, "--set", "train.steps=1", "--output", run)
    return run


def test_a_student_of_a_run_that_is_interrupted_and_resumed(
    teacher_run, tiny_config, tmp_path, monkeypatch, capsys
):
    settings = ("--set", f"distillation.teacher={teacher_run}", "--set", "train.steps=3")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train("--config", tiny_config, *settings, "--output", whole)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2, signal.SIGTERM)
        train("--config", tiny_config, *settings, "--output", parts)
    train("--resume", parts)
    assert_same_run(whole, parts)
    assert all(row["loss_distillation"] > 0 for row in metrics(parts) if row["kind"] == "train")

    best = find_checkpoint(teacher_run, prefer="best.pt")
    stored = yaml.safe_load((parts / "config.yaml").read_text())["distillation"]
    assert stored["teacher"] == str(best.resolve())
    assert stored["teacher_hash"] == hash_weights(load_checkpoint(best).average)
    student = load_checkpoint(find_checkpoint(parts))
    assert student.config["distillation"] == stored

    # Another teacher under the same name: refused, unless it is wanted.
    changed = load_checkpoint(best)
    changed.average["head.bias"].add_(1.0)
    save_checkpoint(changed, best)
    longer = ["--resume", str(parts), "--set", "train.steps=4"]
    assert main(longer) == 2
    assert "has other weights" in capsys.readouterr().err
    train(*longer, "--set", "distillation.teacher_hash=null")

    # What uses the student does not need its teacher.
    best.unlink()
    assert load_trained(parts).config.distillation.teacher == str(best.resolve())


def test_a_teacher_that_sees_or_knows_something_else(teacher_run, tiny_config):
    overrides = [
        f"distillation.teacher={teacher_run}",
        "data.features=[height, color]",
        "data.voxel_size_m=0.1",
    ]
    random.seed(1), torch.manual_seed(1)
    before = random.getstate(), torch.get_rng_state()
    config, teacher = find_teacher(load_config(tiny_config, overrides))
    assert random.getstate() == before[0] and torch.equal(torch.get_rng_state(), before[1])
    other = dataclasses.replace(SCANNET20, names=tuple(f"{n}s" for n in SCANNET20.names))
    with pytest.raises(ConfigError) as caught:
        build_distillation(config, teacher, other, torch.device("cpu"))
    for part in (
        "data.features: teacher color, height; student height, color",
        "data.voxel_size_m: teacher 0.15; student 0.1",
        "classes: teacher wall, floor",
    ):
        assert part in str(caught.value)


def test_a_trainer_without_the_teacher_of_its_configuration(tiny_config):
    config = load_config(tiny_config, ["distillation.teacher=runs/any"])
    with pytest.raises(ValueError, match="distillation: missing"):
        build_trainer(config, nn.Linear(1, 1), None, None, None, torch.device("cpu"))
    without = dataclasses.replace(config, distillation=None)
    assert find_teacher(without) == (without, None)
