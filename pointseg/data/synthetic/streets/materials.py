"""How much of a lidar's light surfaces return, shared between all classes.

A class never owns a material: walls, roads, kerbs and low fences are all mineral, trucks, doors,
poles and signs are all painted. What a group looks like changes from street to street.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pointseg.data.synthetic.palettes import PLAIN, Material


class _Group(NamedTuple):
    """Range of reflectance, how far it varies on one surface, share of pulses that are lost."""

    low: float
    high: float
    contrast: float
    dropout: float


_GROUPS = {
    "mineral": _Group(0.22, 0.52, 0.12, 0.0),
    "painted": _Group(0.10, 0.62, 0.05, 0.03),
    "metal": _Group(0.18, 0.58, 0.08, 0.06),
    "wood": _Group(0.22, 0.52, 0.16, 0.0),
    "plant": _Group(0.24, 0.52, 0.22, 0.03),
    "cloth": _Group(0.10, 0.60, 0.12, 0.0),
    "rubber": _Group(0.06, 0.20, 0.20, 0.10),
    "glass": _Group(0.05, 0.22, 0.30, 0.62),
    "reflector": _Group(0.62, 1.00, 0.15, 0.0),
}


@dataclass(frozen=True)
class Palette:
    """The materials of one street: every group's reflectance shifted by an amount of its own."""

    gains: dict[str, float]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Palette:
        return cls({name: float(rng.uniform(0.8, 1.25)) for name in _GROUPS})

    def pick(self, rng: np.random.Generator, *groups: str) -> Material:
        """A grey material (a lidar sees one wavelength) of one of the named groups."""
        name = groups[int(rng.integers(len(groups)))]
        group = _GROUPS[name]
        value = min(1.0, float(rng.uniform(group.low, group.high)) * self.gains[name])
        contrast = group.contrast * float(rng.uniform(0.6, 1.4))
        return Material((value, value, value), PLAIN, contrast, group.dropout)
