from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from pointseg.data import (
    SCANNET20,
    TRANSFORMS,
    MixingTransform,
    PointCloud,
    SceneDataset,
    build_transform,
    build_transforms,
    voxelize_cloud,
)
from pointseg.data.transforms import InstancePaste, LaserMix, Mix3D, PolarMix, join_clouds
from pointseg.experiment import load_config
from tests.data.test_dataset import scenes_equal
from tests.helpers.properties import given, st

GROUND, BLOCK, CAR, PERSON = 1, 2, 3, 4
OPTIONS = {
    "mix3d": {},
    "lasermix": {},
    "polarmix": {"classes": [CAR, PERSON]},
    "instance_paste": {"classes": [CAR, PERSON], "ground": [GROUND], "min_points": 5},
}
NAMES = sorted(n for n, cls in TRANSFORMS.items() if issubclass(cls, MixingTransform))
OTHER = 1_000_000  # the first row number of the second scene
seeds = st.integers(0, 2**32 - 1)


def make_mixing(name: str, **options) -> MixingTransform:
    transform = build_transform({"name": name, "probability": 1.0, **OPTIONS[name], **options})
    assert isinstance(transform, MixingTransform)
    return transform


def mix(transform: MixingTransform, cloud: PointCloud, other: PointCloud, seed: int = 0):
    return transform.mix(cloud, other, np.random.default_rng(seed))


def make_scan(seed: int, scene_id: str = "scan", first_row: int = 0, num_ground=900) -> PointCloud:
    """Flat ground around a sensor 1.7 m above it, blocks, cars and persons on it, air between."""
    rng = np.random.default_rng(seed)
    ground = np.column_stack(
        [rng.uniform(-20, 20, (num_ground, 2)), rng.normal(-1.7, 0.01, num_ground)]
    )
    parts, labels, instances = [ground], [np.full(num_ground, GROUND)], [np.zeros(num_ground)]
    for index in range(12):
        label = (BLOCK, CAR, PERSON)[index % 3]
        size = {BLOCK: (3, 2, 4), CAR: (4, 1.8, 1.4), PERSON: (0.5, 0.5, 1.8)}[label]
        low = [*rng.uniform(-18, 15, 2), -1.6]
        count = 40 if label == BLOCK else 25
        parts.append(rng.random((count, 3)) * size + low)
        labels.append(np.full(count, label))
        instances.append(np.full(count, 0 if label == BLOCK else index))
    xyz = np.concatenate(parts).astype(np.float32)
    normal = rng.standard_normal(xyz.shape).astype(np.float32)
    label = np.concatenate(labels).astype(np.int16)
    label[rng.random(len(label)) < 0.05] = -1
    cloud = PointCloud(
        scene_id,
        xyz,
        color=rng.integers(0, 256, xyz.shape).astype(np.uint8),
        normal=normal / np.linalg.norm(normal, axis=1, keepdims=True),
        labels=label,
        instances=np.concatenate(instances).astype(np.int32),
        context=rng.random(len(xyz)) < 0.1,
        extras={"row": first_row + np.arange(len(xyz)), "intensity": rng.random(len(xyz))},
    )
    for name in ("xyz_m", "color", "normal", "labels", "instances", "context"):
        getattr(cloud, name).setflags(write=False)  # nothing may write in place
    return cloud


def make_pair(seed: int) -> tuple[PointCloud, PointCloud]:
    return make_scan(seed), make_scan(seed + 1, "other", OTHER)


def origins(mixed: PointCloud) -> tuple[np.ndarray, np.ndarray]:
    """Which points are of the second scene, and each point's row in its own scene."""
    row = mixed.extras["row"]
    return row >= OTHER, row % OTHER


# -- what holds for all of them -------------------------------------------------------------------


def test_options_of_every_mixing_transform_are_known_here() -> None:
    assert sorted(OPTIONS) == NAMES


