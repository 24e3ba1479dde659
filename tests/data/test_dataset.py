from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from pointseg.data import (
    FEATURES,
    SCANNET20,
    MissingFeatureError,
    PointCloud,
    ScanNetReader,
    SceneDataset,
    VoxelScene,
    build_transforms,
    collate,
    num_channels,
    open_dataset,
    voxelize_cloud,
)
from tests.data.scenes import write_root
from tests.data.test_transforms import make_cloud

AUGMENTATION = build_transforms(
    {"name": name}
    for name in (
        "random_rotation",
        "random_scale",
        "random_flip",
        "random_translation",
        "elastic_distortion",
        "random_dropout",
        "random_jitter",
        "chromatic_auto_contrast",
        "chromatic_translation",
        "chromatic_jitter",
    )
)


def scenes_equal(a: VoxelScene, b: VoxelScene) -> bool:
    names = ("coords", "feats", "voxel_labels", "point_to_voxel", "point_labels")
    return a.scene_id == b.scene_id and all(
        torch.equal(getattr(a, n), getattr(b, n)) for n in names
    )


# -- voxelization ---------------------------------------------------------------------------------


def test_voxels_by_brute_force() -> None:
    cloud = make_cloud(3000)
    features = ("color", "normal", "height", "xyz", "ones")
    scene = voxelize_cloud(cloud, 0.5, features)
    cells = np.floor(cloud.xyz_m / np.float32(0.5)).astype(int)
    members: dict[tuple, list[int]] = {}
    for row, cell in enumerate(map(tuple, cells)):
        members.setdefault(cell, []).append(row)
    assert [tuple(c) for c in scene.coords.tolist()] == sorted(members)
    ground = np.sort(cloud.xyz_m[:, 2])[int(0.01 * 2999)]
    for voxel, cell in enumerate(sorted(members)):
        rows = members[cell]
        assert (scene.point_to_voxel[rows] == voxel).all()
        expected = np.concatenate(
            [
                cloud.color[rows].mean(0) / 255 - 0.5,
                cloud.normal[rows].mean(0),
                [cloud.xyz_m[rows, 2].mean() - ground],
                cloud.xyz_m[rows].mean(0),
                [1.0],
            ]
        )
        np.testing.assert_allclose(scene.feats[voxel], expected, atol=2e-5)
        votes = np.bincount(cloud.labels[rows][cloud.labels[rows] >= 0], minlength=20)
        majority = votes.argmax() if votes.any() else -1
        assert scene.voxel_labels[voxel] == majority
    assert scene.coords.dtype == torch.int32
    assert scene.feats.dtype == torch.float32
    assert scene.feats.shape[1] == num_channels(features) == 11
    assert scene.point_labels.dtype == torch.int64
    np.testing.assert_array_equal(scene.point_labels, cloud.labels)


def test_voxels_without_labels() -> None:
    scene = voxelize_cloud(make_cloud().replace(labels=None), 0.5, ("ones",))
    assert scene.point_labels is None
    assert (scene.voxel_labels == -1).all()


def test_every_feature_has_its_channels_and_missing_ones_are_named() -> None:
    cloud = make_cloud().replace(extras={"intensity": np.linspace(0, 1, 400)})
    bare = PointCloud("bare", cloud.xyz_m)
    for name, (channels, function) in FEATURES.items():
        assert function(cloud).shape == (400, channels)
        assert function(cloud).dtype == np.float32
        if name in ("color", "normal", "intensity"):
            with pytest.raises(MissingFeatureError, match=f"bare: feature '{name}'"):
                voxelize_cloud(bare, 0.1, (name,))


@pytest.mark.parametrize("features", [(), ("color", "color"), ("colour",)])
def test_bad_feature_lists(features: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="features must be one or more of color"):
        SceneDataset([make_cloud()], 0.1, features, label_map=SCANNET20)


def test_bad_scenes_are_named() -> None:
    with pytest.raises(ValueError, match="far: .*voxel size"):
        voxelize_cloud(PointCloud("far", np.full((2, 3), 1e6, np.float32)), 0.02, ("ones",))
    with pytest.raises(ValueError, match="empty: the cloud has no points"):
        voxelize_cloud(PointCloud("empty", np.zeros((0, 3), np.float32)), 0.02, ("ones",))


# -- dataset --------------------------------------------------------------------------------------


def make_dataset(root: Path, **options) -> SceneDataset:
    source = open_dataset("scannet", root, "train", workers=0)
    return SceneDataset(source, 0.2, ("color", "normal", "height"), AUGMENTATION, **options)


def test_dataset_offers_raw_and_voxelized_scenes(tmp_path: Path) -> None:
    specs = write_root(tmp_path)
    dataset = make_dataset(tmp_path)
    assert len(dataset) == 3
    assert dataset.scene_ids == tuple(s.scene_id for s in specs)
    assert dataset.label_map is SCANNET20
    assert dataset.num_channels == 7
    np.testing.assert_array_equal(dataset.point_cloud(1).xyz_m, specs[1].xyz)
    with pytest.raises(IndexError):
        dataset[3]
    with pytest.raises(ValueError, match="label_map"):
        SceneDataset([make_cloud()], 0.1)
    assert SceneDataset([make_cloud()], 0.1, label_map=SCANNET20).scene_ids == ("cloud",)


