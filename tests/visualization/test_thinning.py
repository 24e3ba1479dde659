"""A point budget is kept, evenly and repeatably."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from pointseg.visualization.thinning import point_spacing_m, thin, voxel_size_for_budget

COORDINATE = st.floats(-1e4, 1e4, width=32)
CLOUDS = st.integers(0, 60).flatmap(lambda n: arrays(np.float32, (n, 3), elements=COORDINATE))


@given(CLOUDS, st.integers(1, 70))
def test_budget_is_kept_with_distinct_ascending_rows(xyz: np.ndarray, budget: int) -> None:
    thinning = thin(xyz, budget)
    assert thinning.num_shown <= budget
    assert thinning.num_points == len(xyz)
    assert (np.diff(thinning.index) > 0).all()
    assert ((thinning.index >= 0) & (thinning.index < len(xyz))).all()
    assert (thinning.num_shown > 0) == (len(xyz) > 0)


@given(CLOUDS, st.integers(1, 70))
def test_one_point_of_every_occupied_voxel_is_kept(xyz: np.ndarray, budget: int) -> None:
    thinning = thin(xyz, budget)
    if len(xyz) <= budget:
        np.testing.assert_array_equal(thinning.index, np.arange(len(xyz)))
        return
    wide = xyz.astype(np.float64)
    cells = np.floor((wide - wide.min(axis=0)) / thinning.voxel_size_m).astype(np.int64)
    occupied = {tuple(cell) for cell in cells.tolist()}
    kept = [tuple(cell) for cell in cells[thinning.index].tolist()]
    assert len(kept) == len(occupied)
    assert set(kept) == occupied


@given(CLOUDS, st.integers(1, 70))
def test_same_cloud_gives_same_points(xyz: np.ndarray, budget: int) -> None:
    np.testing.assert_array_equal(thin(xyz, budget).index, thin(xyz.copy(), budget).index)


def test_budget_is_nearly_used_up_on_a_surface() -> None:
    xyz = np.random.default_rng(0).uniform(0, 5, (50_000, 3)) * (1, 1, 0)
    thinning = thin(xyz, 10_000)
    assert 9_000 <= thinning.num_shown <= 10_000
    assert "shown" in thinning.statement
    assert "of 50,000 points" in thinning.statement


def test_point_nearest_to_the_voxel_centre_is_kept() -> None:
    xyz = np.array([[0, 0, 0], [10, 0, 0], [4.9, 0, 0], [5.2, 0, 0]], dtype=np.float32)
    thinning = thin(xyz, 1)
    assert thinning.index.tolist() == [2]


def test_duplicates_become_one_point() -> None:
    assert thin(np.ones((100, 3), dtype=np.float32), 5).index.tolist() == [0]


def test_all_points_are_said_to_be_shown() -> None:
    thinning = thin(np.zeros((3, 3)), 3)
    assert thinning.statement == "all 3 points shown"
    assert thinning.voxel_size_m == 0.0


def test_spacing_of_a_regular_grid() -> None:
    grid = np.stack(np.meshgrid(np.arange(80), np.arange(80), [0]), axis=-1).reshape(-1, 3) * 0.05
    assert 0.03 < point_spacing_m(grid) < 0.08


@given(arrays(np.float64, array_shapes(min_dims=1, max_dims=3), elements=st.just(0.0)))
def test_other_shapes_are_refused(xyz: np.ndarray) -> None:
    if xyz.ndim == 2 and xyz.shape[1] == 3:
        return
    with pytest.raises(ValueError, match=r"expected shape \[P, 3\]"):
        thin(xyz, 10)


def test_bad_values_are_refused() -> None:
    xyz = np.zeros((4, 3))
    xyz[2, 1] = np.nan
    with pytest.raises(ValueError, match="row 2"):
        thin(xyz, 10)
    with pytest.raises(ValueError, match="max_points: expected at least 1, got 0"):
        thin(np.zeros((4, 3)), 0)
    with pytest.raises(ValueError, match="max_voxels"):
        voxel_size_for_budget(np.zeros((4, 3)), 0)
