"""The views of test-time augmentation: the same points, turned, mirrored, scaled and shifted.

A view is a fixed transform of the raw points; nothing is drawn at random. Points keep their order,
so predictions of different views are those of the same points.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from pointseg.data import PointCloud, SceneDataset, VoxelScene, voxelize_cloud
from pointseg.data.transforms.geometric import (
    Pivot,
    check_pivot,
    rotation_matrix,
    transform_linearly,
)


@dataclass(frozen=True)
class View:
    """One transform: mirror, turn, scale, then shift against the voxel grid.

    yaw_deg   angle about z, in [0, 360)
    mirrored  whether x is mirrored first; y mirrored is that, turned by 180 degrees more
    scale     factor of all coordinates
    offset    shift along each axis, in voxels
    about     what mirroring and turning leave in place
    """

    yaw_deg: float = 0.0
    mirrored: bool = False
    scale: float = 1.0
    offset: float = 0.0
    about: Pivot = "middle"

    def apply(self, cloud: PointCloud, voxel_size_m: float) -> PointCloud:
        """The cloud as this view shows it; normals follow. The first view of all is the cloud."""
        if (self.yaw_deg or self.mirrored) and cloud.num_points:
            cloud = transform_linearly(cloud, self._matrix(), self.about)
        if self.scale != 1:
            cloud = cloud.replace(xyz_m=cloud.xyz_m * np.float32(self.scale))
        if self.offset:
            cloud = cloud.replace(xyz_m=cloud.xyz_m + np.float32(self.offset * voxel_size_m))
        return cloud

    def _matrix(self) -> np.ndarray:
        turn = rotation_matrix(0.0, 0.0, math.radians(self.yaw_deg))
        turn[np.abs(turn) < 1e-12] = 0.0  # quarter turns exchange axes, to the last bit
        return turn @ np.diag([-1.0 if self.mirrored else 1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Views:
    """All products of rotations, flips, scales and offsets, each distinct view once.

    rotations  angles about z, equally spaced from 0
    flips      axes that may be mirrored: none, x, y, or xy (none, x, y and both)
    scales     factors of the coordinates, each once
    offsets    positions of the voxel grid, equally spaced along its diagonal from 0
    about      what rotations and flips leave in place: the middle of the bounding box, as the
               transforms of training do by default, or the origin

    Raises ValueError that names the field.
    """

    rotations: int = 1
    flips: str = "none"
    scales: tuple[float, ...] = (1.0,)
    offsets: int = 1
    about: Pivot = "middle"

    def __post_init__(self) -> None:
        for name in ("rotations", "offsets"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.flips not in _MIRRORS:
            raise ValueError(f"flips must be one of {', '.join(_MIRRORS)}, got {self.flips!r}")
        check_pivot(self.about)
        object.__setattr__(self, "scales", tuple(self.scales))
        finite = all(math.isfinite(scale) and scale > 0 for scale in self.scales)
        if not self.scales or not finite or len(set(self.scales)) != len(self.scales):
            raise ValueError(f"scales must be positive numbers, each once, got {self.scales}")

    def __iter__(self) -> Iterator[View]:
        return iter(self._distinct())

    def __len__(self) -> int:
        return len(self._distinct())

    def _distinct(self) -> tuple[View, ...]:
        products = product(
            self.scales, range(self.offsets), _MIRRORS[self.flips], range(self.rotations)
        )
        return tuple(
            dict.fromkeys(
                View(
                    yaw_deg=self._yaw_deg(step, half_turns),
                    mirrored=mirrored,
                    scale=scale,
                    offset=position / self.offsets,
                    about=self.about,
                )
                for scale, position, (mirrored, half_turns), step in products
            )
        )

    def _yaw_deg(self, step: int, half_turns: int) -> float:
        # In half steps, which are whole numbers, so that equal angles are equal floats.
        half_steps = (2 * step + half_turns * self.rotations) % (2 * self.rotations)
        return half_steps * 180.0 / self.rotations

    @property
    def is_identity(self) -> bool:
        """Whether the only view is the scene itself."""
        return self._distinct() == (View(about=self.about),)

    @property
    def turns(self) -> bool:
        """Whether any view is turned or mirrored, so that ``about`` matters."""
        return any(view.yaw_deg or view.mirrored for view in self)

    @property
    def statement(self) -> str:
        """Such as ``8 views, 4 rotations x 2 flips (x)``: what there is one of is left out."""
        scales = ", ".join(f"{scale:g}" for scale in self.scales)
        factors = [
            (self.rotations > 1, f"{self.rotations} rotations"),
            (self.flips != "none", f"{len(_MIRRORS[self.flips])} flips ({self.flips})"),
            (self.scales != (1.0,), f"{_counted(len(self.scales), 'scale')} ({scales})"),
            (self.offsets > 1, f"{self.offsets} grid offsets"),
        ]
        text = " x ".join(factor for is_there, factor in factors if is_there) or "identity"
        about = ", about the origin" if self.turns and self.about == "origin" else ""
        return f"{_counted(len(self), 'view')}, {text}{about}"


_MIRRORS = {
    "none": ((False, 0),),
    "x": ((False, 0), (True, 0)),
    "y": ((False, 0), (True, 1)),
    "xy": ((False, 0), (True, 0), (True, 1), (False, 1)),
}
"""For each value of ``flips``: whether x is mirrored, and how many half turns follow."""


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("s" if number > 1 else "")


PRESETS: dict[str, Views] = {
    "flip": Views(flips="xy"),
    "rotate": Views(rotations=4),
    "dihedral": Views(rotations=4, flips="x"),
    "shift": Views(offsets=4),
    "full": Views(rotations=4, flips="x", scales=(0.95, 1.0, 1.05)),
}
"""Views by name: 4, 4, 8, 4 and 24 of them."""


def parse_views(text: str, about: Pivot = "middle") -> Views:
    """Views from a preset's name, settings such as ``rotations=4 scales=0.95,1,1.05``, or both.

    Settings are separated by spaces and change those of the preset; ``about`` is what holds where
    none of them says it. ValueError names what is unknown or malformed.
    """
    words = text.split()
    views = Views()
    if words and "=" not in words[0]:
        name = words.pop(0)
        if name not in PRESETS:
            raise ValueError(f"unknown views {name!r} (valid: {', '.join(PRESETS)}, or settings)")
        views = PRESETS[name]
    elif not words:
        raise ValueError(f"expected views: one of {', '.join(PRESETS)}, or settings; got nothing")
    views = dataclasses.replace(views, about=about)
    settings: dict[str, Any] = {}
    for word in words:
        key, _, value = word.partition("=")
        if key not in _PARSERS or key in settings:
            raise ValueError(f"expected KEY=VALUE, keys {', '.join(_PARSERS)} once; got {word!r}")
        try:
            settings[key] = _PARSERS[key](value)
        except ValueError as error:
            raise ValueError(f"{word}: {error}") from error
    return dataclasses.replace(views, **settings)


_PARSERS: dict[str, Any] = {
    "rotations": int,
    "flips": str,
    "scales": lambda text: tuple(float(part) for part in text.split(",")),
    "offsets": int,
    "about": str,
}


def voxelized_views(
    cloud: PointCloud, views: Views, voxel_size_m: float, features: Sequence[str]
) -> Iterator[VoxelScene]:
    """Each view of a cloud, voxelized anew."""
    for view in views:
        yield voxelize_cloud(view.apply(cloud, voxel_size_m), voxel_size_m, features)


class ViewedScenes(Dataset[VoxelScene]):
    """The scenes of a dataset in all views: those of the first scene, of the second, and so on.

    With one view, the scene itself, these are the scenes of the dataset.
    """

    def __init__(self, dataset: SceneDataset, views: Views) -> None:
        self._dataset = dataset
        self._views = tuple(views)

    def __len__(self) -> int:
        return len(self._dataset) * len(self._views)

    def __getitem__(self, index: int) -> VoxelScene:
        if not 0 <= index < len(self):
            raise IndexError(f"index must be in [0, {len(self)}), got {index}")
        scene, view = divmod(index, len(self._views))
        size_m = self._dataset.voxel_size_m
        cloud = self._views[view].apply(self._dataset.augmented(scene), size_m)
        return voxelize_cloud(cloud, size_m, self._dataset.features)
