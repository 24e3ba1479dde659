"""A spinning lidar of 64 beams: its rays, and which pulses come back how strong.

The elevations are those of the Velodyne HDL-64E: 32 beams from +2 degrees down in steps of 1/3
degree, 32 more down to about -24.8 degrees in steps of about 1/2 degree (the sensor's data sheet).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

NUM_BEAMS = 64
_UPPER_DEG = 2.0 - np.arange(32) / 3.0
_LOWER_DEG = -8.87 - np.arange(32) * (24.8 - 8.87) / 31.0
ELEVATIONS_DEG = np.concatenate([_UPPER_DEG, _LOWER_DEG])

_GRAZING_COSINE = 0.06
_LOST = 0.012
_WEAKEST = 0.05  # of what a white wall at 40 m returns: pulses below it are lost
_MAX_INTENSITY = 0.99


@dataclass(frozen=True)
class LidarSettings:
    """Resolution and reach of the scans.

    ``azimuth_steps`` pulses per beam and turn: 512 give some 29,000 points a scan, 2083 (those of
    the real sensor) some 120,000. Echoes beyond ``max_range_m`` are lost.

    Raises:
        ValueError: a number is outside its range.
    """

    azimuth_steps: int = 512
    max_range_m: float = 80.0

    def __post_init__(self) -> None:
        if not 16 <= self.azimuth_steps <= 4500:
            raise ValueError(f"azimuth_steps: expected 16..4500, got {self.azimuth_steps}")
        if not 5.0 <= self.max_range_m <= 120.0:
            raise ValueError(f"max_range_m: expected 5..120 metres, got {self.max_range_m}")


@lru_cache(maxsize=2)
def ray_directions(azimuth_steps: int) -> np.ndarray:
    """Unit directions float32 [64 * A, 3] in the sensor's frame, in the order of the pulses.

    Beam by beam from the top, each from straight ahead to the left and round.
    """
    elevation = np.radians(ELEVATIONS_DEG)[:, None]
    # Beams are not fired at the same azimuths: each is turned by a part of a step.
    shift = (np.arange(NUM_BEAMS) * 0.618 % 1.0)[:, None]
    azimuth = (np.arange(azimuth_steps) + shift) * (2 * np.pi / azimuth_steps)
    level = np.cos(elevation)
    rays = np.stack(
        [
            level * np.cos(azimuth), level * np.sin(azimuth),
            np.broadcast_to(np.sin(elevation), azimuth.shape),
        ],
        -1,
    )  # fmt: skip
    directions = rays.reshape(-1, 3).astype(np.float32)
    directions.setflags(write=False)
    return directions


def beam_gains(rng: np.random.Generator) -> np.ndarray:
    """How much each beam of one sensor, and the sensor as a whole, over- or understates: [64]."""
    return (rng.uniform(0.8, 1.2) * rng.normal(1.0, 0.06, NUM_BEAMS)).astype(np.float32)


def returned(
    rng: np.random.Generator, distance: np.ndarray, cosine: np.ndarray, reflectance: np.ndarray,
    dropout: np.ndarray, max_range_m: float,
) -> np.ndarray:  # fmt: skip
    """Which pulses [R] come back: not grazing, not from dark surfaces far away, not through glass.

    Args:
        rng: draws one number a pulse.
        distance: metres, inf where nothing was hit.
        cosine: of the angle between ray and normal, 0..1.
        reflectance: of the surface, 0..1.
        dropout: share of pulses the surface loses.
        max_range_m: reach of the sensor.
    """
    grazing = np.clip((_GRAZING_COSINE - cosine) / _GRAZING_COSINE, 0.0, 1.0)
    strength = reflectance * (0.3 + 0.7 * cosine) * (40.0 / np.maximum(distance, 1.0)) ** 2
    weak = np.clip(1.0 - strength / _WEAKEST, 0.0, 1.0)
    kept = rng.random(len(distance), dtype=np.float32) >= _LOST + dropout + grazing + weak
    return np.asarray(kept & (distance < max_range_m))


def intensities(
    rng: np.random.Generator, distance: np.ndarray, cosine: np.ndarray, reflectance: np.ndarray,
    gain: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Intensity float32 [R] in steps of 0.01 from 0 to 0.99, as the files of the data set have."""
    falloff = 1.0 / (1.0 + (distance / 80.0) ** 2)
    value = gain * reflectance * (0.4 + 0.6 * cosine) * falloff
    value += rng.standard_normal(len(distance), dtype=np.float32) * 0.02
    return (np.clip(np.round(value * 100.0), 0, 100 * _MAX_INTENSITY) / 100.0).astype(np.float32)


def range_noise(rng: np.random.Generator, distance: np.ndarray) -> np.ndarray:
    """Error of the measured distances, float32 [R] metres."""
    scale = (0.012 + 0.0003 * distance).astype(np.float32)
    return rng.standard_normal(len(distance), dtype=np.float32) * scale