@pytest.mark.parametrize("name", NAMES)
@given(seed=seeds)
def test_points_are_points_of_the_two_and_keep_what_they_have(name: str, seed: int) -> None:
    cloud, other = make_pair(seed % 7)
    mixed = mix(make_mixing(name), cloud, other, seed)
    second, row = origins(mixed)
    assert mixed.scene_id == cloud.scene_id
    assert mixed.origin_m == cloud.origin_m
    assert (np.diff(second.astype(int)) >= 0).all()  # the first scene's points come first
    for source, of in ((cloud, ~second), (other, second)):
        for key in ("color", "labels", "context"):
            np.testing.assert_array_equal(getattr(mixed, key)[of], getattr(source, key)[row[of]])
        intensity = source.extras["intensity"][row[of]]
        np.testing.assert_array_equal(mixed.extras["intensity"][of], intensity)
    # Of the first scene, each point at most once, in order, where it was.
    own = row[~second]
    assert (np.diff(own) > 0).all()
    for key in ("xyz_m", "normal", "instances"):
        np.testing.assert_array_equal(getattr(mixed, key)[~second], getattr(cloud, key)[own])
    # Of the second, a point turns with its normal: the angle to the vertical stays.
    taken = row[second]
    np.testing.assert_allclose(mixed.normal[second, 2], other.normal[taken, 2], atol=1e-6)
    again = mix(make_mixing(name), cloud, other, seed)
    for key in ("xyz_m", "normal", "labels", "instances", "context"):
        np.testing.assert_array_equal(getattr(again, key), getattr(mixed, key))
        assert getattr(mixed, key).dtype == getattr(cloud, key).dtype


@pytest.mark.parametrize("name", NAMES)
@given(seed=seeds)
def test_instances_of_the_two_never_meet(name: str, seed: int) -> None:
    cloud, other = make_pair(seed % 7)
    mixed = mix(make_mixing(name), cloud, other, seed)
    second, row = origins(mixed)
    ids = mixed.instances
    assert not set(ids[second]) & set(ids[~second]) - {0}
    np.testing.assert_array_equal(ids[second] == 0, other.instances[row[second]] == 0)
    for instance in set(ids[second]) - {0}:
        rows = row[ids == instance]
        assert len(set(other.instances[rows])) == 1  # of one object ...
        assert len(set(rows)) == len(rows)  # ... and of one copy of it


@pytest.mark.parametrize("name", NAMES)
def test_degenerate_scenes(name: str) -> None:
    transform = make_mixing(name)
    cloud, other = make_pair(0)
    single = cloud.select(np.array([0]))
    ignored = other.replace(labels=np.full_like(other.labels, -1))
    bare = other.replace(instances=np.zeros_like(other.instances))
    empty = other.select(np.zeros(0, dtype=int))
    for seed in range(8):
        for first, second in ((single, other), (cloud, single), (single, single)):
            assert np.isfinite(mix(transform, first, second, seed).xyz_m).all()
            assert mix(transform, first, second, seed).num_points >= 1
        for second in (ignored, bare, empty):
            assert mix(transform, cloud, second, seed).num_points >= 1
    dark = cloud.replace(labels=np.full_like(cloud.labels, -1))
    assert mix(transform, dark, ignored).num_points >= 1


def test_nothing_is_pasted_where_there_is_nothing_to_paste_or_nowhere_to_put_it() -> None:
    cloud, other = make_pair(0)
    paste = make_mixing("instance_paste")
    bare = other.replace(instances=np.zeros_like(other.instances))
    groundless = cloud.replace(labels=np.where(cloud.labels == GROUND, -1, cloud.labels))
    crowd = dataclasses.replace(paste, min_points=26)
    for mixed, first in (
        (mix(paste, cloud, bare), cloud),
        (mix(paste, groundless, other), groundless),
        (mix(crowd, cloud, other), cloud),
    ):
        np.testing.assert_array_equal(mixed.xyz_m, first.xyz_m)


# -- joining --------------------------------------------------------------------------------------


