"""Colour augmentation; clouds without colour pass through unchanged."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pointseg.data.transforms.base import (
    check_non_negative,
    check_probability,
    column_range,
    register,
)
from pointseg.data.types import PointCloud

_LEVELS = np.arange(256, dtype=np.float32)
_NUM_QUANTILES = 1 << 16


def _map_levels(color: NDArray[np.uint8], curves: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Apply a curve [3, 256] to each channel: as exact as arithmetic on the points, and faster."""
    table = np.clip(np.rint(curves), 0, 255).astype(np.uint8)
    out = np.empty_like(color)
    for channel in range(3):
        np.take(table[channel], color[:, channel], out=out[:, channel])
    return out


@register("chromatic_auto_contrast")
@dataclass(frozen=True)
class ChromaticAutoContrast:
    """Stretch each channel to 0..255 and blend the result with the original.

    ``blend`` is the share of the stretched colours, drawn uniformly from [0, 1] where it is None.
    """

    probability: float = 0.2
    blend: float | None = None

    def __post_init__(self) -> None:
        check_probability(self.probability)
        if self.blend is not None:
            check_probability(self.blend, "blend")

    def __call__(self, cloud: PointCloud, rng: np.random.Generator) -> PointCloud:
        if rng.random() >= self.probability or cloud.color is None or cloud.num_points == 0:
            return cloud
        low, high = (v.astype(np.float32)[:, None] for v in column_range(cloud.color))
        blend = rng.random() if self.blend is None else self.blend
        stretched = (_LEVELS - low) * (255 / np.maximum(high - low, 1))
        # A channel of one value has no contrast to stretch.
        stretched = np.where(high > low, stretched, _LEVELS)
        curves = np.float32(blend) * stretched + np.float32(1 - blend) * _LEVELS
        return cloud.replace(color=_map_levels(cloud.color, curves))


@register("chromatic_translation")
@dataclass(frozen=True)
class ChromaticTranslation:
    """Add one offset per channel, uniform in ``[-ratio, ratio] * 255``."""

    ratio: float = 0.05
    probability: float = 0.95

    def __post_init__(self) -> None:
        check_probability(self.probability)
        check_non_negative(ratio=self.ratio)

    def __call__(self, cloud: PointCloud, rng: np.random.Generator) -> PointCloud:
        if rng.random() >= self.probability or cloud.color is None:
            return cloud
        offset = (rng.uniform(-1, 1, size=(3, 1)) * 255 * self.ratio).astype(np.float32)
        return cloud.replace(color=_map_levels(cloud.color, _LEVELS + offset))


@register("chromatic_jitter")
@dataclass(frozen=True)
class ChromaticJitter:
    """Add Gaussian noise of ``std * 255`` to every point's channels, rounded to levels."""

    std: float = 0.05
    probability: float = 0.95

    def __post_init__(self) -> None:
        check_probability(self.probability)
        check_non_negative(std=self.std)

    def __call__(self, cloud: PointCloud, rng: np.random.Generator) -> PointCloud:
        if rng.random() >= self.probability or cloud.color is None:
            return cloud
        noise = _gaussian_levels(self.std).take(
            rng.integers(_NUM_QUANTILES, size=cloud.color.shape, dtype=np.uint16)
        )
        noise += cloud.color
        return cloud.replace(color=np.clip(noise, 0, 255, out=noise).astype(np.uint8))


@functools.lru_cache(maxsize=8)
def _gaussian_levels(std: float) -> NDArray[np.int16]:
    """Gaussian noise of ``std * 255``, rounded to levels: its quantiles, one as likely as another.

    Levels are whole numbers, so noise may be rounded before it is added; and drawing one of 65,536
    values is nine times as fast as drawing from the normal distribution.
    """
    share = (torch.arange(_NUM_QUANTILES, dtype=torch.float64) + 0.5) / _NUM_QUANTILES
    levels = (torch.special.ndtri(share) * (std * 255)).round().clamp(-255, 255)
    table: NDArray[np.int16] = levels.to(torch.int16).numpy()
    table.setflags(write=False)
    return table
