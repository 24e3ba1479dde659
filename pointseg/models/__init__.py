"""Segmentation networks and their registry.

A model is built from its name, its input channels, the number of classes and options that are
plain data. It maps a `SparseTensor` to voxel logits ``[N, num_classes]`` and declares its
geometry: ``model.geometry() -> GeometryPlan``.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from pointseg.models.minkunet import PRESETS, MinkUNet, MinkUNetConfig

__all__ = ["MODELS", "PRESETS", "MinkUNet", "MinkUNetConfig", "build_model"]


def _build_minkunet(name: str, in_channels: int, num_classes: int, **options: Any) -> MinkUNet:
    fields = [field.name for field in dataclasses.fields(MinkUNetConfig)]
    for option in options:
        if option not in fields:
            raise ValueError(
                f"model {name!r} has no option {option!r}{_nearest(option, fields)}; "
                f"it takes {', '.join(fields)}"
            )
    preset = PRESETS.get(name)
    if preset is not None:
        return MinkUNet(in_channels, num_classes, dataclasses.replace(preset, **options))
    missing = [option for option in ("depths", "widths") if option not in options]
    if missing:
        raise ValueError(
            f"model {name!r} needs the option(s) {', '.join(missing)}; "
            f"presets that bring their own: {', '.join(PRESETS)}"
        )
    return MinkUNet(in_channels, num_classes, MinkUNetConfig(**options))


MODELS: dict[str, Callable[..., nn.Module]] = {
    name: partial(_build_minkunet, name) for name in ("minkunet", *PRESETS)
}


def build_model(name: str, in_channels: int, num_classes: int, **options: Any) -> nn.Module:
    """Build a model of the registry.

    name: a key of `MODELS`. in_channels, num_classes: positive integers. options: what the model
    takes beyond these; for the MinkUNet family the fields of `MinkUNetConfig`, which override
    those of a preset.

    Raises ValueError for an unknown name or option (with the nearest valid one) or a bad value.
    """
    if name not in MODELS:
        raise ValueError(
            f"unknown model {name!r}{_nearest(name, list(MODELS))}; available: {', '.join(MODELS)}"
        )
    for argument, value in (("in_channels", in_channels), ("num_classes", num_classes)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{argument} must be a positive integer, got {value!r}")
    return MODELS[name](in_channels, num_classes, **options)


def _nearest(word: str, words: list[str]) -> str:
    matches = difflib.get_close_matches(word, words, n=1)
    return f" (did you mean {matches[0]!r}?)" if matches else ""