def test_arrays_that_only_one_scene_has_are_refused() -> None:
    cloud, other = make_pair(0)
    for name in ("color", "normal", "labels", "instances"):
        message = f"other cannot be mixed with scan: lacks {name}"
        with pytest.raises(ValueError, match=message):
            mix(Mix3D(), cloud, other.replace(**{name: None}))
        with pytest.raises(ValueError, match=f"scan cannot be mixed with other: lacks {name}"):
            mix(Mix3D(), cloud.replace(**{name: None}), other)
    fewer = {"row": other.extras["row"]}
    with pytest.raises(ValueError, match=r"other .*: lacks extras\['intensity'\]"):
        mix(LaserMix(), cloud, other.replace(extras=fewer))
    wrong = {**other.extras, "row": other.extras["row"].astype(np.float32)}
    with pytest.raises(ValueError, match=r"extras\['row'\] of a point is int64 \(\) and float32"):
        mix(LaserMix(), cloud, other.replace(extras=wrong))
    huge = other.replace(instances=np.full(other.num_points, 2**31 - 5, dtype=np.int32))
    with pytest.raises(ValueError, match="other: instances up to 2147483643 .* number the inst"):
        mix(Mix3D(), cloud, huge)


def test_scenes_without_context_have_no_such_points() -> None:
    cloud, other = make_pair(0)
    plain = cloud.replace(context=None)
    joined = join_clouds([plain, other])
    assert joined.context.tolist() == [False] * plain.num_points + other.context.tolist()
    assert joined.own().num_points == plain.num_points + (~other.context).sum()
    assert join_clouds([plain, other.replace(context=None)]).context is None


# -- each of them ---------------------------------------------------------------------------------


@given(seed=seeds)
def test_mix3d_keeps_all_points_and_lays_centroids_over_each_other(seed: int) -> None:
    cloud, other = make_pair(seed % 7)
    far = other.replace(xyz_m=other.xyz_m + np.float32(300), origin_m=(5e5, 5e6, 0.0))
    for shift in (0.0, 0.5):
        mixed = mix(Mix3D(shift=shift), cloud, far, seed)
        assert mixed.num_points == cloud.num_points + far.num_points
        moved = mixed.xyz_m[cloud.num_points :]
        steps = moved - far.xyz_m
        np.testing.assert_allclose(steps, steps[:1] + np.zeros_like(steps), atol=1e-4)
        offset = moved.mean(0, dtype=float) - cloud.xyz_m.mean(0, dtype=float)
        about = cloud.xyz_m - cloud.xyz_m.mean(0, dtype=float)
        assert (offset >= shift * about.min(0) - 1e-3).all()
        assert (offset <= shift * about.max(0) + 1e-3).all()


def test_lasermix_takes_areas_of_inclination_in_turn() -> None:
    cloud, other = make_pair(2)
    sensor = (0.5, -0.25, 0.3)
    transform = LaserMix(num_areas=(4,), pitch_deg=(-40.0, 20.0), sensor_m=sensor)
    lowest = set()
    for seed in range(6):
        mixed = mix(transform, cloud, other, seed)
        second, row = origins(mixed)
        parities = {}
        for source, is_second in ((cloud, False), (other, True)):
            chosen = set(row[second == is_second])
            for point, xyz in enumerate(source.xyz_m.astype(float)):
                x, y, z = xyz - sensor
                pitch = math.degrees(math.atan2(z, math.sqrt(x * x + y * y)))
                place = (pitch + 40) / 15
                if abs(place - round(place)) < 1e-4:
                    continue  # too near to an edge to tell in float32
                area = min(max(math.floor(place), 0), 3)
                parities.setdefault((is_second, area % 2), set()).add(point in chosen)
        assert all(len(found) == 1 for found in parities.values())
        even, odd = parities[False, 0], parities[False, 1]
        assert even != odd
        assert (parities[True, 0], parities[True, 1]) == (odd, even)
        lowest.add(even == {True})
    assert lowest == {True, False}  # either scan may have the lowest area


@pytest.mark.parametrize("sector_deg", [40.0, 180.0, 300.0])
def test_polarmix_swaps_a_sector(sector_deg: float) -> None:
    cloud, other = make_pair(3)
    transform = PolarMix(
        swap_probability=1, paste_probability=0, sector_deg=sector_deg, sensor_m=(1.0, 2.0, 0.0)
    )
    for seed in range(5):
        rng = np.random.default_rng(seed)
        rng.random()  # whether to swap
        start = math.degrees(rng.uniform(-math.pi, math.pi))
        second, row = origins(mix(transform, cloud, other, seed))
        for source, is_second in ((cloud, False), (other, True)):
            chosen = set(row[second == is_second])
            for point, (x, y, _) in enumerate(source.xyz_m.astype(float)):
                past = (math.degrees(math.atan2(y - 2, x - 1)) - start) % 360
                if min(abs(past - edge) for edge in (0, sector_deg, 360)) > 1e-3:
                    assert (point in chosen) == ((past < sector_deg) == is_second)


