"""Points to voxels, and one value per voxel."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pointseg import ops
from pointseg.ops.voxelize import sort_keys, voxelize_reference
from tests.helpers.properties import given, st
from tests.ops import oracle, scenes


@st.composite
def point_coords(draw: st.DrawFn) -> Tensor:
    """Integer coordinates [P, 4] with repeats."""
    axis = st.integers(-3, 3)
    rows = draw(st.lists(st.tuples(st.integers(0, 2), axis, axis, axis), max_size=60))
    return torch.tensor(rows, dtype=torch.int32).reshape(-1, 4)


@given(coords=point_coords())
def test_voxels_are_unique_sorted_and_complete(coords: Tensor) -> None:
    found, expected = ops.voxelize(coords), oracle.voxelize(coords)
    assert oracle.as_list(found.coords) == expected.coords
    assert found.num_voxels == len(expected.coords)
    assert found.num_points == len(coords)
    assert found.counts.tolist() == [len(rows) for rows in expected.members]
    assert torch.equal(found.coords[found.inverse], coords)
    starts = found.starts.tolist()
    grouped = [found.order[a:b].tolist() for a, b in zip(starts[:-1], starts[1:], strict=True)]
    assert grouped == expected.members


def test_dtypes() -> None:
    found = ops.voxelize(scenes.random_voxels(10, 4))
    assert found.coords.dtype == torch.int32
    for array in (found.inverse, found.counts, found.order, found.starts):
        assert array.dtype == torch.int64


@given(coords=point_coords())
def test_agrees_with_the_reference_twin(coords: Tensor) -> None:
    found, reference = ops.voxelize(coords), voxelize_reference(coords)
    for name in ("coords", "inverse", "counts", "order", "starts"):
        assert torch.equal(getattr(found, name), getattr(reference, name)), name


def test_large_input_over_the_whole_range_of_coordinates() -> None:
    generator = torch.Generator().manual_seed(1)
    coords = torch.randint(-63_000, 63_000, (300_000, 4), generator=generator, dtype=torch.int32)
    coords[:, 0] = torch.randint(0, 4096, (300_000,), generator=generator)
    coords[150_000:] = coords[torch.randint(150_000, (150_000,), generator=generator)]
    found, reference = ops.voxelize(coords), voxelize_reference(coords)
    assert torch.equal(found.coords, reference.coords)
    assert torch.equal(found.order, reference.order)
    assert torch.equal(found.inverse, reference.inverse)


@pytest.mark.cpu_kernels
def test_same_bits_for_any_number_of_threads() -> None:
    coords = scenes.surface_voxels(50_000, seed=1) // 2
    results = []
    for threads in (1, 2, 2, 3):
        torch.set_num_threads(threads)
        found = ops.voxelize(coords)
        results.append([found.coords, found.inverse, found.order, found.starts])
    for arrays in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(arrays, results[0], strict=True))


def test_fake_kernels() -> None:
    coords = scenes.random_voxels(30, 5)
    utilities = ("test_schema", "test_faketensor")
    keys = ops.voxel_keys(coords)
    torch.library.opcheck(torch.ops.pointseg.voxel_keys, (coords,), test_utils=utilities)
    torch.library.opcheck(torch.ops.pointseg.sort_keys, (keys,), test_utils=utilities)
    torch.library.opcheck(torch.ops.pointseg.voxelize, (coords,), test_utils=utilities)


@given(values=st.lists(st.integers(-(2**40), 2**40), max_size=50))
def test_keys_sort_stably(values: list[int]) -> None:
    keys = torch.tensor(values, dtype=torch.int64)
    ordered, order = sort_keys(keys)
    expected = torch.sort(keys, stable=True)
    assert torch.equal(ordered, expected.values)
    assert torch.equal(order, expected.indices)


def test_key_order_is_coordinate_order() -> None:
    coords = scenes.random_voxels(500, 9, num_scenes=3)
    keys = ops.voxel_keys(coords)
    by_key = coords[torch.argsort(keys)]
    assert oracle.as_list(by_key) == sorted(oracle.as_list(coords))


# ------------------------------------------------------------------------------------- points


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_points_fall_into_the_voxel_below(dtype: torch.dtype) -> None:
    xyz = scenes.randn(500, 3, seed=2, dtype=dtype)
    found = ops.voxelize_points(xyz, 0.25)
    cells = [[0, *(math.floor(v / 0.25) for v in point)] for point in xyz.tolist()]
    assert found.coords[found.inverse].tolist() == cells


def test_scenes_stay_apart() -> None:
    xyz = torch.zeros(4, 3)
    found = ops.voxelize_points(xyz, 1.0, torch.tensor([0, 2, 0, 2]))
    assert oracle.as_list(found.coords) == [(0, 0, 0, 0), (2, 0, 0, 0)]
    assert found.inverse.tolist() == [0, 1, 0, 1]


def test_no_points() -> None:
    found = ops.voxelize_points(torch.zeros(0, 3), 0.1)
    assert found.num_voxels == 0
    assert found.starts.tolist() == [0]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_range_error_names_axis_value_and_voxel_size(axis: int) -> None:
    xyz = torch.zeros(3, 3)
    xyz[1, axis] = -7000.5
    with pytest.raises(ValueError, match=rf"{'xyz'[axis]} = -7000\.5.*0\.02"):
        ops.voxelize_points(xyz, 0.02)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_points_that_are_not_finite_are_refused(value: float) -> None:
    xyz = torch.zeros(3, 3)
    xyz[2, 1] = value
    with pytest.raises(ValueError, match="y = "):
        ops.voxelize_points(xyz, 0.02)


@pytest.mark.parametrize("voxel_size", [0.0, -1.0, math.nan])
def test_bad_voxel_size_is_refused(voxel_size: float) -> None:
    with pytest.raises(ValueError, match="voxel_size"):
        ops.voxelize_points(torch.zeros(1, 3), voxel_size)


@pytest.mark.parametrize(
    ("xyz", "batch", "name"),
    [
        (torch.zeros(3, 2), None, "xyz"),
        (torch.zeros(3, 3, dtype=torch.int32), None, "xyz"),
        (torch.zeros(3, 3), torch.zeros(2, dtype=torch.int64), "batch"),
    ],
)
def test_bad_points_name_the_argument(xyz: Tensor, batch: Tensor | None, name: str) -> None:
    with pytest.raises((ValueError, TypeError), match=name):
        ops.voxelize_points(xyz, 0.1, batch)


@pytest.mark.parametrize("coords", [torch.zeros(3, 4), torch.zeros(3, 3, dtype=torch.int32)])
def test_bad_coords_name_the_argument(coords: Tensor) -> None:
    with pytest.raises((ValueError, TypeError), match="coords"):
        ops.voxelize(coords)


def test_coordinates_beyond_the_range_are_refused() -> None:
    coords = torch.zeros(2, 4, dtype=torch.int32)
    coords[1, 3] = 70_000
    with pytest.raises(ValueError, match=r"z = 70000.*voxel size"):
        ops.voxelize(coords)


# ----------------------------------------------------------------------------------- reducing


@given(coords=point_coords())
def test_first_and_mean(coords: Tensor) -> None:
    found, expected = ops.voxelize(coords), oracle.voxelize(coords)
    values = scenes.randn(len(coords), 3, seed=4)
    first = ops.voxel_reduce(values, found, "first")
    mean = ops.voxel_reduce(values, found, "mean")
    assert first.shape == mean.shape == (found.num_voxels, 3)
    for row, members in enumerate(expected.members):
        assert torch.equal(first[row], values[members[0]])
        scenes.assert_close(mean[row], values[members].mean(dim=0), 1e-12)


@given(coords=point_coords(), seed=st.integers(0, 99), ignore=st.sampled_from([-1, 2, 255]))
def test_majority(coords: Tensor, seed: int, ignore: int) -> None:
    found, expected = ops.voxelize(coords), oracle.voxelize(coords)
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (len(coords),), generator=generator)
    labels[torch.rand(len(coords), generator=generator) < 0.3] = ignore
    wanted = [oracle.majority(labels[rows].tolist(), ignore) for rows in expected.members]
    result = ops.voxel_reduce(labels, found, "majority", ignore_index=ignore)
    assert result.dtype == labels.dtype
    assert result.tolist() == wanted


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.int64], ids=str)
def test_majority_keeps_the_dtype(dtype: torch.dtype) -> None:
    found = ops.voxelize(torch.zeros(3, 4, dtype=torch.int32))
    labels = torch.tensor([3, 1, 3], dtype=dtype)
    assert ops.voxel_reduce(labels, found, "majority").tolist() == [3]
    assert ops.voxel_reduce(labels, found, "majority").dtype == dtype


def test_majority_where_no_voxel_and_where_every_voxel_is_mixed() -> None:
    found = ops.voxelize(torch.zeros(6, 4, dtype=torch.int32))
    for labels, wanted in (
        ([7] * 6, 7),
        ([-1] * 6, -1),
        ([-1, -1, -1, -1, 3, -1], 3),  # ignored ones do not vote
        ([9, 9, 4, 4, 0, -1], 4),  # of as many, the lowest
        ([0, 5, 5, 2, 5, 2], 5),
    ):
        assert ops.voxel_reduce(torch.tensor(labels), found, "majority").tolist() == [wanted]
    with pytest.raises(ValueError, match=r"label -2 is negative"):
        ops.voxel_reduce(torch.tensor([-1, 0, 0, 0, 0, -2]), found, "majority")
    nobody = ops.voxelize(torch.zeros(0, 4, dtype=torch.int32))
    nothing = torch.zeros(0, dtype=torch.int16)
    assert ops.voxel_reduce(nothing, nobody, "majority").dtype == torch.int16


def test_mean_is_differentiable() -> None:
    found = ops.voxelize(
        torch.tensor([[0, 1, 1, 1], [0, 0, 0, 0], [0, 1, 1, 1]], dtype=torch.int32)
    )
    values = scenes.randn(3, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: ops.voxel_reduce(v, found, "mean"), (values,))


def test_values_of_one_column_may_be_vectors() -> None:
    coords = scenes.surface_voxels(200) // 4
    found, values = ops.voxelize(coords), scenes.randn(len(coords), 1)
    for reduce in ("first", "mean"):
        matrix = ops.voxel_reduce(values, found, reduce)
        assert torch.equal(ops.voxel_reduce(values[:, 0], found, reduce), matrix[:, 0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_mean_of_half_values_is_summed_in_float32(dtype: torch.dtype) -> None:
    found = ops.voxelize(torch.zeros(20_000, 4, dtype=torch.int32))
    values = (scenes.randn(20_000, 3, seed=1) + 4).to(dtype)
    mean = ops.voxel_reduce(values, found, "mean")
    assert mean.dtype == dtype
    scenes.assert_close(mean, values.double().mean(dim=0, keepdim=True), scenes.TOLERANCE[dtype])


@pytest.mark.parametrize(
    ("values", "reduce", "name"),
    [
        (torch.zeros(2, 3), "mean", "values"),
        (torch.zeros(3, 3, dtype=torch.int64), "mean", "values"),
        (torch.zeros(3, 3), "majority", "values"),
        (torch.zeros(3, 3), "median", "reduce"),
    ],
)
def test_bad_values_name_the_argument(values: Tensor, reduce: str, name: str) -> None:
    found = ops.voxelize(torch.zeros(3, 4, dtype=torch.int32))
    with pytest.raises((ValueError, TypeError), match=name):
        ops.voxel_reduce(values, found, reduce)


@pytest.mark.parametrize(
    "batch", [torch.tensor([2**32]), torch.tensor([-1]), torch.tensor([4096]), torch.tensor([0.5])]
)
def test_batch_indices_are_refused_not_wrapped(batch: Tensor) -> None:
    with pytest.raises(ValueError, match="batch: expected"):
        ops.voxelize_points(torch.zeros(1, 3), 0.1, batch)


def test_an_infinite_voxel_is_refused() -> None:
    with pytest.raises(ValueError, match="voxel_size"):
        ops.voxelize_points(torch.zeros(1, 3), float("inf"))
