from __future__ import annotations

import dataclasses
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointseg.data import (
    TRANSFORMS,
    MixingTransform,
    PointCloud,
    build_transform,
    build_transforms,
)
from pointseg.data.transforms import (
    ChromaticAutoContrast,
    ChromaticJitter,
    ChromaticTranslation,
    CropToBudget,
    ElasticDistortion,
    RandomDropout,
    RandomFlip,
    RandomJitter,
    RandomRotation,
    RandomScale,
    RandomTranslation,
)

# Those of one scene; tests/data/test_mixing.py has the others.
NAMES = sorted(name for name, cls in TRANSFORMS.items() if not issubclass(cls, MixingTransform))
seeds = st.integers(0, 2**32 - 1)


def make_cloud(num_points: int = 400, seed: int = 0) -> PointCloud:
    rng = np.random.default_rng(seed)
    normal = rng.standard_normal((num_points, 3)).astype(np.float32)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    cloud = PointCloud(
        scene_id="cloud",
        xyz_m=(rng.random((num_points, 3)) * [6, 4, 2.5] + [10, -20, 1]).astype(np.float32),
        color=rng.integers(30, 200, (num_points, 3)).astype(np.uint8),
        normal=normal,
        labels=rng.integers(-1, 20, num_points).astype(np.int16),
        instances=rng.integers(0, 9, num_points).astype(np.int32),
        extras={"row": np.arange(num_points)},
    )
    for array in (cloud.xyz_m, cloud.color, cloud.normal, cloud.labels, cloud.instances):
        array.setflags(write=False)  # as memory maps are: nothing may write in place
    return cloud


def apply(transform, cloud: PointCloud, seed: int = 0) -> PointCloud:
    return transform(cloud, np.random.default_rng(seed))


def always(name: str):
    cls = TRANSFORMS[name]
    fields = {field.name for field in dataclasses.fields(cls)}
    options = {"probability": 1.0} if "probability" in fields else {}
    return cls(**options, **({"max_points": 100} if "max_points" in fields else {}))


def arrays(cloud: PointCloud) -> dict[str, np.ndarray]:
    names = ("xyz_m", "color", "normal", "labels", "instances")
    return {n: getattr(cloud, n) for n in names if getattr(cloud, n) is not None}


@pytest.mark.parametrize("name", NAMES)
@given(seed=seeds)
def test_a_transform_is_a_function_of_cloud_and_generator(name: str, seed: int) -> None:
    cloud = make_cloud(60)
    first, second = apply(always(name), cloud, seed), apply(always(name), cloud, seed)
    rows = first.extras["row"]
    assert np.all(np.diff(rows) > 0)  # the points' order is kept
    for key, array in arrays(first).items():
        np.testing.assert_array_equal(array, arrays(second)[key])
        assert array.dtype == arrays(cloud)[key].dtype
        assert array.flags.c_contiguous
    np.testing.assert_array_equal(first.labels, cloud.labels[rows])
    np.testing.assert_array_equal(first.instances, cloud.instances[rows])


@pytest.mark.parametrize("name", NAMES)
def test_a_transform_changes_something_and_takes_bare_clouds(name: str) -> None:
    cloud = make_cloud()
    changed = [apply(always(name), cloud, seed) for seed in range(5)]
    before = arrays(cloud)
    assert any(
        len(c.xyz_m) != len(cloud.xyz_m)
        or any(not np.array_equal(a, before[k]) for k, a in arrays(c).items())
        for c in changed
    )
    bare = PointCloud("bare", cloud.xyz_m)
    assert arrays(apply(always(name), bare)).keys() == {"xyz_m"}
    single = apply(always(name), cloud.select(np.array([3])))
    assert single.num_points == 1
    assert np.isfinite(single.xyz_m).all()


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("random_scale",)])
def test_probability_zero_changes_nothing(name: str) -> None:
    if "probability" not in {f.name for f in dataclasses.fields(TRANSFORMS[name])}:
        return
    cloud = make_cloud()
    assert apply(TRANSFORMS[name](probability=0.0), cloud) is cloud


@given(seed=seeds)
def test_rotation_is_rigid_and_turns_normals_along(seed: int) -> None:
    cloud = make_cloud(50)
    turned = apply(RandomRotation(), cloud, seed)
    before = cloud.xyz_m - cloud.xyz_m.mean(0)
    after = turned.xyz_m - turned.xyz_m.mean(0)
    np.testing.assert_allclose(before @ before.T, after @ after.T, atol=1e-3)
    np.testing.assert_allclose(
        (before * cloud.normal).sum(1), (after * turned.normal).sum(1), atol=1e-4
    )
    volume = np.linalg.det(after[:3].astype(float)) / np.linalg.det(before[:3].astype(float))
    assert volume == pytest.approx(1, abs=1e-2)  # not a reflection
    middle = (cloud.xyz_m.min(0) + cloud.xyz_m.max(0)) / 2
    np.testing.assert_allclose(
        np.linalg.norm(cloud.xyz_m - middle, axis=1),
        np.linalg.norm(turned.xyz_m - middle, axis=1),
        atol=1e-4,
    )


