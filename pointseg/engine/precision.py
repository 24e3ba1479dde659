"""The precision that a model computes in: float32, or 16 bits by autocast."""

from __future__ import annotations

import torch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """A context in which operators on ``device`` store features in ``precision``; sums over many
    numbers, statistics and losses stay in float32.
    """
    if precision == "float32":
        return torch.autocast(device.type, enabled=False)
    return torch.autocast(device.type, DTYPES[precision])


def new_scaler(precision: str, device: torch.device) -> torch.amp.GradScaler:
    """Scales the loss so that small gradients are not lost in float16; does nothing otherwise.

    A step whose scaled gradients overflow is left out, and the scale halved. Knowing that takes one
    synchronisation with the device a step.
    """
    return torch.amp.GradScaler(device.type, enabled=precision == "float16")


def take_step(scaler: torch.amp.GradScaler, optimizer: torch.optim.Optimizer) -> bool:
    """Take the step of unscaled gradients; whether that was done.

    It is left out, and the scale lowered, where float16 gradients overflowed: weights and moments
    stay, and what averages the weights must stay with them. The gradients of all ranks are summed
    before, so that all do the same.
    """
    scale = scaler.get_scale()
    scaler.step(optimizer)
    scaler.update()
    return bool(scaler.get_scale() >= scale)
