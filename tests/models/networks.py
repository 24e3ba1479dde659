"""Thin networks for tests, and what to look at in them."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode


class OpNames(TorchDispatchMode):
    """Names of the package's ops that run inside the context."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if func.namespace == "pointseg":
            self.names.append(func.name().removeprefix("pointseg::"))
        return func(*args, **(kwargs or {}))


Model = TypeVar("Model", bound=nn.Module)


def with_running_statistics(model: Model) -> Model:
    """The model with running statistics that are not the initial ones."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return model


def gradients(model: nn.Module, x) -> dict[str, torch.Tensor]:  # type: ignore[no-untyped-def]
    """Gradient of the squared logits for every parameter that gets one, by name."""
    model.zero_grad()
    model(x).square().sum().backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