@given(seed=seeds)
def test_rotation_angles_are_bounded(seed: int) -> None:
    up = np.array([[0, 0, 1], [1, 0, 0]], dtype=np.float32)
    cloud = PointCloud("axes", np.zeros((2, 3), np.float32), normal=up)
    turned = apply(RandomRotation(max_yaw_deg=10, max_tilt_deg=2), cloud, seed).normal
    assert np.rad2deg(np.arccos(min(1.0, turned[0, 2]))) <= 2 * np.sqrt(2) + 1e-3
    assert abs(np.rad2deg(np.arctan2(turned[1, 1], turned[1, 0]))) <= 10.2
    level = apply(RandomRotation(max_tilt_deg=0), cloud, seed).normal
    np.testing.assert_allclose(level[0], [0, 0, 1], atol=1e-6)


@given(seed=seeds)
def test_scale_flip_translation(seed: int) -> None:
    cloud = make_cloud(50)
    ratio = apply(RandomScale(0.8, 1.25), cloud, seed).xyz_m / cloud.xyz_m
    assert ratio.min() >= 0.8 - 1e-6
    assert ratio.max() <= 1.25 + 1e-6
    assert ratio.max() - ratio.min() < 1e-5
    flipped = apply(RandomFlip(1.0), cloud, seed)
    middle = (cloud.xyz_m.min(0) + cloud.xyz_m.max(0)) / 2
    expected = (cloud.xyz_m - middle) * [-1, -1, 1] + middle
    np.testing.assert_allclose(flipped.xyz_m, expected, atol=1e-4)
    np.testing.assert_array_equal(flipped.normal, cloud.normal * np.float32([-1, -1, 1]))
    shift = apply(RandomTranslation((0.5, 0.1, 0.0)), cloud, seed).xyz_m - cloud.xyz_m
    assert (np.abs(shift).max(0) <= [0.5 + 1e-5, 0.1 + 1e-5, 0]).all()
    np.testing.assert_allclose(shift, shift[:1] + np.zeros_like(shift), atol=1e-5)


@given(seed=seeds)
def test_the_origin_stays_where_it_is_on_request(seed: int) -> None:
    cloud = make_cloud(50)
    turn = RandomRotation(max_tilt_deg=0, about="origin")
    for moved in (apply(turn, cloud, seed), apply(RandomFlip(1.0, about="origin"), cloud, seed)):
        np.testing.assert_allclose(
            np.linalg.norm(moved.xyz_m, axis=1), np.linalg.norm(cloud.xyz_m, axis=1), rtol=1e-5
        )
        np.testing.assert_array_equal(moved.xyz_m[:, 2], cloud.xyz_m[:, 2])
        assert not np.allclose(moved.xyz_m, cloud.xyz_m)


def test_flips_are_drawn_per_axis() -> None:
    cloud = make_cloud(10)
    signs = {
        tuple(np.sign(apply(RandomFlip(), cloud, seed).normal[0] / cloud.normal[0]).astype(int))
        for seed in range(40)
    }
    assert signs == {(1, 1, 1), (-1, 1, 1), (1, -1, 1), (-1, -1, 1)}


def test_jitter_is_cut_off() -> None:
    cloud = make_cloud(5000)
    noise = apply(RandomJitter(std_m=0.01, clip_m=0.015), cloud).xyz_m - cloud.xyz_m
    assert np.abs(noise).max() <= 0.015 + 1e-5
    assert noise.std() == pytest.approx(0.009, abs=0.001)


def test_elastic_distortion_is_smooth_and_of_the_stated_size() -> None:
    rng = np.random.default_rng(0)
    xyz = (rng.random((4000, 3)) * [6, 4, 2.5]).astype(np.float32)
    near = xyz + np.float32([0.01, 0, 0])
    cloud = PointCloud("pairs", np.concatenate([xyz, near]))
    step = ElasticDistortion(((0.8, 1.6),), probability=1.0)
    shift = apply(step, cloud).xyz_m - cloud.xyz_m
    # White noise of deviation 1 blurred twice over three nodes along each of three axes keeps
    # (19 / 81) ** 1.5 = 0.114 of its deviation at the nodes, somewhat less between them.
    assert 0.5 * 1.6 * 0.114 < shift.std() < 1.2 * 1.6 * 0.114
    assert np.abs(shift[:4000] - shift[4000:]).max() < 0.03
    two = apply(ElasticDistortion(probability=1.0), cloud)
    assert two.xyz_m.shape == cloud.xyz_m.shape


