"""What the streets hold: every class, things that keep their number, nothing read from a point."""

from __future__ import annotations

import numpy as np
import pytest

from pointseg.data.labels import LabelMap
from pointseg.data.synthetic.control import lidar_features, score_control, train_control
from pointseg.data.synthetic.streets import LidarSettings, StreetScanner, Sweep, build_street
from pointseg.data.synthetic.streets.course import Course
from pointseg.data.synthetic.streets.raw_ids import MOVING, THINGS
from pointseg.data.synthetic.streets.sensor import ELEVATIONS_DEG, returned
from pointseg.data.synthetic.streets.street import plan_street
from pointseg.data.types import PointCloud

SEED = 0
NUMBERS = (0, 1, 2, 8)
SCANS = 20
LIDAR = LidarSettings()

# The 19 classes of the benchmark, by the raw ids that they gather.
CLASSES = {
    "car": (10, 252), "bicycle": (11,), "motorcycle": (15,), "truck": (18, 258),
    "other-vehicle": (13, 20, 257, 259), "person": (30, 254), "bicyclist": (31, 253),
    "motorcyclist": (32, 255), "road": (40, 60), "parking": (44,), "sidewalk": (48,),
    "other-ground": (49,), "building": (50,), "fence": (51,), "vegetation": (70,), "trunk": (71,),
    "terrain": (72,), "pole": (80,), "traffic-sign": (81,),
}  # fmt: skip
READS = {raw: train for train, raws in enumerate(CLASSES.values()) for raw in raws}
LABEL_MAP = LabelMap(
    "streets",
    tuple(CLASSES),
    tuple(raws[0] for raws in CLASSES.values()),
    np.zeros((len(CLASSES), 3), np.uint8),
    reads=READS | {0: -1, 1: -1, 52: -1, 99: -1},
)


@pytest.fixture(scope="module")
def scanners() -> dict[int, StreetScanner]:
    return {n: StreetScanner(build_street(SEED, n, SCANS), SEED, n, LIDAR) for n in NUMBERS}


@pytest.fixture(scope="module")
def sweeps(scanners: dict[int, StreetScanner]) -> dict[int, list[Sweep]]:
    return {n: [s.scan(i) for i in range(0, SCANS, 3)] for n, s in scanners.items()}


def raw_ids(sweep: Sweep) -> np.ndarray:
    return (sweep.labels & 0xFFFF).astype(np.int32)


def as_clouds(sweeps: list[Sweep]) -> list[PointCloud]:
    return [
        PointCloud(
            f"{i:06d}",
            np.ascontiguousarray(sweep.points[:, :3]),
            labels=LABEL_MAP.to_train(raw_ids(sweep)),
            extras={"intensity": sweep.points[:, 3]},
        )
        for i, sweep in enumerate(sweeps)
    ]


def test_every_class_is_seen(sweeps: dict[int, list[Sweep]]) -> None:
    counts = np.zeros((len(NUMBERS), len(CLASSES)), int)
    for row, scans in zip(counts, sweeps.values(), strict=True):
        for cloud in as_clouds(scans):
            assert cloud.labels is not None
            row += np.bincount(cloud.labels[cloud.labels >= 0], minlength=len(CLASSES))
    seen = dict(zip(CLASSES, counts.T.tolist(), strict=True))
    assert all(sum(row) >= 1000 for row in seen.values()), seen
    assert all(sum(count > 0 for count in row) >= 3 for row in seen.values()), seen
    share = counts.sum(0) / counts.sum()
    assert 0.15 < share[list(CLASSES).index("road")] < 0.45
    assert share.max() < 0.45


def test_moving_and_standing_things_have_ids_of_their_own(sweeps: dict[int, list[Sweep]]) -> None:
    found = set(np.unique(np.concatenate([raw_ids(s) for scans in sweeps.values() for s in scans])))
    assert {10, 30, 252, 253, 254, 255, 60, 99} <= found
    assert found <= READS.keys() | {0, 1, 52, 99}


def test_few_points_are_unlabelled(sweeps: dict[int, list[Sweep]]) -> None:
    raw = np.concatenate([raw_ids(sweep) for scans in sweeps.values() for sweep in scans])
    assert 0 < np.isin(raw, (0, 1)).mean() < 0.002
    assert np.isin(raw, (0, 1, 52, 99)).mean() < 0.06


def test_things_keep_their_number_and_stuff_has_none(sweeps: dict[int, list[Sweep]]) -> None:
    for number, scans in sweeps.items():
        classes: dict[int, int] = {}
        sightings: dict[int, int] = {}
        for sweep in scans:
            instance, raw = sweep.labels >> 16, raw_ids(sweep)
            is_ghost = np.isin(raw, (0, 1))
            assert (instance[is_ghost] == 0).all()
            assert (np.isin(raw, list(THINGS)) == (instance > 0)).all()
            for one in np.unique(instance[instance > 0]):
                (label,) = np.unique(raw[instance == one])
                assert classes.setdefault(int(one), int(label)) == label, (number, one)
                sightings[int(one)] = sightings.get(int(one), 0) + 1
        assert sum(count >= 3 for count in sightings.values()) > 10


