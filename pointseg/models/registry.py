"""Names of models: families, whose shape is all options, and presets, whose options override."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from pointseg.models import codedvtr, minkunet, spvcnn
from pointseg.models.options import check_names, from_options, nearest, updated
from pointseg.models.unet import UNetConfig

REQUIRED = ("depths", "widths")


@dataclass(frozen=True)
class Family:
    """A network class, the dataclass of its shape, and shapes that have a name."""

    model: Callable[[int, int, Any], nn.Module]
    config: type[UNetConfig]
    presets: dict[str, Any]

    def build(self, name: str, in_channels: int, num_classes: int, **options: Any) -> nn.Module:
        """The network called `name`, with `options` over those of its preset."""
        return self.model(in_channels, num_classes, self._configure(name, options))

    def _configure(self, name: str, options: dict[str, Any]) -> UNetConfig:
        owner = f"model {name!r}"
        start = self.presets.get(name)
        if start is not None:
            config: UNetConfig = updated(start, options, owner)
            return config
        check_names(options, [field.name for field in dataclasses.fields(self.config)], owner)
        missing = [option for option in REQUIRED if option not in options]
        if missing:
            raise ValueError(
                f"{owner} needs the option(s) {', '.join(missing)}; "
                f"presets that bring their own: {', '.join(self.presets)}"
            )
        return from_options(self.config, options, owner)


FAMILIES: dict[str, Family] = {
    "minkunet": Family(minkunet.MinkUNet, minkunet.MinkUNetConfig, minkunet.PRESETS),
    "codedvtr": Family(codedvtr.CodedVTR, codedvtr.CodedVTRConfig, codedvtr.PRESETS),
    "spvcnn": Family(spvcnn.SPVCNN, spvcnn.SPVCNNConfig, spvcnn.PRESETS),
}

PRESETS: dict[str, UNetConfig] = {
    name: config for family in FAMILIES.values() for name, config in family.presets.items()
}

MODELS: dict[str, Callable[..., nn.Module]] = {
    name: partial(family.build, name)
    for family_name, family in FAMILIES.items()
    for name in dict.fromkeys((family_name, *family.presets))
}


def build_model(name: str, in_channels: int, num_classes: int, **options: Any) -> nn.Module:
    """Build a model of the registry.

    name: a key of `MODELS`. in_channels, num_classes: positive integers. options: what the model
    takes beyond these, the fields of its family's configuration (`MinkUNetConfig`,
    `CodedVTRConfig`, `SPVCNNConfig`); they override those of a preset, mappings key by key.

    Raises ValueError for an unknown name or option (with the nearest valid one) or a bad value.
    """
    if name not in MODELS:
        raise ValueError(
            f"unknown model {name!r}{nearest(name, MODELS)}; available: {', '.join(MODELS)}"
        )
    for argument, value in (("in_channels", in_channels), ("num_classes", num_classes)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{argument} must be a positive integer, got {value!r}")
    return MODELS[name](in_channels, num_classes, **options)
