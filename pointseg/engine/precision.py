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
