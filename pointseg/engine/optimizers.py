"""Optimisers: SGD, Adam and AdamW, with weight decay on weight matrices and kernels only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn


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

    def __post_init__(self) -> None:
        if not self.lr > 0:
            raise ValueError(f"lr must be positive, got {self.lr}")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay must not be negative, got {self.weight_decay}")


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Two groups in the order of ``model.named_parameters()``: with decay, and without (bias and
    norm parameters).

    A parameter with fewer than two axes is a bias, or the scale or shift of a normalisation.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def build_optimizer(config: OptimizerConfig, model: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of ``config`` over all parameters of ``model`` that require a gradient.

    The fused kernels make one pass over a parameter and its moments, the default ones six.
    """
    groups = parameter_groups(model, config.weight_decay)
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


def group_learning_rates(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """``lr/<name or number>`` of every parameter group; empty where all have the same rate."""
    groups = optimizer.param_groups
    if len({group["lr"] for group in groups}) < 2:
        return {}
    return {f"lr/{group.get('name', i)}": float(group["lr"]) for i, group in enumerate(groups)}


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = lr
