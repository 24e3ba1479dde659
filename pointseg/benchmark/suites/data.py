"""From the arrays of a scene to voxels: the ScanNet recipe, mixing two scans, one thread; and
batches from worker processes.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pointseg.benchmark import plain_torch
from pointseg.benchmark.inputs import Scene, room_points
from pointseg.benchmark.report import Row
from pointseg.benchmark.suites.cases import Options, check_equal
from pointseg.benchmark.suites.mixing import mixing_rows
from pointseg.benchmark.timing import median_ms, threads
from pointseg.data import (
    SCANNET20,
    MixingTransform,
    PointCloud,
    PreparedReader,
    SceneCache,
    SceneDataset,
    Scenes,
    Transform,
    build_transform,
    build_transforms,
    voxelize_cloud,
)
from pointseg.data.transforms import CropToBudget, ElasticDistortion
from pointseg.data.voxelization import point_features
from pointseg.engine.loaders import training_loader
from pointseg.engine.sampler import SceneStream
from pointseg.ops import voxel_reduce, voxelize_points

NUM_POINTS, QUICK_NUM_POINTS = 150_000, 30_000  # a scene of ScanNet has 150 thousand on average
# The recipe of configs/scannet_minkunet34c.yaml.
VOXEL_SIZE_M = 0.02
FEATURES = ("color",)
RECIPE: tuple[dict[str, Any], ...] = (
    {"name": "random_dropout", "ratio": 0.2, "probability": 0.2},
    {"name": "elastic_distortion", "steps": [[0.2, 0.4], [0.8, 1.6]], "probability": 0.95},
    {"name": "random_rotation", "max_yaw_deg": 180.0, "max_tilt_deg": 2.8125},
    {"name": "random_scale", "low": 0.9, "high": 1.1},
    {"name": "random_flip", "probability": 0.5},
    {"name": "random_translation", "max_shift_m": [0.2, 0.2, 0.0]},
    {"name": "chromatic_auto_contrast", "probability": 0.2},
    {"name": "chromatic_translation", "ratio": 0.1, "probability": 0.95},
    {"name": "chromatic_jitter", "std": 0.05, "probability": 0.95},
    {"name": "crop_to_budget", "max_points": 300_000},
)
EPOCHS = 8  # whose mean the whole transform is: dropout and contrast come in a fifth of them
NUM_SCENES = 4  # of the loader
BATCH_SIZE = 2
WORKERS = (0, 1, 2, 4)
STEP_S, FED_STEPS = 0.05, 20  # a training step on a device that leaves the processor alone
CELL_M = 0.5  # edge of the pieces of one label


def data_rows(options: Options, scene: Scene) -> Iterator[Row]:
    """Voxels of points drawn from the room; at the recipe's voxel size the rest of it, too."""
    cloud = scene_cloud(QUICK_NUM_POINTS if options.quick else NUM_POINTS)
    with threads(1):
        yield from voxel_rows(options, cloud, scene.voxel_size_m)
        if scene.voxel_size_m == VOXEL_SIZE_M:
            yield from recipe_rows(options, cloud)
            yield from mixing_rows(options)


def recipe_rows(options: Options, cloud: PointCloud) -> Iterator[Row]:
    """Every transform in a scene that it changes, all of them with voxels, and the loader."""
    size = points_name(cloud)
    for spec in RECIPE:
        case = f"{spec['name']}_{size}"
        if spec["name"] == "elastic_distortion":
            yield elastic_row(options, cloud, case)
            continue
        single = build_transform(spec)
        assert not isinstance(single, MixingTransform)
        transform = always(single, cloud.num_points)
        ms = median_ms(partial(transform, cloud, generator()), options.repeats)
        yield Row.alone("data", case, "ms", ms)
    dataset = SceneDataset(
        [cloud], VOXEL_SIZE_M, FEATURES, build_transforms(RECIPE), label_map=SCANNET20
    )

    def epochs() -> None:
        for epoch in range(EPOCHS):
            dataset.set_epoch(epoch)
            dataset[0]

    def usual_epochs() -> None:
        for epoch in range(EPOCHS):
            usual_scene(cloud, np.random.default_rng([0, epoch, 0]))

    ms = median_ms(epochs, options.repeats) / EPOCHS
    case = f"training_transform_{size}"
    try:
        usual_ms = median_ms(usual_epochs, options.repeats) / EPOCHS
        yield Row.compare("data", case, "ms", ms, "numpy+scipy", usual_ms)
    except ImportError:
        yield Row.alone("data", case, "ms", ms)
    yield from loader_rows(options, cloud)


