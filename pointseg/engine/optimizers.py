"""Optimisers: SGD, Adam and AdamW, with weight decay on weight matrices and kernels only, and with
learning rates and decays of their own for parameters by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from pointseg.engine.parameter_patterns import first_matches


@dataclass(frozen=True)
class GroupConfig:
    """How parameters whose names match a pattern are trained."""

    pattern: str
    """Names of parameters: ``*`` any text, ``?`` a character, ``[01]`` one of these."""
    lr_factor: float = 1.0
    """Factor on the learning rate."""
    weight_decay: float | None = None
    """Decay of weights; null: the optimiser's. Biases and normalisation parameters have none."""

    def __post_init__(self) -> None:
        if not self.lr_factor > 0:
            raise ValueError(
                f"lr_factor must be positive, got {self.lr_factor} for {self.pattern!r}; "
                "train.freeze keeps parameters as they are"
            )
        if self.weight_decay is not None and self.weight_decay < 0:
            raise ValueError(
                f"weight_decay must not be negative, got {self.weight_decay} for {self.pattern!r}"
            )


@dataclass(frozen=True)
class OptimizerConfig:
    """Which optimiser updates the parameters, and its constants."""

    name: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: float = 0.1
    """Base learning rate; the schedule multiplies it."""
    weight_decay: float = 1e-4
    """Decay of weights; biases and normalisation parameters have none."""
    momentum: float = 0.9
    """Momentum of ``sgd``."""
    nesterov: bool = False
    """Nesterov's form of the momentum of ``sgd``."""
    dampening: float = 0.0
    """Dampening of the momentum of ``sgd``."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Averaging constants of ``adam`` and ``adamw``."""
    eps: float = 1e-8
    """Added to the denominator of ``adam`` and ``adamw``."""
    groups: tuple[GroupConfig, ...] = ()
    """Parameters that are trained otherwise; the first pattern that matches a parameter wins."""

    def __post_init__(self) -> None:
        if not self.lr > 0:
            raise ValueError(f"lr must be positive, got {self.lr}")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay must not be negative, got {self.weight_decay}")


def parameter_groups(config: OptimizerConfig, model: nn.Module) -> list[dict[str, Any]]:
    """Named parameters in groups, each in exactly one, in the order of ``named_parameters()``.

    First those of ``config.groups``, then the rest; of each, parameters with decay, and without:
    one with fewer than two axes is a bias, or the scale or shift of a normalisation. ``lr_factor``
    is the factor on the learning rate, ``config_group`` the index in ``config.groups`` or None.
    """
    matches = first_matches([group.pattern for group in config.groups], model, "groups")
    trained = [named for named in model.named_parameters() if named[1].requires_grad]
    groups: list[dict[str, Any]] = []
    for index, group in [*enumerate(config.groups), (None, GroupConfig("*"))]:
        members = [(name, p) for name, p in trained if matches.get(name) == index]
        decay = config.weight_decay if group.weight_decay is None else group.weight_decay
        own = {"lr_factor": group.lr_factor, "config_group": index}
        groups += (
            {"params": [(n, p) for n, p in members if p.ndim >= 2], "weight_decay": decay, **own},
            {"params": [(n, p) for n, p in members if p.ndim < 2], "weight_decay": 0.0, **own},
        )
    return [group for group in groups if group["params"]]


def build_optimizer(config: OptimizerConfig, model: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of ``config`` over all parameters of ``model`` that require a gradient.

    The fused kernels make one pass over a parameter and its moments, the default ones six.
    """
    groups = parameter_groups(config, model)
    if not groups:
        raise ValueError("the model has no parameter that requires a gradient")
    if config.name == "sgd":
        return torch.optim.SGD(
            groups,
            lr=config.lr,
            momentum=config.momentum,
            dampening=config.dampening,
            nesterov=config.nesterov,
            fused=True,
        )
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    return kind(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of every parameter group: ``lr`` times the group's factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_factor"]


def group_learning_rates(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """Learning rates now: ``lr/groups.<i>`` of the configuration's group i, if it has parameters
    in the optimiser.
    """
    return {
        f"lr/groups.{group['config_group']}": group["lr"]
        for group in optimizer.param_groups
        if group["config_group"] is not None
    }


def load_moments(optimizer: torch.optim.Optimizer, state: dict[str, Any], source: str) -> None:
    """Take every parameter's moments, found by its name, from the state of an optimiser.

    Groups, rates, decays and momentum stay as they are. Raises ValueError that names ``source``
    where parameters are missing there.
    """
    own = optimizer.state_dict()["param_groups"]
    moments = state["state"]
    if "param_names" in state["param_groups"][0]:
        saved = _indices_by_name(state["param_groups"])
        wanted = _indices_by_name(own)
        if missing := wanted.keys() - saved.keys():
            raise ValueError(f"{source}: its optimiser does not know {', '.join(sorted(missing))}")
        moments = {
            wanted[name]: moments[index]
            for name, index in saved.items()
            if name in wanted and index in moments
        }
    elif [len(g["params"]) for g in own] != [len(g["params"]) for g in state["param_groups"]]:
        raise ValueError(
            f"{source}: its optimiser has other groups and no names of parameters, which earlier "
            f"versions did not write: go on with it without optimizer.groups"
        )
    optimizer.load_state_dict({"state": moments, "param_groups": own})


def _indices_by_name(groups: list[dict[str, Any]]) -> dict[str, int]:
    """Name of a parameter -> what an optimiser's state calls it."""
    return {
        name: index
        for group in groups
        for name, index in zip(group["param_names"], group["params"], strict=True)
    }
