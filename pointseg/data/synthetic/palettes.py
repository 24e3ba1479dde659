"""Colours of materials, shared between all classes.

A class never owns a colour: a cabinet, a door and a bed frame draw from the same woods, walls and
refrigerators from the same whites, sofas and curtains from the same fabrics.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

PLAIN, GRAIN, WEAVE, TILES, PRINT = range(5)


class Material(NamedTuple):
    """Colour in [0, 1], pattern id, its contrast, and the share of rays that return nothing."""

    rgb: tuple[float, float, float]
    pattern: int = PLAIN
    contrast: float = 0.05
    dropout: float = 0.0

    def shade(self, gain: float) -> Material:
        """The same material, lighter or darker."""
        r, g, b = (min(1.0, max(0.0, value * gain)) for value in self.rgb)
        return self._replace(rgb=(r, g, b))


WOOD = (
    (0.76, 0.60, 0.42), (0.64, 0.45, 0.28), (0.50, 0.33, 0.20), (0.36, 0.24, 0.16),
    (0.84, 0.72, 0.55), (0.58, 0.42, 0.32), (0.70, 0.53, 0.33), (0.30, 0.21, 0.17),
)  # fmt: skip
WHITE = (
    (0.92, 0.92, 0.90), (0.86, 0.84, 0.79), (0.95, 0.93, 0.88), (0.80, 0.81, 0.82),
    (0.88, 0.85, 0.74), (0.74, 0.74, 0.72),
)  # fmt: skip
FABRIC = (
    (0.35, 0.38, 0.44), (0.55, 0.52, 0.48), (0.72, 0.68, 0.60), (0.24, 0.30, 0.42),
    (0.52, 0.22, 0.20), (0.30, 0.42, 0.34), (0.62, 0.55, 0.34), (0.20, 0.20, 0.22),
    (0.60, 0.64, 0.68), (0.44, 0.34, 0.44), (0.80, 0.76, 0.70), (0.66, 0.44, 0.34),
)  # fmt: skip
METAL = (
    (0.62, 0.63, 0.65), (0.45, 0.46, 0.48), (0.75, 0.75, 0.74), (0.18, 0.18, 0.19),
    (0.54, 0.50, 0.44),
)  # fmt: skip

_GROUPS = {
    "wood": (WOOD, GRAIN, 0.10, 0.0),
    "white": (WHITE, PLAIN, 0.04, 0.0),
    "fabric": (FABRIC, WEAVE, 0.10, 0.0),
    "painted": (FABRIC, PLAIN, 0.04, 0.0),
    "metal": (METAL, PLAIN, 0.05, 0.05),
    "tile": (WHITE + METAL[:3] + WOOD[:1], TILES, 0.10, 0.02),
}


def pick(rng: np.random.Generator, *groups: str) -> Material:
    """Draw a material from one of the named groups, with a colour of its own."""
    colors, pattern, contrast, dropout = _GROUPS[groups[int(rng.integers(len(groups)))]]
    base = colors[int(rng.integers(len(colors)))]
    gain = 1.0 + float(rng.uniform(-0.12, 0.12))
    tint = rng.uniform(-0.05, 0.05, 3)
    r, g, b = (min(0.98, max(0.03, base[i] * gain + float(tint[i]))) for i in range(3))
    return Material((r, g, b), pattern, contrast * float(rng.uniform(0.5, 1.5)), dropout)


def hard(rng: np.random.Generator) -> Material:
    """Draw a material of case furniture: wood, white, painted or metal."""
    return pick(rng, "wood", "wood", "white", "painted", "metal")


def soft(rng: np.random.Generator) -> Material:
    """Draw a cloth of any kind."""
    return pick(rng, "fabric", "fabric", "white")


def glossy(rng: np.random.Generator) -> Material:
    """Draw ceramics, steel or lacquer."""
    return pick(rng, "white", "white", "metal", "painted")
