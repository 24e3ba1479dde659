"""Which parameters decay, and which optimiser is built."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pointseg.engine.optimizers import OptimizerConfig, build_optimizer, set_learning_rate


def small_model() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


@pytest.mark.parametrize(
    ("name", "kind"),
    [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)],
)
def test_biases_and_norms_do_not_decay(name, kind):
    model = small_model()
    optimizer = build_optimizer(OptimizerConfig(name=name, lr=0.5, weight_decay=0.1), model)
    assert type(optimizer) is kind
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    expected = {
        id(p): 0.1 if key in ("0.weight", "2.weight") else 0.0
        for key, p in model.named_parameters()
    }
    assert decay == expected
    set_learning_rate(optimizer, 0.25)
    assert {g["lr"] for g in optimizer.param_groups} == {0.25}


def test_sgd_step_against_its_formula():
    model = nn.Linear(2, 1, bias=False)
    start = model.weight.detach().clone()
    optimizer = build_optimizer(
        OptimizerConfig(name="sgd", lr=0.1, momentum=0.9, weight_decay=0.01), model
    )
    velocity = torch.zeros_like(start)
    weight = start
    for _ in range(3):
        model.weight.grad = torch.ones_like(start)
        optimizer.step()
        velocity = 0.9 * velocity + torch.ones_like(start) + 0.01 * weight
        weight = weight - 0.1 * velocity
    torch.testing.assert_close(model.weight.detach(), weight)


def test_frozen_parameters_are_left_out():
    model = small_model()
    for parameter in model[0].parameters():
        parameter.requires_grad_(False)
    optimizer = build_optimizer(OptimizerConfig(), model)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 4
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter"):
        build_optimizer(OptimizerConfig(), model)


@pytest.mark.parametrize("options", [{"lr": 0.0}, {"weight_decay": -1.0}])
def test_bad_options(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        OptimizerConfig(**options)
