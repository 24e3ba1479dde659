"""Which parameters decay, and which optimiser is built."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pointseg.engine.optimizers import (
    GroupConfig,
    OptimizerConfig,
    build_optimizer,
    group_learning_rates,
    load_moments,
    set_learning_rate,
)


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


GROUPS = (
    GroupConfig("0.bias", lr_factor=0.5),
    GroupConfig("[01].*", lr_factor=0.1, weight_decay=0.0),
)


def test_every_parameter_is_in_the_group_of_the_first_pattern_that_matches():
    model = small_model()
    optimizer = build_optimizer(OptimizerConfig(lr=2.0, weight_decay=0.3, groups=GROUPS), model)
    names = [name for group in optimizer.param_groups for name in group["param_names"]]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    set_learning_rate(optimizer, 1.0)
    found = {
        name: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for name in group["param_names"]
    }
    assert found == {
        "0.bias": (0.5, 0.0),
        **dict.fromkeys(("0.weight", "1.weight", "1.bias"), (0.1, 0.0)),
        "2.weight": (1.0, 0.3),
        "2.bias": (1.0, 0.0),
    }
    set_learning_rate(optimizer, 0.5)
    assert group_learning_rates(optimizer) == {"lr/groups.0": 0.25, "lr/groups.1": 0.05}


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["3.*"], r"^groups\[0\]: '3\.\*' matches no parameter.*nearest one is '"),
        (["0"], r"did you mean '0\.\*', the parameters of that module"),
        (["0.*", "0.bias"], r"groups\[1\]: all that '0\.bias' matches is taken by '0\.\*'"),
    ],
)
def test_a_pattern_that_no_parameter_is_left_for(patterns, expected):
    config = OptimizerConfig(groups=tuple(map(GroupConfig, patterns)))
    with pytest.raises(ValueError, match=expected):
        build_optimizer(config, small_model())


def test_moments_find_their_parameters_in_other_groups():
    """Also where groups have as many parameters as before."""
    model = small_model()
    first = build_optimizer(OptimizerConfig(name="adam"), model)
    for number, parameter in enumerate(model.parameters()):
        parameter.grad = torch.full_like(parameter, float(number + 1))
    first.step()
    second = build_optimizer(OptimizerConfig(name="adam", groups=GROUPS), model)
    load_moments(second, first.state_dict(), "the test")
    assert [g["lr_factor"] for g in second.param_groups] == [0.5, 0.1, 0.1, 1.0, 1.0]
    for parameter in model.parameters():
        assert second.state[parameter]["exp_avg"] is not None
        assert torch.equal(second.state[parameter]["exp_avg"], first.state[parameter]["exp_avg"])


def test_moments_of_another_model_or_without_names():
    first = build_optimizer(OptimizerConfig(groups=GROUPS), small_model())
    shorter = build_optimizer(OptimizerConfig(), small_model()[:2]).state_dict()
    with pytest.raises(ValueError, match=r"the file: its optimiser does not know 2\.bias"):
        load_moments(first, shorter, "the file")
    nameless = build_optimizer(OptimizerConfig(), small_model()).state_dict()
    for group in nameless["param_groups"]:
        del group["param_names"]
    load_moments(build_optimizer(OptimizerConfig(), small_model()), nameless, "the file")
    with pytest.raises(ValueError, match="the file: .*without optimizer.groups"):
        load_moments(first, nameless, "the file")


@pytest.mark.parametrize("options", [{"lr_factor": 0.0}, {"weight_decay": -1.0}])
def test_bad_options_of_a_group(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))}.*'0.weight'"):
        GroupConfig("0.weight", **options)