def test_elastic_distortion_samples_its_grid_trilinearly() -> None:
    # An oracle by explicit interpolation at the points, of the same noise.
    xyz = (np.random.default_rng(1).random((200, 3)) * [2, 1, 0.7]).astype(np.float32)
    cloud = PointCloud("c", xyz)
    g, m = 0.3, 0.5
    moved = apply(ElasticDistortion(((g, m),), probability=1.0), cloud, seed=7).xyz_m
    rng = np.random.default_rng(7)
    rng.random()
    low, high = xyz.min(0), xyz.max(0)
    nodes = np.ceil((high - low) / g).astype(int) + 3
    noise = rng.standard_normal((3, *nodes[::-1]), dtype=np.float32).astype(float)
    kernel = np.ones(3) / 3
    for _ in range(2):
        for axis in (1, 2, 3):
            noise = np.apply_along_axis(np.convolve, axis, noise, kernel, mode="same")
    at = (xyz - low) / g + 1
    for i, (x, y, z) in enumerate(at):
        cell = np.floor((x, y, z)).astype(int)
        f = (x, y, z) - cell
        value = np.zeros(3)
        for corner in np.ndindex(2, 2, 2):
            weight = np.prod(np.where(corner, f, 1 - f))
            ix, iy, iz = cell + corner
            value += weight * noise[:, iz, iy, ix]
        np.testing.assert_allclose(moved[i], xyz[i] + m * value, atol=1e-4)


def distort_in_float64(
    xyz: np.ndarray, granularity_m: float, magnitude_m: float, rng
) -> np.ndarray:
    """One step of elastic distortion, written down as the docstring says it."""
    extent = xyz.max(0).astype(np.float32) - xyz.min(0).astype(np.float32)
    nodes = np.ceil(extent / granularity_m).astype(int) + 3
    noise = rng.standard_normal((3, *nodes[::-1]), dtype=np.float32).astype(np.float64)
    for axis in (1, 2, 3, 1, 2, 3):
        noise = np.apply_along_axis(np.convolve, axis, noise, np.ones(3) / 3, mode="same")
    at = (xyz - xyz.min(0)) / granularity_m + 1
    cell = np.floor(at).astype(int)
    share = at - cell
    shift = np.zeros_like(xyz)
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, share, 1 - share), axis=1)
        ix, iy, iz = (cell + corner).T
        shift += weight[:, None] * noise[:, iz, iy, ix].T
    return xyz + magnitude_m * shift


@pytest.mark.parametrize("size_m", [(6, 4, 2.5), (0.01, 30, 9), (40, 3, 0)], ids=str)
def test_elastic_distortion_is_what_it_says_in_steps_one_after_another(size_m) -> None:
    # 1003 points: not a multiple of any vector. Tolerance: float32 tells rows of the tallest image
    # here, of 7,000, apart to 4e-4 of a node, and noise changes by less than 0.2 m a node.
    unit = np.random.default_rng(2).random((1003, 3))
    cloud = PointCloud("c", (unit * size_m + [10, -20, 1]).astype(np.float32))
    steps = ((0.2, 0.4), (0.8, 1.6))
    moved = apply(ElasticDistortion(steps, probability=1.0), cloud, seed=3).xyz_m
    rng = np.random.default_rng(3)
    rng.random()
    expected = cloud.xyz_m.astype(np.float64)
    for granularity_m, magnitude_m in steps:
        expected = distort_in_float64(expected, granularity_m, magnitude_m, rng)
    np.testing.assert_allclose(moved, expected, atol=8e-5)


def test_elastic_distortion_refuses_scenes_in_wrong_units() -> None:
    cloud = PointCloud("mm", np.array([[0, 0, 0], [8000, 8000, 3000]], dtype=np.float32))
    with pytest.raises(ValueError, match="check the scene's units"):
        apply(ElasticDistortion(probability=1.0), cloud)


def test_dropout_and_crop() -> None:
    cloud = make_cloud(5000)
    dropped = apply(RandomDropout(0.3, probability=1.0), cloud)
    assert dropped.num_points == pytest.approx(3500, abs=150)
    assert apply(RandomDropout(0.99999, probability=1.0), make_cloud(3)).num_points >= 1
    for seed in range(5):
        cropped = apply(CropToBudget(700), cloud, seed)
        assert cropped.num_points == 700
        rows = cropped.extras["row"]
        distances = np.linalg.norm(cloud.xyz_m[:, None] - cropped.xyz_m[None], axis=2)
        inside = np.isin(np.arange(5000), rows)
        # One of the kept points is a centre that all kept points are nearer to than all others.
        assert (distances[inside].max(0) <= distances[~inside].min(0) + 1e-6).any()
    assert apply(CropToBudget(5000), cloud) is cloud