def usual_scene(cloud: PointCloud, rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
    """Coordinates, features and labels of the recipe's voxels as research code gets them: elastic
    distortion by scipy, voxels by ``np.unique``, of which each takes its first point.
    """
    for transform in build_transforms(RECIPE):
        assert not isinstance(transform, MixingTransform)
        if not isinstance(transform, ElasticDistortion):
            cloud = transform(cloud, rng)
        elif rng.random() < transform.probability:
            moved = scipy_elastic(cloud.xyz_m, transform.steps, rng)
            cloud = cloud.replace(xyz_m=moved.astype(np.float32))
    cells = np.floor(cloud.xyz_m / np.float32(VOXEL_SIZE_M)).astype(np.int32)
    coords, first, inverse = np.unique(cells, axis=0, return_index=True, return_inverse=True)
    assert cloud.labels is not None
    return coords, point_features(cloud, FEATURES)[first], cloud.labels[first], inverse


def elastic_row(options: Options, cloud: PointCloud, case: str) -> Row:
    """Elastic distortion beside the same with scipy, in nanoseconds a point."""
    elastic = ElasticDistortion(probability=1.0)

    def ours() -> NDArray[np.float32]:
        return elastic(cloud, generator()).xyz_m

    def other() -> NDArray[np.float64]:
        rng = generator()
        rng.random()  # whether to distort at all
        return scipy_elastic(cloud.xyz_m, elastic.steps, rng)

    to_ns = 1e6 / cloud.num_points
    our_ns = to_ns * median_ms(ours, options.repeats)
    try:
        expected = other()
    except ImportError:
        return Row.alone("data", case, "ns/point", our_ns)
    moved = torch.from_numpy(ours())
    check_equal(case, moved.double(), torch.from_numpy(expected))
    other_ns = to_ns * median_ms(other, options.repeats)
    return Row.compare("data", case, "ns/point", our_ns, "scipy", other_ns)


def scipy_elastic(
    xyz: NDArray[Any], steps: tuple[tuple[float, float], ...], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Elastic distortion of [P, 3] by scipy's filters and its spline lookup of order one, which is
    three times as fast as its interpolator of regular grids.
    """
    from scipy import ndimage

    for granularity_m, magnitude_m in steps:
        low, high = xyz.min(axis=0), xyz.max(axis=0)
        nodes = np.ceil((high - low) / granularity_m).astype(np.int64) + 3
        noise = rng.standard_normal((3, *nodes[::-1].tolist()), dtype=np.float32)
        for axis in (1, 2, 3, 1, 2, 3):
            noise = ndimage.uniform_filter1d(noise, 3, axis=axis, mode="constant")
        at = ((xyz - low) / granularity_m + 1).T[::-1]
        shift = [ndimage.map_coordinates(channel, at, order=1) for channel in noise]
        xyz = xyz + magnitude_m * np.stack(shift, axis=1)
    return xyz


def voxel_rows(options: Options, cloud: PointCloud, voxel_size_m: float) -> Iterator[Row]:
    """Voxels with the inverse map beside two ways to get them, then what else a scene needs."""
    size = f"{voxel_size_m * 100:g}cm_{points_name(cloud)}"
    xyz = torch.from_numpy(cloud.xyz_m)
    voxels = voxelize_points(xyz, voxel_size_m)
    case, to_ns = f"voxelize_{size}", 1e6 / cloud.num_points
    our_ns = to_ns * median_ms(lambda: voxelize_points(xyz, voxel_size_m), options.repeats)
    for name, other in (("plain_torch", torch_voxels), ("numpy", numpy_voxels)):
        coords, inverse = other(xyz, voxel_size_m)
        check_equal(case, voxels.coords[:, 1:].double(), coords.double())
        check_equal(case, voxels.inverse.double(), inverse.double())
        other_ms = median_ms(partial(other, xyz, voxel_size_m), options.repeats)
        yield Row.compare("data", case, "ns/point", our_ns, name, to_ns * other_ms)
    feats = torch.from_numpy(point_features(cloud, FEATURES))
    assert cloud.labels is not None
    labels = torch.from_numpy(cloud.labels.astype(np.int64))
    parts: dict[str, Callable[[], object]] = {
        "point_features": lambda: point_features(cloud, FEATURES),
        "voxel_mean": lambda: voxel_reduce(feats, voxels, "mean"),
        "voxel_majority": lambda: voxel_reduce(labels, voxels, "majority"),
        "voxelize_cloud": lambda: voxelize_cloud(cloud, voxel_size_m, FEATURES),
    }
    for name, call in parts.items():
        ms = median_ms(call, options.repeats)
        yield Row.alone("data", f"{name}_{size}", "ms", ms)


def torch_voxels(xyz: Tensor, voxel_size_m: float) -> tuple[Tensor, Tensor]:
    """Voxels and the voxel of each point by torch."""
    cells = torch.floor(xyz / voxel_size_m).int()
    coords, inverse = plain_torch.voxelize(torch.nn.functional.pad(cells, (1, 0)))
    return coords[:, 1:], inverse


def numpy_voxels(xyz: Tensor, voxel_size_m: float) -> tuple[Tensor, Tensor]:
    """Voxels and the voxel of each point by numpy."""
    cells = np.floor(xyz.numpy() / np.float32(voxel_size_m)).astype(np.int32)
    coords, inverse = np.unique(cells, axis=0, return_inverse=True)
    return torch.from_numpy(coords), torch.from_numpy(inverse.reshape(-1))


def loader_rows(options: Options, cloud: PointCloud) -> Iterator[Row]:
    """Scenes a second, read from memory maps, transformed, voxelized and batched by two; and how
    long a step of 50 ms takes with the wait for its batch.
    """
    names = tuple(f"scene{index:04d}_00" for index in range(NUM_SCENES))
    size = points_name(cloud)
    with tempfile.TemporaryDirectory() as folder:
        cache = SceneCache(Path(folder))
        for name in names:
            cache.write(cloud.replace(scene_id=name), {}, {})
        dataset = SceneDataset(
            Scenes(PreparedReader(cache.folder), names, SCANNET20),
            VOXEL_SIZE_M,
            FEATURES,
            build_transforms(RECIPE),
        )
        for workers in WORKERS:
            batches = training_loader(dataset, SceneStream(NUM_SCENES, BATCH_SIZE, seed=0), workers)
            # More than the workers fetch ahead, so that what was there at the start counts little.
            num_batches = NUM_SCENES * max(1, workers)
            take = partial(_take, batches, num_batches)
            ms = median_ms(take, options.repeats)
            rate = 1e3 * num_batches * BATCH_SIZE / ms
            yield Row.alone("data", f"loader_{workers}_workers_{size}", "scenes/s", rate)
        ms = _fed_step_ms(batches)
    yield Row.alone("data", f"step_of_50ms_{workers}_workers_{size}", "ms", ms)


def _take(batches: Iterator[Any], count: int) -> None:
    for _ in range(count):
        next(batches)


def _fed_step_ms(batches: Iterator[Any]) -> float:
    start = time.perf_counter()
    for _ in range(FED_STEPS):
        next(batches)
        time.sleep(STEP_S)
    return 1e3 * (time.perf_counter() - start) / FED_STEPS


def scene_cloud(num_points: int, seed: int = 0) -> PointCloud:
    """Points drawn from the room, in the order of its surfaces as vertices of a mesh are, with
    colours at random and labels that change from cell to cell; a tenth is not annotated.
    """
    points = room_points()
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(len(points), num_points, replace=False))
    xyz = points.numpy().take(rows, axis=0)
    cells = np.floor(xyz / CELL_M).astype(np.int64)
    table = rng.integers(0, len(SCANNET20.names), 1 << 10).astype(np.int16)
    labels = table[(cells @ [7, 131, 31]) % len(table)]
    labels[rng.random(num_points) < 0.1] = -1
    color = rng.integers(0, 256, (num_points, 3), dtype=np.uint8)
    instances = np.zeros(num_points, dtype=np.int32)
    return PointCloud("room", xyz, color=color, labels=labels, instances=instances)


def always(transform: Transform, num_points: int) -> Transform:
    """The transform as it is in scenes that it changes; a crop keeps two thirds of the points."""
    if isinstance(transform, CropToBudget):
        return CropToBudget(num_points * 2 // 3)
    if hasattr(transform, "probability"):
        return dataclasses.replace(transform, probability=1.0)  # type: ignore[type-var]
    return transform


def points_name(cloud: PointCloud) -> str:
    return f"{cloud.num_points / 1000:g}k"


def generator() -> np.random.Generator:
    return np.random.default_rng(0)
