"""Interpolation against brute force, and its contract."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pointseg import ops
from pointseg.sparse import VoxelGrid
from tests.helpers.properties import given, st
from tests.ops import oracle, scenes
from tests.ops.large import untouched_zeros

MODES = ("trilinear", "nearest")


@st.composite
def queries(draw: st.DrawFn) -> Tensor:
    """Points [Q, 4] in and around the voxels of `scenes.voxel_sets`; many on lattice points."""
    place = st.one_of(st.integers(-14, 14).map(float), st.floats(-14, 14, width=32))
    rows = draw(st.lists(st.tuples(st.integers(0, 2), place, place, place), max_size=12))
    return torch.tensor(rows, dtype=torch.float64).reshape(-1, 4)


@given(
    coords=scenes.voxel_sets(max_voxels=80),
    stride=st.sampled_from([1, 2, 3]),
    query=queries(),
    mode=st.sampled_from(MODES),
)
def test_matches_brute_force_and_its_gradients(
    coords: Tensor, stride: int, query: Tensor, mode: str
) -> None:
    coords[:, 1:] *= stride
    grid = VoxelGrid(coords, stride=stride, num_scenes=3)
    feats = scenes.randn(len(coords), 3, seed=1).requires_grad_()
    out = ops.interpolate(feats, grid, query, mode)
    expected = oracle.interpolate(feats, coords, stride, query, mode)
    scenes.assert_close(out, expected, 1e-12)
    if not expected.requires_grad:
        return
    grad_out = scenes.randn(*out.shape, seed=4)
    (ours,) = torch.autograd.grad(out, feats, grad_out)
    (theirs,) = torch.autograd.grad(expected, feats, grad_out)
    scenes.assert_close(ours, theirs, 1e-12)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("stride", [1, 4])
def test_at_a_voxel_its_own_features(mode: str, stride: int) -> None:
    coords = scenes.random_voxels(200, 9, num_scenes=2, stride=stride)
    grid = VoxelGrid(coords, stride=stride)
    feats = scenes.randn(200, 3, seed=1)
    assert torch.equal(ops.interpolate(feats, grid, coords.double(), mode), feats)


def test_linear_functions_are_reproduced_inside() -> None:
    """Weights sum to one and are exact for a + b x + c y + d z where all corners are there."""
    lattice = torch.cartesian_prod(*[torch.arange(-3, 4)] * 3)
    coords = torch.cat([torch.zeros(len(lattice), 1, dtype=torch.int64), lattice * 2], dim=1)
    grid = VoxelGrid(coords.to(torch.int32), stride=2)
    factors = torch.tensor([[1.0], [-2.0], [0.5]], dtype=torch.float64)
    query = torch.rand(300, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    query[:, 1:] = query[:, 1:] * 11.9 - 6
    query[:, 0] = 0
    feats = coords[:, 1:].double() @ factors + 3
    out = ops.interpolate(feats, grid, query, "trilinear")
    scenes.assert_close(out, query[:, 1:] @ factors + 3, 1e-12)


def test_nearest_at_shifted_queries_is_the_voxel_a_point_falls_into() -> None:
    xyz = scenes.randn(500, 3, seed=2) * 4
    voxels = ops.voxelize_points(xyz, 1.0)
    feats = scenes.randn(voxels.num_voxels, 2, seed=1)
    query = torch.cat([torch.zeros(500, 1, dtype=torch.float64), xyz - 0.5], dim=1)
    out = ops.interpolate(feats, VoxelGrid(voxels.coords), query, "nearest")
    assert torch.equal(out, feats[voxels.inverse])


@pytest.mark.parametrize("mode", MODES)
def test_absent_corners_count_as_zeros(mode: str) -> None:
    grid = VoxelGrid(torch.zeros(1, 4, dtype=torch.int32), num_scenes=2)
    feats = torch.ones(1, 1, dtype=torch.float64)
    query = torch.tensor(
        [[0, 0.25, 0.25, 0.25], [0, -0.25, 0, 0], [0, 5, 5, 5], [1, 0, 0, 0]], dtype=torch.float64
    )
    expected = {"trilinear": [0.75**3, 0.75, 0.0, 0.0], "nearest": [1.0, 1.0, 0.0, 0.0]}
    out = ops.interpolate(feats, grid, query, mode)
    scenes.assert_close(out[:, 0], torch.tensor(expected[mode]), 1e-7)


@pytest.mark.parametrize("mode", MODES)
def test_queries_far_outside_are_zero(mode: str) -> None:
    """Beyond the range of keys nothing wraps around to a voxel on the other side."""
    edge = torch.tensor([[0, 63_000, -63_000, 63_000]], dtype=torch.int32)
    grid = VoxelGrid(torch.cat([edge, edge * -1]))
    feats = torch.ones(2, 1)
    far = torch.tensor([1e5, 131_072.0, 2.0**31, 2.0**32, 1e20, -1e5, -131_072.0, -1e20])
    for axis in (1, 2, 3):
        query = torch.zeros(len(far), 4) + edge
        query[:, axis] += far
        assert not ops.interpolate(feats, grid, query, mode).any()


@pytest.mark.parametrize("mode", MODES)
def test_at_the_edge_of_the_range(mode: str) -> None:
    limit = 63_488
    corners = torch.cartesian_prod(*[torch.tensor([-limit, limit])] * 3)
    coords = torch.cat([torch.zeros(8, 1, dtype=torch.int64), corners], dim=1).to(torch.int32)
    feats = scenes.randn(8, 2, seed=1)
    out = ops.interpolate(feats, VoxelGrid(coords), coords.double(), mode)
    assert torch.equal(out, feats)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_largest_error_over_200k_queries(mode: str, dtype: torch.dtype) -> None:
    """Also the gradient of one voxel that 100k queries read."""
    coords = scenes.surface_voxels(50_000, seed=7)
    grid = VoxelGrid(coords)
    generator = torch.Generator().manual_seed(1)
    query = coords[torch.randint(len(coords), (200_000,), generator=generator)].float()
    query[100_000:] = coords[0].float()
    query[:, 1:] += torch.rand(200_000, 3, generator=generator)
    feats = (scenes.randn(len(coords), 3, seed=1) + 2).to(dtype).requires_grad_()
    exact = feats.detach().double().requires_grad_()
    out = ops.interpolate(feats, grid, query, mode)
    expected = ops.interpolate(exact, grid, query, mode)
    tolerance = max(scenes.TOLERANCE[dtype], 2e-5)
    scenes.assert_close(out, expected, tolerance)
    grad_out = (scenes.randn(*out.shape, seed=3).abs() * 0.2).to(dtype)
    (ours,) = torch.autograd.grad(out, feats, grad_out)
    (wanted,) = torch.autograd.grad(expected, exact, grad_out.double())
    scenes.assert_close(ours, wanted, tolerance)


def test_addresses_beyond_two_to_the_31() -> None:
    feats = untouched_zeros(70_000_000, 32)
    feats[-1], feats[0] = 3.0, 2.0
    rows = torch.tensor([[69_999_999, 0], [0, -1]], dtype=torch.int32)
    weights = torch.tensor([[0.5, 0.25], [1.0, 1.0]])
    out = torch.ops.pointseg.interpolate(feats, rows, weights)
    assert torch.equal(out, torch.tensor([[2.0], [2.0]]).expand(2, 32))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"feats": torch.zeros(9, 3)}, "feats"),
        ({"feats": torch.zeros(10, 3, dtype=torch.int64)}, "feats"),
        ({"query": torch.zeros(5, 3)}, "query"),
        ({"query": torch.zeros(5, 4, dtype=torch.int32)}, "query"),
        ({"query": torch.zeros(5, 4, dtype=torch.float16)}, "query"),
        ({"query": torch.zeros(5, 4, requires_grad=True)}, "query.*detach"),
        ({"mode": "cubic"}, "mode.*'trilinear'.*'cubic'"),
    ],
)
def test_bad_arguments_are_named(change: dict[str, object], match: str) -> None:
    arguments: dict[str, object] = {
        "feats": torch.zeros(10, 3),
        "grid": VoxelGrid(scenes.random_voxels(10, 4)),
        "query": torch.zeros(5, 4),
        **change,
    }
    with pytest.raises((ValueError, TypeError), match=f"^{match}"):
        ops.interpolate(**arguments)


NOWHERE = [
    ([0, 1, math.nan, 1], "finite.*row 1"),
    ([0, 1, math.inf, 1], "finite.*row 1"),
    ([1, 0, 0, 0], "batch.*1 at row 1"),
    ([0.5, 0, 0, 0], "batch.*0.5 at row 1"),
    ([-1, 0, 0, 0], "batch.*-1 at row 1"),
    ([math.nan, 0, 0, 0], "finite.*row 1"),
]


@pytest.mark.cpu_kernels
@pytest.mark.parametrize(("row", "match"), NOWHERE)
def test_queries_that_are_nowhere_are_refused(row: list[float], match: str) -> None:
    grid = VoxelGrid(torch.zeros(1, 4, dtype=torch.int32))
    with pytest.raises(ValueError, match=f"^query.*{match}"):
        ops.interpolate(torch.ones(1, 2), grid, torch.tensor([[0.0] * 4, row]))


@pytest.mark.parametrize("row", [row for row, _ in NOWHERE])
@pytest.mark.parametrize("mode", MODES)
def test_to_the_kernels_queries_that_are_nowhere_are_zero(row: list[float], mode: str) -> None:
    """On CUDA nobody looks at values before the kernel does, nor under compilation."""
    grid = VoxelGrid(torch.zeros(1, 4, dtype=torch.int32))
    arguments = (grid.sorted_keys, grid.order, 1, 8 if mode == "trilinear" else 1)
    query = torch.tensor([[0.0] * 4, row])
    found = torch.ops.pointseg.interpolate_corners(query, *arguments)
    out = torch.ops.pointseg.interpolate(torch.ones(1, 2), *found)
    assert out.tolist() == [[1.0, 1.0], [0.0, 0.0]]


def test_on_cuda_slots_of_no_voxel_are_left_out_of_gradients(kernels: str) -> None:
    """A row that is not there is an error of the caller; no memory is touched because of it."""
    rows = torch.tensor([[0, -1], [5, 1], [1, 2**31 - 1], [-(2**31), 0]], dtype=torch.int32)
    if kernels == "cpu":
        rows = torch.where((rows >= 0) & (rows < 2), rows, -1)
    weights, grad_out = torch.full((4, 2), 0.5), torch.tensor([[1.0], [2.0], [4.0], [8.0]])
    grad = torch.ops.pointseg.interpolate_backward(grad_out, rows, weights, 2)
    assert grad.tolist() == [[4.5], [3.0]]
