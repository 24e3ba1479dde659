"""Tiles cover every voxel once, stay within bounds, and change no label their margin guards."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointseg.evaluation import plan_tiles, predict_tiled

from .stand_ins import NeighbourSum, voxel_scene

columns = st.lists(st.tuples(st.integers(-20, 20), st.integers(-6, 6)), min_size=1, max_size=120)


@given(columns, st.integers(1, 130), st.integers(0, 4))
def test_every_voxel_lies_in_one_core_and_its_neighbours_in_the_tile(xy, max_voxels, margin):
    xy = np.array(xy)
    try:
        tiles = plan_tiles(xy, max_voxels, margin)
    except ValueError as error:
        assert "max_voxels" in str(error)
        return
    cores = np.concatenate([tile.rows[tile.in_core] for tile in tiles])
    np.testing.assert_array_equal(np.sort(cores), np.arange(len(xy)))
    for tile in tiles:
        assert len(tile.rows) <= max_voxels
        assert (np.diff(tile.rows) > 0).all()
        for row in tile.rows[tile.in_core]:
            near = (np.abs(xy - xy[row]) <= margin).all(axis=1)
            assert np.isin(np.flatnonzero(near), tile.rows).all()


def test_a_scene_that_fits_is_one_tile():
    (tile,) = plan_tiles(np.array([[0, 0], [5, 5]]), 2, margin=3)
    assert tile.rows.tolist() == [0, 1] and tile.in_core.all()
    assert plan_tiles(np.zeros((0, 2), int), 2, margin=3) == []


def test_what_cannot_be_cut_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match="--max-points"):
        plan_tiles(np.zeros((10, 2), int), 9, margin=0)
    with pytest.raises(ValueError, match="--margin"):
        plan_tiles(np.stack([np.arange(50), np.zeros(50, int)], 1), 40, margin=45)
    with pytest.raises(ValueError, match="max_voxels must be"):
        plan_tiles(np.zeros((1, 2), int), 0, margin=0)
    with pytest.raises(ValueError, match="margin must not"):
        plan_tiles(np.zeros((1, 2), int), 1, margin=-1)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 2), st.integers(60, 200))
def test_tiled_labels_are_those_of_the_whole_where_the_margin_covers_the_reach(
    seed, reach, max_voxels
):
    scene = voxel_scene(num_voxels=200, num_points=300, seed=seed, extent=(40, 12, 3))
    whole = predict_tiled(NeighbourSum(reach), scene, max_voxels=200)
    model = NeighbourSum(reach)
    tiled = predict_tiled(model, scene, max_voxels, margin=reach)
    assert tiled.dtype == np.int16 and tiled.shape == (300,)
    np.testing.assert_array_equal(tiled, whole)
    assert model.largest_input <= max_voxels
    assert model.num_passes > 1 or max_voxels == 200