def test_polarmix_pastes_turned_copies() -> None:
    cloud, other = make_pair(4)
    transform = PolarMix(classes=(CAR, PERSON), swap_probability=0, copies=3)
    angles = []
    things = np.flatnonzero(np.isin(other.labels, (CAR, PERSON)))
    for seed in range(20):
        mixed = mix(transform, cloud, other, seed)
        second, row = origins(mixed)
        assert (~second).sum() == cloud.num_points
        copies = mixed.select(second)
        assert row[second].tolist() == [*things] * 3
        np.testing.assert_array_equal(copies.xyz_m[: len(things)], other.xyz_m[things])
        for part in (1, 2):
            moved = copies.select(np.arange(len(things)) + part * len(things))
            np.testing.assert_array_equal(moved.xyz_m[:, 2], other.xyz_m[things, 2])
            before, after = (p[:, 0] + 1j * p[:, 1] for p in (other.xyz_m[things], moved.xyz_m))
            turn = np.angle((after * before.conj()).sum())
            np.testing.assert_allclose(after, before * np.exp(1j * turn), atol=1e-4)
            normals = [n[:, 0] + 1j * n[:, 1] for n in (other.normal[things], moved.normal)]
            np.testing.assert_allclose(normals[1], normals[0] * np.exp(1j * turn), atol=1e-5)
            angles.append((part, math.degrees(turn) % 360))
    first = [a for part, a in angles if part == 1]
    last = [a for part, a in angles if part == 2]
    assert 0 <= min(first) < 30 < 90 < max(first) < 120 <= min(last) < 150 < 210 < max(last) < 240


def test_polarmix_does_not_paste_a_second_time_what_came_with_the_sector() -> None:
    cloud, other = make_pair(5)
    transform = PolarMix(classes=(CAR,), swap_probability=1, copies=1)
    for seed in range(5):
        second, row = origins(mix(transform, cloud, other, seed))
        assert len(set(row[second])) == second.sum()
        assert set(np.flatnonzero(other.labels == CAR)) <= set(row[second])