def test_moving_things_move_and_standing_ones_stand(
    scanners: dict[int, StreetScanner], sweeps: dict[int, list[Sweep]]
) -> None:
    """By the median of a thing's points, in the street's frame, between two sweeps."""
    for number, scans in sweeps.items():
        poses = scanners[number].street.plan.drive.poses[::3]
        places: dict[int, list[np.ndarray]] = {}
        moving: dict[int, bool] = {}
        for pose, sweep in zip(poses, scans, strict=True):
            xyz = sweep.points[:, :3] @ pose[:3, :3].T + pose[:3, 3]
            instance, raw = sweep.labels >> 16, raw_ids(sweep)
            for one in np.unique(instance[instance > 0]):
                mask = instance == one
                if mask.sum() >= 20:
                    places.setdefault(int(one), []).append(np.median(xyz[mask], 0))
                    moving[int(one)] = int(raw[mask][0]) in MOVING.values()
        for one, seen in places.items():
            if len(seen) < 4:
                continue
            path = np.linalg.norm(seen[-1] - seen[0])
            # Other sides of a lorry come into view while the sensor drives by.
            assert (path > 0.3) if moving[one] else (path < 6.0), (number, one, path)


def test_the_same_street_twice_gives_the_same_sweep(sweeps: dict[int, list[Sweep]]) -> None:
    again = StreetScanner(build_street(SEED, 8, SCANS), SEED, 8, LIDAR).scan(3)
    assert again.points.tobytes() == sweeps[8][1].points.tobytes()
    assert again.labels.tobytes() == sweeps[8][1].labels.tobytes()
    plans = [plan_street(*key, SCANS) for key in ((SEED, 8), (SEED + 1, 8), (SEED, 7))]
    assert len({plan.drive.poses.tobytes() for plan in plans}) == 3


def test_a_scan_has_the_size_it_is_said_to_have(sweeps: dict[int, list[Sweep]]) -> None:
    sizes = [len(sweep.points) for scans in sweeps.values() for sweep in scans]
    assert min(sizes) > 20_000 and max(sizes) < 64 * LIDAR.azimuth_steps
    assert ELEVATIONS_DEG[0] == 2.0 and ELEVATIONS_DEG[-1] == pytest.approx(-24.8)


def test_the_ground_is_below_the_sensor(sweeps: dict[int, list[Sweep]]) -> None:
    for scans in sweeps.values():
        for sweep in scans:
            near = np.linalg.norm(sweep.points[:, :2], axis=1) < 6.0
            road = sweep.points[near & (raw_ids(sweep) == 40), 2]
            assert abs(float(np.median(road)) + 1.73) < 0.12


def test_a_single_point_does_not_tell_its_class(sweeps: dict[int, list[Sweep]]) -> None:
    """Intensity, height and range alone stay far below what shape and context give."""
    seen = [cloud for n in NUMBERS[:-1] for cloud in as_clouds(sweeps[n])]
    forest = train_control(
        seen, points_per_cloud=2000, num_trees=8, max_depth=12, features_of=lidar_features
    )
    report = score_control(forest, as_clouds(sweeps[8]), tuple(CLASSES), lidar_features)
    assert report.num_points > 100_000
    assert report.mean_iou < 0.25
    assert report.iou[list(CLASSES).index("road")] > 0.4
    with pytest.raises(ValueError, match="intensity"):
        lidar_features(as_clouds(sweeps[8][:1])[0].replace(extras={}))


def test_echoes_are_lost_at_grazing_dark_far_and_glass_surfaces() -> None:
    count = 4000
    usual = {"distance": 10.0, "cosine": 0.8, "reflectance": 0.4, "dropout": 0.0}

    def share(**changes: float) -> float:
        values = [np.full(count, (usual | changes)[n], np.float32) for n in usual]
        distance, cosine, reflectance, dropout = values
        rng = np.random.default_rng(0)
        return float(returned(rng, distance, cosine, reflectance, dropout, 80.0).mean())

    assert share() > 0.97
    assert share(cosine=0.01) < 0.3
    assert share(reflectance=0.001) < 0.5
    assert share(dropout=0.6) == pytest.approx(0.39, abs=0.03)
    assert share(distance=75.0, reflectance=0.1) < 0.6 < share(distance=20.0, reflectance=0.1)
    assert share(distance=81.0) == share(distance=float("inf")) == 0.0


def test_places_beside_a_course_keep_their_distance() -> None:
    course = Course.draw(np.random.default_rng(5), -50.0, 80.0)
    s = np.arange(-40.0, 70.0, 0.5)
    middle, left = course.at(s, np.zeros_like(s)), course.at(s, np.full_like(s, 4.0))
    np.testing.assert_allclose(np.linalg.norm((left - middle)[:, :2], axis=1), 4.0)
    steps = np.linalg.norm(np.diff(middle[:, :2], axis=0), axis=1)
    np.testing.assert_allclose(steps, 0.5, atol=1e-3)
    assert np.abs(np.diff(middle[:, 3])).max() / 0.5 < 1 / 70.0
    ahead = np.diff(middle[:, :2], axis=0) / 0.5
    heading = np.stack([np.cos(middle[1:, 3]), np.sin(middle[1:, 3])], 1)
    assert (ahead * heading).sum(1).min() > 0.999
