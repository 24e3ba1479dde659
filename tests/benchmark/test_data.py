from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from pointseg.benchmark import Options, suites
from pointseg.benchmark.inputs import rooms
from pointseg.benchmark.suites import data
from pointseg.benchmark.suites.mixing import GROUND, MIXES, OBJECT, sweep_cloud
from pointseg.data.transforms import ElasticDistortion

ROOT = Path(__file__).resolve().parent.parent.parent
NAMES = {spec["name"] for spec in data.RECIPE}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Options:
    """Sizes at which times mean nothing."""
    monkeypatch.setattr(Options, "repeats", 1)
    monkeypatch.setattr(data, "QUICK_NUM_POINTS", 2000)
    monkeypatch.setattr(data, "EPOCHS", 2)
    monkeypatch.setattr(data, "WORKERS", (0, 1))
    monkeypatch.setattr(data, "FED_STEPS", 2)
    return Options(threads=1, quick=True)


def test_the_recipe_is_that_of_the_configuration() -> None:
    content = yaml.safe_load((ROOT / "configs/scannet_minkunet34c.yaml").read_text())["data"]
    assert list(data.RECIPE) == content["transforms"]
    assert list(data.FEATURES) == content["features"]
    assert content["voxel_size_m"] == data.VOXEL_SIZE_M
    assert any(
        room.voxel_size_m == data.VOXEL_SIZE_M for room in suites.SUITES["data"].quick_scenes
    )


def test_every_part_has_a_row(tiny: Options) -> None:
    rows = list(suites.SUITES["data"].run(tiny))
    found = {row.case.removesuffix("_2k"): row for row in rows}
    loaders = {"loader_0_workers", "loader_1_workers", "step_of_50ms_1_workers"}
    assert {*NAMES, *loaders, "training_transform"} <= found.keys()
    assert found["step_of_50ms_1_workers"].ours >= 50
    assert {f"{name}_lidar" for name in MIXES} <= found.keys()
    parts = {f"{name}_2cm" for name in ("voxel_mean", "voxel_majority", "voxelize_cloud")}
    assert parts <= found.keys()
    assert all(row.ours > 0 for row in rows)
    compared = {(row.case, row.other) for row in rows if row.ratio is not None}
    assert compared == {
        *{("voxelize_2cm_2k", "plain_torch"), ("voxelize_2cm_2k", "numpy")},
        ("elastic_distortion_2k", "scipy"),
        ("training_transform_2k", "numpy+scipy"),
    }
    assert {row.other for row in rows if row.ratio is None} == {"-"}


def test_other_voxel_sizes_have_voxels_only(tiny: Options) -> None:
    rows = list(data.data_rows(tiny, rooms("80k")[0]))
    assert all(row.case.endswith("_5cm_2k") for row in rows)
    assert len({row.case for row in rows}) == 5


def test_the_other_ways_compute_the_same() -> None:
    cloud = data.scene_cloud(3000)
    moved = ElasticDistortion(probability=1.0)(cloud, np.random.default_rng(4)).xyz_m
    rng = np.random.default_rng(4)
    rng.random()
    steps = ElasticDistortion().steps
    np.testing.assert_allclose(data.scipy_elastic(cloud.xyz_m, steps, rng), moved, atol=1e-4)
    xyz = torch.from_numpy(cloud.xyz_m)
    for a, b in zip(data.torch_voxels(xyz, 0.1), data.numpy_voxels(xyz, 0.1), strict=True):
        assert torch.equal(a.long(), b.long())


def test_sweeps_have_what_is_mixed() -> None:
    sweep, other = sweep_cloud(0), sweep_cloud(1)
    assert sweep.num_points > 100_000
    assert (np.unique(sweep.instances[sweep.labels == OBJECT]) > 0).all()
    assert len(np.unique(sweep.instances)) > 20
    assert 0.2 < (sweep.labels == GROUND).mean() < 0.8
    for transform in MIXES.values():
        mixed = transform.mix(sweep, other, np.random.default_rng(0))
        assert not np.array_equal(mixed.xyz_m, sweep.xyz_m)


def test_the_scene_is_the_same_every_time() -> None:
    first, second = data.scene_cloud(500), data.scene_cloud(500)
    for field in dataclasses.fields(first):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name))
    assert set(np.unique(first.labels)) <= set(range(-1, 20))
    assert -1 in first.labels