@pytest.mark.parametrize("placement", ["anywhere", "around_sensor"])
def test_pasted_objects_stand_on_free_ground(placement: str) -> None:
    clearance, step = 0.2, 0.15
    num_pasted = 0
    for seed in range(12):
        cloud, other = make_pair(seed)
        kerbs = np.zeros_like(cloud.xyz_m)
        kerbs[:, 2] = 0.3 * (cloud.xyz_m[:, 0] // 6 % 2)
        cloud = cloud.replace(xyz_m=cloud.xyz_m + kerbs)
        paste = InstancePaste(
            classes=(CAR, PERSON),
            ground=(GROUND,),
            placement=placement,
            clearance_m=clearance,
            max_step_m=step,
        )
        mixed = mix(paste, cloud, other, seed)
        second, row = origins(mixed)
        ids = mixed.instances * second
        boxes = []
        for instance in sorted(set(ids) - {0}):
            points = mixed.xyz_m[ids == instance]
            home = other.xyz_m[row[ids == instance]]
            low, high = points.min(0) - clearance + 1e-4, points.max(0) + clearance - 1e-4
            inside = ((cloud.xyz_m >= low) & (cloud.xyz_m <= high)).all(1)
            assert (cloud.labels[inside] == GROUND).all()
            assert not any((low <= b[1]).all() and (b[0] <= high).all() for b in boxes)
            below = ((cloud.xyz_m >= low) & (cloud.xyz_m <= high))[:, :2].all(1)
            heights = cloud.xyz_m[below & (cloud.labels == GROUND), 2]
            assert len(heights) >= 1
            assert heights.max() - heights.min() <= step + 2e-4
            # As high above the ground as at home, where that is known.
            near = ((other.xyz_m >= home.min(0) - 1) & (other.xyz_m <= home.max(0) + 1))[:, :2]
            at_home = other.xyz_m[near.all(1) & (other.labels == GROUND), 2]
            height = home[:, 2].min() - np.median(at_home) if len(at_home) else 0
            assert abs(points[:, 2].min() - np.median(heights) - height) < 1e-4
            # It is turned and moved, not bent.
            distances = [np.linalg.norm(p[:, None] - p, axis=2) for p in (points, home)]
            np.testing.assert_allclose(*distances, atol=1e-4)
            if placement == "around_sensor":
                radii = [np.linalg.norm(p[:, :2], axis=1) for p in (points, home)]
                np.testing.assert_allclose(*radii, atol=1e-4)
            boxes.append((points.min(0), points.max(0)))
            num_pasted += 1
    assert num_pasted > 30


def test_pasted_objects_are_whole() -> None:
    cloud, other = make_pair(6)
    mixed = mix(make_mixing("instance_paste", max_objects=3), cloud, other)
    second, row = origins(mixed)
    pasted = set(other.instances[row[second]])
    assert 1 <= len(pasted) <= 3
    wanted = np.isin(other.labels, (CAR, PERSON)) & np.isin(other.instances, list(pasted))
    assert sorted(row[second]) == np.flatnonzero(wanted).tolist()


def test_scans_and_labels_are_asked_for_where_they_are_needed() -> None:
    cloud, other = make_pair(0)
    sensed = make_mixing("instance_paste", placement="around_sensor")
    for transform in (LaserMix(), make_mixing("polarmix", swap_probability=0.0), sensed):
        with pytest.raises(ValueError, match="scan: its coordinates .* a map .* mix3d"):
            mix(transform, cloud.replace(origin_m=(1e6, 0.0, 0.0)), other)
    bare = [c.replace(instances=None) for c in (cloud, other)]
    with pytest.raises(ValueError, match="other: instance_paste needs instances"):
        mix(make_mixing("instance_paste"), *bare)
    with pytest.raises(ValueError, match="other: pasting by class needs labels"):
        mix(make_mixing("polarmix"), *(c.replace(labels=None) for c in (cloud, other)))
    with pytest.raises(ValueError, match="with_classes"):
        mix(PolarMix(classes=("chair",)), cloud, other)


# -- in a dataset ---------------------------------------------------------------------------------


class CountedScenes:
    """Scenes of memory that note which of them were read."""

    label_map = SCANNET20

    def __init__(self, clouds: list[PointCloud]) -> None:
        self.clouds = clouds
        self.scene_ids = tuple(c.scene_id for c in clouds)
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(self.clouds)

    def __getitem__(self, index: int) -> PointCloud:
        self.read.append(index)
        return self.clouds[index]


def make_scenes(count: int = 4) -> CountedScenes:
    return CountedScenes([make_scan(i, f"s{i}", OTHER * i) for i in range(count)])


ALL = build_transforms(
    [
        {"name": "lasermix", "pitch_deg": [-40, 10], "probability": 0.5},
        {"name": "polarmix", "classes": [CAR, "table"], "probability": 0.5},
        {"name": "instance_paste", "classes": [CAR], "ground": ["floor"], "probability": 0.5},
        {"name": "random_rotation"},
        {"name": "random_dropout", "probability": 0.5},
        {"name": "mix3d", "probability": 0.5},
        {"name": "random_flip"},
        {"name": "crop_to_budget", "max_points": 1500},
    ]
)


def make_dataset(scenes: CountedScenes, transforms=ALL) -> SceneDataset:
    return SceneDataset(scenes, 0.3, ("color", "height", "intensity"), transforms, seed=2)


def test_a_partner_is_read_only_where_it_is_mixed_in() -> None:
    scenes = make_scenes()
    never = [{"name": name, "probability": 0.0, **OPTIONS[name]} for name in NAMES]
    plain = make_dataset(scenes, [build_transform(spec) for spec in never])
    assert plain.augmented(2) is scenes.clouds[2]
    assert scenes.read == [2]
    partners = set()
    mixed = make_dataset(scenes, (Mix3D(probability=1.0),))
    for epoch in range(30):
        scenes.read.clear()
        mixed.set_epoch(epoch)
        mixed.augmented(2)
        assert len(scenes.read) == 2 and scenes.read[0] == 2
        partners.add(scenes.read[1])
    assert partners == {0, 1, 3}
    read = 0
    half = make_dataset(scenes, (Mix3D(probability=0.5),))
    for epoch in range(100):
        scenes.read.clear()
        half.set_epoch(epoch)
        cloud = half.augmented(1)
        assert (cloud.num_points > scenes.clouds[1].num_points) == (len(scenes.read) == 2)
        read += len(scenes.read) - 1
    assert 30 < read < 70


def test_a_partner_takes_the_transforms_before_but_is_not_mixed_itself() -> None:
    scenes = make_scenes(2)
    before = build_transforms(
        [
            {"name": "mix3d", "probability": 1.0, "shift": 0.0},
            {"name": "random_scale", "low": 2.0, "high": 2.0},
            {"name": "mix3d", "probability": 1.0, "shift": 0.0},
        ]
    )
    mixed = make_dataset(scenes, before).augmented(0)
    first, partner = scenes.clouds
    assert mixed.scene_id == first.scene_id
    assert mixed.num_points == first.num_points + 2 * partner.num_points
    for points, source in (
        (mixed.xyz_m[: first.num_points], first),
        (mixed.xyz_m[first.num_points :][: partner.num_points], partner),
        (mixed.xyz_m[-partner.num_points :], partner),
    ):
        size = np.ptp(source.xyz_m, axis=0)
        np.testing.assert_allclose(np.ptp(points, axis=0), 2 * size, rtol=1e-4)


def test_mixing_does_not_depend_on_workers() -> None:
    dataset = make_dataset(make_scenes())
    same = make_dataset(make_scenes())
    loader = DataLoader(
        dataset,
        batch_size=None,
        num_workers=2,
        persistent_workers=True,
        multiprocessing_context="forkserver",
    )
    for epoch in (0, 1):
        dataset.set_epoch(epoch)
        same.set_epoch(epoch)
        loaded = list(loader)
        backward = [same[i] for i in (3, 2, 1, 0)][::-1]
        assert all(scenes_equal(a, b) for a, b in zip(loaded, backward, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_voxels_of_a_mixed_scene_are_unique(name: str) -> None:
    cloud, other = make_pair(1)
    mixed = mix(make_mixing(name), cloud, other, 3).replace(context=None)  # a row for every point
    scene = voxelize_cloud(mixed, 1.0, ("color",))
    assert len(torch.unique(scene.coords, dim=0)) == len(scene.coords)
    second, _ = origins(mixed)
    shared = 0
    for voxel in range(len(scene.coords)):
        rows = np.flatnonzero(scene.point_to_voxel.numpy() == voxel)
        shared += len(set(second[rows])) == 2
        color = mixed.color[rows].mean(0) / 255 - 0.5
        np.testing.assert_allclose(scene.feats[voxel], color, atol=1e-5)
        valid = mixed.labels[rows][mixed.labels[rows] >= 0]
        expected = np.bincount(valid).argmax() if len(valid) else -1
        assert scene.voxel_labels[voxel] == expected
    assert shared > 0


def test_one_scene_has_nothing_to_be_mixed_with() -> None:
    with pytest.raises(ValueError, match="mixing needs two scenes, but there is 1"):
        make_dataset(make_scenes(1))


# -- configuration --------------------------------------------------------------------------------


def test_classes_are_given_by_name_or_train_id() -> None:
    dataset = make_dataset(make_scenes())
    polarmix, paste = dataset.transforms[1:3]
    assert polarmix.classes == (CAR, SCANNET20.names.index("table"))
    assert paste.classes == (CAR,)
    assert paste.ground == (SCANNET20.names.index("floor"),)
    for classes, message in (
        (("tabel",), "polarmix: classes: no class 'tabel' in .*; did you mean 'table'"),
        ((20,), "polarmix: classes: no class 20 in"),
    ):
        with pytest.raises(ValueError, match=message):
            make_dataset(make_scenes(), (PolarMix(classes=classes),))
    assert PolarMix(paste_probability=0).with_classes(SCANNET20).classes == ()


@pytest.mark.parametrize("name", ["lasermix", "polarmix", "instance_paste"])
def test_scans_are_cut_before_the_sensor_is_moved(name: str) -> None:
    spec = {"name": name, **OPTIONS[name]}
    if name == "instance_paste":
        build_transforms([{"name": "random_flip"}, spec])  # any place will do
        spec["placement"] = "around_sensor"
    build_transforms([{"name": "random_scale"}, spec, {"name": "random_rotation"}])
    for mover in (
        "random_rotation",
        "random_flip",
        "random_translation",
        "elastic_distortion",
        "mix3d",
    ):
        message = f"'{name}' measures angles about the sensor, which '{mover}' moves"
        with pytest.raises(ValueError, match=message):
            build_transforms([{"name": mover}, {"name": "random_jitter"}, spec])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "mix3d", "probability": 1.5}, r"'mix3d': probability must be in \[0, 1\]"),
        ({"name": "mix3d", "shift": -1}, r"shift must be in \[0, 1\]"),
        ({"name": "mix_3d"}, "did you mean 'mix3d'"),
        ({"name": "lasermix", "num_areas": [1]}, "num_areas must be whole numbers >= 2"),
        ({"name": "lasermix", "num_areas": 4}, "num_areas must be a list"),
        ({"name": "lasermix", "pitch_deg": [3, -25]}, "pitch_deg must be two angles"),
        ({"name": "lasermix", "sensor_m": [0, 0]}, "sensor_m must be three"),
        ({"name": "polarmix"}, "classes must list at least one class"),
        ({"name": "polarmix", "classes": "car"}, "classes must be a list of class names"),
        ({"name": "polarmix", "classes": [True]}, "True is neither a class name nor a train id"),
        ({"name": "polarmix", "classes": [1, 1]}, "each class once"),
        ({"name": "polarmix", "classes": [1], "sector_deg": 360}, "sector_deg"),
        ({"name": "polarmix", "classes": [1], "copies": 0}, "copies must be a whole number >= 1"),
        ({"name": "polarmix", "classes": [1], "copies": 2.5}, "copies must be a whole number"),
        ({"name": "polarmix", "classes": [1], "copies": True}, "copies must be a whole number"),
        ({"name": "lasermix", "pitch_deg": 5}, "pitch_deg must be two angles.*, got 5"),
        ({"name": "lasermix", "pitch_deg": ["a", "b"]}, "pitch_deg must be two angles"),
        ({"name": "lasermix", "sensor_m": 0}, "sensor_m must be three finite .*, got 0"),
        ({"name": "lasermix", "sensor_m": [0, 0, "up"]}, "sensor_m must be three finite"),
        (
            {"name": "instance_paste", "classes": [0], "ground": [1], "max_objects": 2.5},
            "max_objects must be a whole number >= 1, got 2.5",
        ),
        ({"name": "polarmix", "classes": [1], "swap_probability": 2}, "swap_probability"),
        ({"name": "instance_paste", "classes": [1]}, "ground must list at least one class"),
        (
            {"name": "instance_paste", "classes": [1, 2], "ground": [2]},
            "must differ, got 2 in both",
        ),
        (
            {"name": "instance_paste", "classes": [1], "ground": [0], "placement": "here"},
            "placement must be one of anywhere, around_sensor",
        ),
        ({"name": "instance_paste", "classes": [1], "ground": [0], "attempts": 0}, "attempts"),
        ({"name": "instance_paste", "classes": [1], "ground": [0], "clearance_m": -1}, "clearance"),
    ],
)
def test_bad_configuration_is_named(spec, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_transform(spec)


def test_configuration_files_hold_mixing_transforms(tmp_path: Path) -> None:
    path = tmp_path / "mixed.yaml"
    base = Path(__file__).resolve().parents[2] / "configs" / "synthetic_minkunet14.yaml"
    path.write_text(
        f"base: {base}\nname: mixed\ndata:\n  transforms:\n"
        "    - name: mix3d\n      probability: 0.8\n"
        "    - name: instance_paste\n      classes: [chair]\n      ground: [floor]\n"
    )
    names = [named.name for named in load_config(path).data.transforms]
    assert names == ["mix3d", "instance_paste"]
