"""Colours: of categories without a palette, of the error view, and of continuous values."""

from __future__ import annotations

import colorsys

import numpy as np

# From dark blue over green to yellow: lightness rises all the way, so it also reads without hue.
CONTINUOUS_SCALE: tuple[tuple[float, str], ...] = (
    (0.0, "#3b2f6b"),
    (0.2, "#34618d"),
    (0.4, "#2a8f8c"),
    (0.6, "#4cb874"),
    (0.8, "#a6d356"),
    (1.0, "#f7e64b"),
)

IGNORED_COLOR = "#7c8490"
CORRECT_COLOR = "#8fb5a6"
WRONG_COLOR = "#e8463a"


def category_colors(count: int) -> list[str]:
    """``count`` distinct colours as '#rrggbb'; the first ones are always the same."""
    colors = []
    for step in range(count):
        # Golden-ratio steps keep each new hue far from those before it.
        hue = (0.58 + 0.61803398875 * step) % 1.0
        lightness = (0.52, 0.64, 0.42)[step % 3]
        red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.55)
        colors.append(rgb_hex((round(255 * red), round(255 * green), round(255 * blue))))
    return colors


def rgb_hex(color: tuple[int, int, int] | np.ndarray) -> str:
    """'#rrggbb' of three values 0..255."""
    red, green, blue = (int(value) for value in color)
    return f"#{red:02x}{green:02x}{blue:02x}"


def hex_rgb(color: str) -> tuple[int, int, int]:
    """Three values 0..255 of '#rrggbb'."""
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def value_range(values: np.ndarray) -> tuple[float, float]:
    """Limits of a colour scale: the extremes, or the 1st and 99th percentile where tails are long.

    values: [P]; NaN and infinities are left out. (0, 1) where nothing finite is left.
    """
    finite = values[np.isfinite(values)].astype(np.float64)
    if not len(finite):
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    inner_low, inner_high = (float(value) for value in np.percentile(finite, (1, 99)))
    # A few stray values must not push everything else into one colour.
    if inner_high > inner_low and (high - low) > 2.0 * (inner_high - inner_low):
        low, high = inner_low, inner_high
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def scale_colors(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """uint8 [P, 3] of `CONTINUOUS_SCALE`; values outside the limits take the end colours."""
    stops = np.array([stop for stop, _ in CONTINUOUS_SCALE])
    table = np.array([hex_rgb(color) for _, color in CONTINUOUS_SCALE], dtype=np.float64)
    position = np.clip((np.nan_to_num(values, nan=low) - low) / (high - low), 0.0, 1.0)
    channels = [np.interp(position, stops, table[:, axis]) for axis in range(3)]
    return np.rint(np.stack(channels, axis=1)).astype(np.uint8)


def shading(normal: np.ndarray) -> np.ndarray:
    """Brightness uint8 [P] of surfaces under two fixed lamps; 255 = fully lit or unknown normal.

    normal: float [P, 3] of unit length, or zero where unknown. Both sides of a surface are lit, as
    scans do not always know which is which.
    """
    lamps = np.array([[0.35, 0.20, 0.92], [-0.80, 0.55, 0.25]])
    lit = np.abs(np.asarray(normal, dtype=np.float64) @ lamps.T) @ np.array([0.75, 0.25])
    known = (np.asarray(normal) != 0).any(axis=1)
    brightness = np.where(known, 0.62 + 0.38 * np.clip(lit / 0.75, 0.0, 1.0), 1.0)
    return np.rint(255 * brightness).astype(np.uint8)
