"""SPVCNN: the point branch, where it meets the voxels, and what the network promises."""

from __future__ import annotations

import pytest
import torch

from pointseg.models import SPVCNN, build_model
from pointseg.models.point_branch import points_to_voxels, voxels_to_points
from pointseg.sparse import SparseTensor, VoxelGrid, containing_rows
from tests.models.networks import OpNames, gradients, with_running_statistics
from tests.nn.grids import random_tensor

THIN = {"depths": [1, 1, 1, 1], "widths": [4, 8, 8, 4], "stem_width": 4}
KINDS = {
    "basic": {**THIN, "blocks": ["basic"] * 4},
    "codebook": {**THIN, "codebook": {"heads": 4}},
}
OPTIONS = pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)


def thin(options: dict, **more: object) -> SPVCNN:
    torch.manual_seed(0)
    model = build_model("codedvtr_spvcnn", 3, 5, **{"blocks": [], **options, **more})
    assert isinstance(model, SPVCNN)
    return with_running_statistics(model)


def test_parents_are_the_voxels_that_points_lie_in() -> None:
    x = random_tensor(150, 1)
    coarse = x.grid.downsample(2).downsample(2)
    rows = containing_rows(x.grid, coarse)
    expected = x.grid.coords.clone()
    expected[:, 1:] = expected[:, 1:] // 4 * 4
    assert torch.equal(coarse.coords[rows], expected)


def test_voxels_average_their_points() -> None:
    x = random_tensor(150, 3, dtype=torch.float64)
    coarse = x.grid.downsample(4)
    rows = containing_rows(x.grid, coarse)
    voxels = points_to_voxels(x.feats, x.grid, coarse)
    for voxel in range(coarse.num_voxels):
        torch.testing.assert_close(voxels.feats[voxel], x.feats[rows == voxel].mean(dim=0))
    assert points_to_voxels(x.feats, x.grid, x.grid).feats is x.feats


def test_points_read_between_voxels_by_distance() -> None:
    # Of the eight corners around the point (1, 0, 0) two are there; x + 1 is read back as itself.
    points = VoxelGrid(torch.tensor([[0, 0, 0, 0], [0, 1, 0, 0], [0, 2, 0, 0]], dtype=torch.int32))
    coarse = points.downsample(2)
    x = SparseTensor(coarse.coords[:, 1:2].double() + 1.0, coarse)
    read = voxels_to_points(x, points)
    torch.testing.assert_close(read, torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64))


def test_a_constant_stays_constant_at_every_point() -> None:
    x = random_tensor(150, 1)
    coarse = x.grid.downsample(2).downsample(2).downsample(2)
    ones = SparseTensor(torch.full((coarse.num_voxels, 2), 3.0), coarse)
    torch.testing.assert_close(voxels_to_points(ones, x.grid), torch.full((150, 2), 3.0))


@OPTIONS
def test_gradient_reaches_the_branch_and_everything_else(options: dict) -> None:
    model, x = thin(options).train(), random_tensor(200, 3)
    grads = gradients(model, x)
    assert grads.keys() == dict(model.named_parameters()).keys()
    branches = [name for name in grads if name.startswith("point_branches.")]
    assert len(branches) == 3 * 4
    for name in branches:
        # What norm subtracts again gets none: the bias in front of it.
        assert name.endswith(".0.bias") or grads[name].abs().sum() > 0, name


@pytest.mark.parametrize("branch", range(3))
def test_every_branch_reaches_the_logits(branch: int) -> None:
    model, x = thin(KINDS["basic"]).eval(), random_tensor(150, 3)
    expected = model(x)
    with torch.no_grad():
        for parameter in model.point_branches[branch].parameters():
            parameter.zero_()
    assert not torch.allclose(model(x), expected)


@OPTIONS
def test_two_runs_give_the_same_bits(options: dict) -> None:
    model, x = thin(options).train(), random_tensor(300, 3)
    runs = []
    for _ in range(2):
        torch.manual_seed(1)  # of the dropout
        runs.append(gradients(model, x))
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])


@OPTIONS
def test_prepared_grids_hold_all_kernel_maps(options: dict) -> None:
    model, x = thin(options).eval(), random_tensor(150, 3)
    expected = model(SparseTensor(x.feats, VoxelGrid(x.grid.coords)))
    x.grid.prepare(model.geometry())
    with OpNames() as prepared:
        logits = model(x)
    assert not {"kernel_map", "row_lists", "voxelize", "sort_keys"} & set(prepared.names)
    assert torch.equal(logits, expected)


@OPTIONS
def test_row_order_of_the_input_does_not_matter(options: dict) -> None:
    model = thin(options).double().eval()
    x = random_tensor(200, 3, dtype=torch.float64)
    rows = torch.randperm(200, generator=torch.Generator().manual_seed(3))
    shuffled = SparseTensor(x.feats[rows], VoxelGrid(x.grid.coords[rows], num_scenes=2))
    torch.testing.assert_close(model(shuffled), model(x)[rows], rtol=1e-9, atol=1e-9)


@OPTIONS
def test_plan_is_relative_to_the_grid_of_the_input(options: dict) -> None:
    model, x = thin(options).eval(), random_tensor(80, 3)
    coords = x.grid.coords.clone()
    coords[:, 1:] *= 4
    coarse = SparseTensor(x.feats, VoxelGrid(coords, stride=4))
    coarse.grid.prepare(model.geometry())
    torch.testing.assert_close(model(coarse), model(x), rtol=1e-4, atol=1e-5)


@OPTIONS
def test_one_voxel_and_no_voxels_in_eval(options: dict) -> None:
    model = thin(options).eval()
    for num_voxels in (0, 1):
        coords = torch.zeros(num_voxels, 4, dtype=torch.int32)
        x = SparseTensor(torch.ones(num_voxels, 3), VoxelGrid(coords))
        assert model(x).shape == (num_voxels, 5)


def test_codebook_blocks_report_to_the_trainer() -> None:
    model = thin(KINDS["codebook"]).train()
    model.set_progress(0.5)
    model(random_tensor(150, 3))
    losses, scalars = model.training_terms(0.5)
    assert losses == {}
    assert "codebook/encoder.1/perplexity" in scalars


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depths": [1, 1], "widths": [4, 4], "blocks": ["basic"] * 2}, "at least two encoder"),
        ({**KINDS["basic"], "dropout": 1.0}, "dropout must lie in"),
        ({**KINDS["basic"], "drop": 0.1}, "no option 'drop'.*'dropout'"),
    ],
)
def test_bad_options_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_model("spvcnn", 3, 5, **options)
