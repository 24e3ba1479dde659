"""Light and surface texture: what colour a scanned point gets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pointseg.data.synthetic.mesh import TriangleMesh
from pointseg.data.synthetic.palettes import FABRIC, METAL, PRINT, WHITE, WOOD
from pointseg.data.synthetic.space import Space

# Cell of the texture's noise in metres on x, y, z, by pattern: plain, grain, weave, tiles, print.
_TEXTURE_CELL_M = np.array(
    [[0.3, 0.3, 0.3], [0.05, 0.05, 0.6], [0.04, 0.04, 0.04], [0.3, 0.3, 0.3], [0.16, 0.16, 0.14]],
    np.float32,
)

_INKS = np.array(WOOD + WHITE + FABRIC + METAL, np.float32)


@dataclass(frozen=True)
class Lighting:
    """A room's light: gain and tint, the share that is ambient, and one lamp (room frame)."""

    gain: np.ndarray
    ambient: float
    lamp: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator, space: Space) -> Lighting:
        gain = float(rng.uniform(0.62, 1.12))
        warmth = float(rng.uniform(-0.10, 0.14))
        green = float(rng.uniform(-0.04, 0.04))
        tint = np.array([1 + warmth, 1 + green, 1 - warmth])
        lamp = np.array(
            [
                space.width * rng.uniform(0.3, 0.7),
                space.depth * rng.uniform(0.3, 0.7),
                space.height - 0.2,
            ]
        )
        return cls((gain * tint).astype(np.float32), float(rng.uniform(0.5, 0.7)), lamp)


def _hash(cells: np.ndarray, salt: np.ndarray) -> np.ndarray:
    """Pseudo-random uint32 of integer cells [P, 3] and a salt [P]."""
    u = cells.astype(np.int32).view(np.uint32)
    h = u[:, 0] * np.uint32(73856093) ^ u[:, 1] * np.uint32(19349663)
    h ^= u[:, 2] * np.uint32(83492791) ^ salt.astype(np.uint32) * np.uint32(2654435761)
    h ^= h >> np.uint32(15)
    h *= np.uint32(2246822519)
    h ^= h >> np.uint32(13)
    return h


def surface_colors(
    rng: np.random.Generator,
    lighting: Lighting,
    mesh: TriangleMesh,
    part: np.ndarray,
    xyz_m: np.ndarray,
    normals: np.ndarray,
    aligned: np.ndarray,
    view: np.ndarray,
    num_views: int,
) -> np.ndarray:
    """Colours uint8 [P, 3] of points on a mesh: material, texture, light, exposure, noise.

    Args:
        rng: source of the exposures and the pixel noise.
        lighting: the room's light.
        mesh: gives the material of each part.
        part: int32 [P], the part each point lies on.
        xyz_m: float32 [P, 3], in the scan's frame.
        normals: float32 [P, 3], in the scan's frame.
        aligned: float64 [4, 4], scan's frame to room's frame.
        view: int64 [P], the view each colour was taken in.
        num_views: exposures drawn.
    """
    turn, move = aligned[:3, :3].astype(np.float32), aligned[:3, 3].astype(np.float32)
    x = turn[0, 0] * xyz_m[:, 0] + turn[0, 1] * xyz_m[:, 1] + move[0]
    y = turn[1, 0] * xyz_m[:, 0] + turn[1, 1] * xyz_m[:, 1] + move[1]
    local = np.stack([x, y, xyz_m[:, 2] + move[2]], 1)
    pattern = mesh.pattern[part]
    cells = np.floor(local / _TEXTURE_CELL_M[pattern] + np.float32(0.37))
    noise = _hash(cells, part)
    contrast = mesh.contrast[part]
    swing = (noise & np.uint32(255)).astype(np.float32) * np.float32(1 / 127.5) - 1.0
    color = mesh.rgb[part] * (1.0 + np.where(pattern == PRINT, 0.0, contrast) * swing)[:, None]
    printed = np.flatnonzero(pattern == PRINT)
    ink = _INKS[(noise[printed] >> np.uint32(8)) % np.uint32(len(_INKS))]
    color[printed] += contrast[printed, None] * (ink - color[printed])
    lamp = turn.T @ (lighting.lamp.astype(np.float32) - move)
    to_lamp = lamp - xyz_m
    far = np.sqrt(np.einsum("pi,pi->p", to_lamp, to_lamp) + np.float32(1e-6))
    cosine = np.einsum("pi,pi->p", to_lamp, normals) / far
    light = lighting.ambient + (1.1 - lighting.ambient) * np.clip(cosine, 0.0, 1.0)
    exposure = rng.uniform(0.92, 1.08, num_views).astype(np.float32)
    color *= (light * exposure[view])[:, None] * lighting.gain
    color += rng.standard_normal(color.shape, dtype=np.float32) * np.float32(0.015)
    return (np.clip(color, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
