"""Tiles cover every voxel once, stay within bounds, and change no label their margin guards."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pointseg.data import collate
from pointseg.evaluation import Tile, Tiling, margin_of, plan_tiles, predict_points
from pointseg.evaluation.inference import predict_logits
from pointseg.models import build_model
from pointseg.nn import folded

from ..models.networks import with_running_statistics
from .stand_ins import LargestFeature, NeighbourSum, voxel_scene

columns = st.lists(st.tuples(st.integers(-20, 20), st.integers(-6, 6)), min_size=1, max_size=120)


def most_in_a_square(xy: np.ndarray, side: int) -> int:
    """Voxels in the fullest square of this side, by trying all that begin at a voxel's x and y."""
    from_low = xy[:, None, None] - np.stack(np.meshgrid(xy[:, 0], xy[:, 1], indexing="ij"), axis=-1)
    return int(((from_low >= 0) & (from_low < side)).all(axis=-1).sum(axis=0).max())


@given(columns, st.integers(1, 130), st.integers(0, 4))
def test_every_voxel_lies_in_one_core_and_its_neighbours_in_the_tile(xy, max_voxels, margin):
    xy = np.array(xy)
    try:
        tiles = plan_tiles(xy, Tiling(max_voxels, margin))
    except ValueError as error:
        assert "max_voxels" in str(error)
        # A core that is cut no further, with its margin, really holds more than is allowed.
        assert most_in_a_square(xy, max(1, margin // 2) + 2 * margin) > max_voxels
    else:
        check_tiles(tiles, xy, max_voxels, margin)


def check_tiles(tiles: list[Tile], xy: np.ndarray, max_voxels: int, margin: int) -> None:
    cores = np.concatenate([tile.rows[tile.in_core] for tile in tiles])
    np.testing.assert_array_equal(np.sort(cores), np.arange(len(xy)))
    for tile in tiles:
        assert len(tile.rows) <= max_voxels
        assert (np.diff(tile.rows) > 0).all()
        for row in tile.rows[tile.in_core]:
            near = (np.abs(xy - xy[row]) <= margin).all(axis=1)
            assert np.isin(np.flatnonzero(near), tile.rows).all()


def test_a_scene_that_fits_is_one_tile():
    (tile,) = plan_tiles(np.array([[0, 0], [5, 5]]), Tiling(2, margin=3))
    assert tile.rows.tolist() == [0, 1] and tile.in_core.all()
    assert plan_tiles(np.zeros((0, 2), int), Tiling(2, margin=3)) == []


def test_what_cannot_be_cut_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match="--max-voxels"):
        plan_tiles(np.zeros((10, 2), int), Tiling(9, margin=0))
    with pytest.raises(ValueError, match="--margin"):
        plan_tiles(np.stack([np.arange(50), np.zeros(50, int)], 1), Tiling(40, margin=45))
    with pytest.raises(ValueError, match="max_voxels must be"):
        Tiling(0, margin=0)
    with pytest.raises(ValueError, match="margin must not"):
        Tiling(1, margin=-1)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 2), st.integers(60, 200))
def test_tiled_labels_are_those_of_the_whole_where_the_margin_covers_the_reach(
    seed, reach, max_voxels
):
    scene = voxel_scene(num_voxels=200, num_points=300, seed=seed, extent=(40, 12, 3))
    batch = collate([scene])
    (whole,) = predict_points(NeighbourSum(reach), batch)
    model = NeighbourSum(reach)
    (tiled,) = predict_points(model, batch, Tiling(max_voxels, margin=reach))
    assert tiled.dtype == np.int16 and tiled.shape == (300,)
    np.testing.assert_array_equal(tiled, whole)
    assert model.largest_input <= max_voxels
    assert model.num_passes > 1 or max_voxels == 200


def test_the_scenes_of_a_batch_are_cut_one_by_one():
    scenes = [voxel_scene(f"scene{i}", 60 + i, 90, seed=i) for i in range(3)]
    batch = collate(scenes)
    whole = predict_points(NeighbourSum(1), collate(scenes[1:2]))
    model = NeighbourSum(1)
    tiled = predict_points(model, batch, Tiling(61, margin=1))
    np.testing.assert_array_equal(tiled[1], whole[0])
    assert model.largest_input <= 61 and model.num_passes > 3


MODELS = {
    "minkunet": {"depths": [1, 1], "widths": [8, 8], "stem_width": 8},
    "minkunet, two levels": {"depths": [1] * 4, "widths": [6] * 4, "stem_width": 6},
}


@pytest.mark.parametrize("is_folded", [False, True], ids=["as trained", "folded"])
@pytest.mark.parametrize("name", MODELS)
def test_tiled_logits_of_a_network_are_those_of_the_whole_to_the_last_bit(name, is_folded):
    torch.manual_seed(0)
    model = with_running_statistics(build_model("minkunet", 4, 5, **MODELS[name])).eval()
    model = folded(model) if is_folded else model
    margin = margin_of(model)
    scene = voxel_scene(num_voxels=6000, num_points=6000, seed=3, extent=(240, 40, 3))
    voxels = collate([scene]).voxels
    whole = predict_logits(model, voxels)
    sizes = []
    hook = model.register_forward_pre_hook(lambda _, inputs: sizes.append(inputs[0].num_voxels))
    tiled = predict_logits(model, voxels, Tiling(3500, margin))
    assert len(sizes) > 1 and max(sizes) <= 3500
    assert torch.equal(tiled, whole)
    assert not torch.equal(predict_logits(model, voxels, Tiling(3500, 1)), whole)
    hook.remove()


def test_a_model_without_a_reach_is_refused():
    with pytest.raises(ValueError, match="LargestFeature does not say how far it looks"):
        margin_of(LargestFeature())