def test_auto_contrast_spans_the_range() -> None:
    cloud = make_cloud()
    full = apply(ChromaticAutoContrast(1.0, blend=1.0), cloud).color
    assert full.min(0).tolist() == [0, 0, 0]
    assert full.max(0).tolist() == [255, 255, 255]
    np.testing.assert_array_equal(
        apply(ChromaticAutoContrast(1.0, blend=0.0), cloud).color, cloud.color
    )
    low, high = cloud.color.min(0).astype(float), cloud.color.max(0).astype(float)
    expected = 0.5 * (cloud.color - low) * 255 / (high - low) + 0.5 * cloud.color
    half = apply(ChromaticAutoContrast(1.0, blend=0.5), cloud).color
    assert np.abs(half - expected).max() <= 0.51
    flat = cloud.replace(color=np.full_like(cloud.color, 90))
    np.testing.assert_array_equal(apply(ChromaticAutoContrast(1.0, 1.0), flat).color, flat.color)


@given(seed=seeds)
def test_chromatic_translation_shifts_whole_channels(seed: int) -> None:
    cloud = make_cloud(100)
    shift = apply(ChromaticTranslation(0.05, 1.0), cloud, seed).color.astype(int) - cloud.color
    assert np.abs(shift).max() <= 13
    assert (shift == shift[:1]).all()


def test_chromatic_jitter_and_saturation() -> None:
    cloud = make_cloud(5000)
    noise = apply(ChromaticJitter(0.02, 1.0), cloud).color.astype(int) - cloud.color
    assert noise.std() == pytest.approx(5.1, abs=0.2)
    assert abs(noise.mean()) < 0.1
    # How often each level comes: that of a normal variable that is rounded, to five deviations.
    grey = cloud.replace(color=np.full_like(cloud.color, 128))
    levels = apply(ChromaticJitter(0.02, 1.0), grey).color.ravel().astype(int) - 128
    below = [statistics.NormalDist(0, 5.1).cdf(level + 0.5) for level in range(-13, 13)]
    found = [(levels <= level).mean() for level in range(-13, 13)]
    np.testing.assert_allclose(found, below, atol=5 * 0.5 / np.sqrt(levels.size))
    white = cloud.replace(color=np.full_like(cloud.color, 255))
    for transform in (ChromaticJitter(1.0, 1.0), ChromaticTranslation(0.5, 1.0)):
        changed = apply(transform, white).color
        assert changed.max() <= 255
        assert changed.min() >= 0  # no wrap to dark: the mean stays bright
        assert changed.mean() > 100


# -- configuration --------------------------------------------------------------------------------


def test_transforms_from_configuration() -> None:
    built = build_transforms(
        [
            {"name": "random_rotation", "max_tilt_deg": 3},
            {"name": "elastic_distortion", "steps": [[0.2, 0.4]]},
            {"name": "crop_to_budget", "max_points": 10},
        ]
    )
    assert built == (
        RandomRotation(max_tilt_deg=3),
        ElasticDistortion(((0.2, 0.4),)),
        CropToBudget(10),
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "random_rotate"}, "unknown transform 'random_rotate'; did you mean 'random_rot"),
        ({"name": "random_flip", "p": 1}, "'random_flip' has no option 'p'.*valid: probability"),
        ({"name": "random_flip", "probabilty": 1}, "did you mean 'probability'"),
        (
            {"name": "random_flip", "probability": 2},
            r"'random_flip': probability must be in \[0, 1\]",
        ),
        ({"name": "random_flip", "probability": "x"}, "'random_flip'"),
        ({"name": "random_rotation", "about": "center"}, "about must be one of middle, origin"),
        ({"name": "random_scale", "low": -1}, "low <= high"),
        ({"name": "random_translation", "max_shift_m": [1]}, "three lengths"),
        ({"name": "elastic_distortion", "steps": [[0, 1]]}, "granularity_m > 0"),
        ({"name": "crop_to_budget", "max_points": 0}, "max_points"),
        ({"name": "crop_to_budget", "max_points": 2.5}, "max_points must be a whole number"),
        ({"name": "random_translation", "max_shift_m": 3}, "three lengths"),
        ({"name": "elastic_distortion", "steps": [3]}, "granularity_m > 0"),
        ({"name": "random_dropout", "ratio": 1}, "ratio"),
        ({"name": "random_jitter", "std_m": -1}, "std_m"),
        ({"probability": 1}, "name: ..."),
        ("random_flip", "name: ..."),
    ],
)
def test_bad_configuration_is_named(spec, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_transform(spec)