def test_augmentation_depends_on_seed_epoch_and_index_alone(tmp_path: Path) -> None:
    write_root(tmp_path)
    dataset, same = make_dataset(tmp_path, seed=3), make_dataset(tmp_path, seed=3)
    forward = [dataset[i] for i in range(3)]
    backward = [same[i] for i in (2, 1, 0, 0)][::-1][1:]
    assert all(scenes_equal(a, b) for a, b in zip(forward, backward, strict=True))
    other_seed = make_dataset(tmp_path, seed=4)
    assert not torch.equal(other_seed[0].feats, forward[0].feats)
    dataset.set_epoch(1)
    assert not torch.equal(dataset[0].feats, forward[0].feats)
    dataset.set_epoch(0)
    assert scenes_equal(dataset[0], forward[0])
    twice = SceneDataset(
        [make_cloud(), make_cloud()], 0.2, transforms=AUGMENTATION, label_map=SCANNET20
    )
    assert not torch.equal(twice[0].feats, twice[1].feats)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_augmentation_does_not_depend_on_workers(tmp_path: Path, num_workers: int) -> None:
    write_root(tmp_path)
    dataset = make_dataset(tmp_path, seed=5)
    loader = DataLoader(
        dataset,
        batch_size=None,
        num_workers=num_workers,
        persistent_workers=True,
        multiprocessing_context="forkserver",
    )
    for epoch in (0, 1):  # workers that live on see the epoch change
        dataset.set_epoch(epoch)
        loaded = list(loader)
        expected = [dataset[i] for i in range(3)]
        assert all(scenes_equal(a, b) for a, b in zip(loaded, expected, strict=True))


# -- batches --------------------------------------------------------------------------------------


def test_collate_keeps_scenes_apart() -> None:
    scenes = [voxelize_cloud(make_cloud(n, seed=n), 0.5, ("color",)) for n in (300, 50, 120)]
    batch = collate(scenes)
    assert batch.point_counts == (300, 50, 120)
    assert batch.num_scenes == 3
    assert batch.voxels.grid.num_scenes == 3
    point = voxel = 0
    for index, scene in enumerate(scenes):
        rows = slice(voxel, voxel + len(scene.coords))
        assert (batch.voxels.grid.coords[rows, 0] == index).all()
        assert torch.equal(batch.voxels.grid.coords[rows, 1:], scene.coords)
        assert torch.equal(batch.voxels.feats[rows], scene.feats)
        points = slice(point, point + len(scene.point_to_voxel))
        assert torch.equal(batch.point_to_voxel[points], scene.point_to_voxel + voxel)
        assert torch.equal(batch.point_labels[points], scene.point_labels)
        voxel, point = rows.stop, points.stop
    assert batch.voxels.num_voxels == voxel
    assert batch.to("cpu").scene_ids == ("cloud",) * 3


def test_collate_without_some_labels_and_with_bad_input() -> None:
    labelled = voxelize_cloud(make_cloud(), 0.5, ("color",))
    unlabelled = voxelize_cloud(make_cloud().replace(labels=None), 0.5, ("color",))
    assert collate([labelled, unlabelled]).point_labels is None
    with pytest.raises(ValueError, match="at least one scene"):
        collate([])
    with pytest.raises(ValueError, match="equal feature channels"):
        collate([labelled, voxelize_cloud(make_cloud().replace(scene_id="b"), 0.5, ("ones",))])


# -- clouds as values -----------------------------------------------------------------------------


def test_point_cloud_checks_its_arrays() -> None:
    xyz = np.zeros((4, 3), np.float32)
    with pytest.raises(TypeError, match="s: xyz_m must be a numpy array of float32, got float64"):
        PointCloud("s", xyz.astype(np.float64))
    with pytest.raises(ValueError, match=r"s: color must have shape \(4, 3\), got \(3, 3\)"):
        PointCloud("s", xyz, color=np.zeros((3, 3), np.uint8))
    with pytest.raises(ValueError, match=r"extras\['row'\] must have 4 rows"):
        PointCloud("s", xyz, extras={"row": np.zeros(5)})
    with pytest.raises(ValueError, match="a mask must have shape"):
        PointCloud("s", xyz).select(np.ones(3, bool))
    cloud = PointCloud("s", xyz, extras={"row": np.arange(4)})
    assert cloud.select(np.array([True, False, True, False])).extras["row"].tolist() == [0, 2]
    assert cloud.select(np.array([3, 0])).extras["row"].tolist() == [3, 0]


@pytest.mark.parametrize(("voxel_size_m", "num_voxels"), [(0.02, 79_893), (0.05, 53_518)])
def test_real_voxel_counts(real_data: Path, voxel_size_m: float, num_voxels: int) -> None:
    reader = ScanNetReader(real_data / "scannet")
    cloud = reader.read_scene("scene0000_00")
    assert len(voxelize_cloud(cloud, voxel_size_m, ("color", "normal")).coords) == num_voxels


def test_points_of_other_scans_are_seen_and_not_asked_about() -> None:
    xyz = np.array([[0, 0, 0], [0.1, 0, 0], [3, 0, 0], [0.2, 0, 0]], dtype=np.float32)
    cloud = PointCloud(
        "sweeps",
        xyz,
        labels=np.array([4, 7, 7, 7], dtype=np.int16),
        context=np.array([False, True, True, False]),
        extras={"intensity": np.array([0.0, 0.6, 1.0, 0.3], dtype=np.float32)},
    )
    scene = voxelize_cloud(cloud, 1.0, ["intensity"])
    assert scene.coords[:, 0].tolist() == [0, 3]
    np.testing.assert_allclose(scene.feats[:, 0], [0.3, 1.0], rtol=1e-6)
    assert scene.voxel_labels.tolist() == [7, 7]  # all points vote
    assert scene.point_to_voxel.tolist() == [0, 0]
    assert scene.point_labels.tolist() == [4, 7]
    dataset = SceneDataset([cloud], 1.0, ["intensity"], label_map=SCANNET20)
    assert dataset.point_cloud(0).num_points == 2
