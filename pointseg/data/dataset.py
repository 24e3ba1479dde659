"""The dataset that training and evaluation iterate over."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from pointseg.data.labels import LabelMap
from pointseg.data.transforms import CropToBudget, MixingTransform, SceneTransform
from pointseg.data.types import BrokenScene, PointCloud, SceneSource, VoxelScene
from pointseg.data.voxelization import check_features, num_channels, voxelize_cloud


class SceneDataset(Dataset[VoxelScene]):
    """Scenes, transformed and voxelized.

    What comes out for a scene is a function of (seed, epoch, index) alone: neither the number of
    worker processes nor the order of access changes a bit of it. Where a transform mixes in another
    scene, that is any of the others, drawn uniformly, after the transforms that come before and do
    not mix.

    clouds        a sequence of clouds; one with ``scene_ids`` and ``label_map`` of its own (such as
                  :class:`Scenes`) is read a scene at a time
    voxel_size_m  edge of a voxel
    features      feature channels by name, see ``voxelization.FEATURES``
    transforms    applied in order to the raw points; none for evaluation
    label_map     where ``clouds`` has none
    """

    def __init__(
        self,
        clouds: SceneSource | Sequence[PointCloud],
        voxel_size_m: float,
        features: Sequence[str] = ("color", "normal"),
        transforms: Sequence[SceneTransform] = (),
        seed: int = 0,
        label_map: LabelMap | None = None,
    ) -> None:
        if not voxel_size_m > 0:
            raise ValueError(f"voxel_size_m must be > 0, got {voxel_size_m}")
        if seed < 0:
            raise ValueError(f"seed must be >= 0, got {seed}")
        self._clouds = clouds
        self.voxel_size_m = float(voxel_size_m)
        self.features = check_features(features)
        self.seed = seed
        ids = getattr(clouds, "scene_ids", None)
        if ids is None:
            ids = (clouds[i].scene_id for i in range(len(clouds)))
        self.scene_ids: tuple[str, ...] = tuple(ids)
        found = label_map if label_map is not None else getattr(clouds, "label_map", None)
        if found is None:
            raise ValueError("label_map must be given where clouds has none of its own")
        self.label_map: LabelMap = found
        self.transforms = tuple(
            t.with_classes(found) if isinstance(t, MixingTransform) else t for t in transforms
        )
        mixes = any(isinstance(t, MixingTransform) for t in self.transforms)
        if mixes and len(clouds) < 2:
            raise ValueError(
                f"mixing needs two scenes, but there is {len(clouds)}; add scenes, or take the "
                "mixing transforms out of data.transforms"
            )
        # Shared memory, so that worker processes that live on see the epoch change.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    @property
    def num_channels(self) -> int:
        """Feature channels C of every scene."""
        return num_channels(self.features)

    @property
    def epoch(self) -> int:
        return int(self._epoch.item())

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose augmentations come out next; call it between epochs."""
        if epoch < 0:
            raise ValueError(f"epoch must be >= 0, got {epoch}")
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self._clouds)

    def point_cloud(self, index: int) -> PointCloud:
        """The raw scene, no transform applied, without points of other scans."""
        return self._clouds[index].own()

    def num_points(self, index: int) -> int:
        """Points of a scene without reading it, at most those that ``crop_to_budget`` leaves.

        Points of other scans (``PointCloud.context``), and of scenes that are mixed in, come on
        top.
        """
        counted: Callable[[int], int] | None = getattr(self._clouds, "num_points", None)
        found = self._clouds[index].num_points if counted is None else counted(index)
        crops = (t.max_points for t in self.transforms if isinstance(t, CropToBudget))
        return min((found, *crops))

    def augmented(self, index: int) -> PointCloud:
        """The scene after the transforms, for the current epoch."""
        cloud = self._augmented(index, self._clouds.__getitem__)
        assert cloud is not None  # what cannot be read is an error
        return cloud

    def __getitem__(self, index: int) -> VoxelScene:
        return voxelize_cloud(self.augmented(index), self.voxel_size_m, self.features)

    def read_or_skip(self, index: int) -> tuple[VoxelScene | None, tuple[BrokenScene, ...]]:
        """The scene as ``dataset[index]`` gives it, and scenes that could not be read for it.

        None where it is broken itself; where the scene to mix in is, it comes unmixed. Only what
        reading raises (ValueError, OSError) makes a scene broken: a transform that does not fit the
        data is an error all the same.
        """
        broken: list[BrokenScene] = []

        def read(other: int) -> PointCloud | None:
            cloud = self.cloud_or_broken(other)
            if isinstance(cloud, BrokenScene):
                broken.append(cloud)
                return None
            return cloud

        cloud = self._augmented(index, read)
        scene = None if cloud is None else voxelize_cloud(cloud, self.voxel_size_m, self.features)
        return scene, tuple(broken)

    def cloud_or_broken(self, index: int) -> PointCloud | BrokenScene:
        """The scene as its files hold it, or what is wrong with them."""
        try:
            return self._clouds[index]
        except (ValueError, OSError) as error:
            return BrokenScene(self.scene_ids[index], str(error))

    def _augmented(self, index: int, read: Callable[[int], PointCloud | None]) -> PointCloud | None:
        """The scene after the transforms; None where ``read`` has none."""
        if not 0 <= index < len(self):
            raise IndexError(f"scene index must be in [0, {len(self)}), got {index}")
        cloud = read(index)
        if cloud is None:
            return None
        rng = np.random.default_rng([self.seed, self.epoch, index])
        for position, transform in enumerate(self.transforms):
            if not isinstance(transform, MixingTransform):
                cloud = transform(cloud, rng)
            elif transform.applies(rng):
                partner = self._partner(index, position, rng, read)
                cloud = cloud if partner is None else transform.mix(cloud, partner, rng)
        return cloud

    def _partner(
        self,
        index: int,
        position: int,
        rng: np.random.Generator,
        read: Callable[[int], PointCloud | None],
    ) -> PointCloud | None:
        """Another scene, for the mixing transform at ``position``; it is not mixed itself."""
        other = int(rng.integers(len(self) - 1))
        cloud = read(other + (other >= index))
        if cloud is None:
            return None
        for transform in self.transforms[:position]:
            if not isinstance(transform, MixingTransform):
                cloud = transform(cloud, rng)
        return cloud
