"""Properties that any MinkUNet must have, on thin ones."""

from __future__ import annotations

import copy

import pytest
import torch

from pointseg.models import MinkUNet, MinkUNetConfig
from pointseg.sparse import SparseTensor, VoxelGrid
from tests.models.networks import OpNames, with_running_statistics
from tests.nn.grids import random_tensor

THIN = MinkUNetConfig(
    depths=(1, 2, 1, 1, 1, 1, 1, 1), widths=(4, 8, 8, 8, 8, 8, 4, 4), stem_width=4
)
BOTTLENECK = MinkUNetConfig(
    depths=(1, 1, 1, 1), widths=(2, 4, 4, 2), block="bottleneck", stem_kernel=3, stem_width=4
)
CONFIGS = pytest.mark.parametrize("config", [THIN, BOTTLENECK], ids=["basic", "bottleneck"])


def trained_like(config: MinkUNetConfig, in_channels: int = 3, num_classes: int = 5) -> MinkUNet:
    """A model whose running statistics are not the initial ones."""
    torch.manual_seed(0)
    return with_running_statistics(MinkUNet(in_channels, num_classes, config))


@CONFIGS
def test_plan_is_exactly_what_forward_asks_for(
    config: MinkUNetConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x = trained_like(config).eval(), random_tensor(150, 3)
    asked = []
    original = VoxelGrid.kernel_map

    def recording(self: VoxelGrid, spec):  # type: ignore[no-untyped-def]
        asked.append((self.stride, spec))
        return original(self, spec)

    monkeypatch.setattr(VoxelGrid, "kernel_map", recording)
    model(x)
    plan = model.geometry()
    assert set(plan) == set(asked)
    assert len(plan) == len(set(plan))


@CONFIGS
def test_plan_is_relative_to_the_grid_of_the_input(
    config: MinkUNetConfig,
) -> None:
    model, x = trained_like(config).eval(), random_tensor(80, 3)
    coords = x.grid.coords.clone()
    coords[:, 1:] *= 4
    coarse = SparseTensor(x.feats, VoxelGrid(coords, stride=4))
    coarse.grid.prepare(model.geometry())
    torch.testing.assert_close(model(coarse), model(x), rtol=1e-5, atol=1e-5)


@CONFIGS
def test_prepared_grid_computes_no_geometry_in_forward(config: MinkUNetConfig) -> None:
    model, x = trained_like(config).eval(), random_tensor(150, 3)
    fresh = SparseTensor(x.feats, VoxelGrid(x.grid.coords))
    with OpNames() as on_demand:
        expected = model(fresh)
    x.grid.prepare(model.geometry())
    with OpNames() as prepared:
        logits = model(x)
    layers = {"sparse_conv", "sparse_conv_transpose", "batch_norm"}
    assert set(on_demand.names) - layers
    assert set(prepared.names) <= layers
    assert torch.equal(logits, expected)


def test_gradients_of_a_tiny_net() -> None:
    config = MinkUNetConfig(depths=(1, 1), widths=(2, 3), stem_kernel=3, stem_width=2)
    model = trained_like(config, in_channels=2, num_classes=2).double()
    x = random_tensor(16, 2, extent=3, num_scenes=1, dtype=torch.float64)
    feats = x.feats.requires_grad_()
    names, parameters = zip(*model.named_parameters(), strict=True)

    def run(feats: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(
            model, dict(zip(names, values, strict=True)), (SparseTensor(feats, x.grid),)
        )

    # Random projections of the Jacobian: the full one is checked op by op.
    assert torch.autograd.gradcheck(run, (feats, *parameters), fast_mode=True)


@CONFIGS
def test_state_dict_knows_nothing_of_the_batch(config: MinkUNetConfig) -> None:
    model = trained_like(config).train()
    before = {name: value.shape for name, value in model.state_dict().items()}
    for num_voxels in (90, 131):
        model(random_tensor(num_voxels, 3)).sum().backward()
    after = {name: value.shape for name, value in model.state_dict().items()}
    assert after == before
    assert not [name for name, shape in after.items() if 90 in shape or 131 in shape]


@CONFIGS
@pytest.mark.parametrize("training", [False, True])
def test_row_order_of_the_input_does_not_matter(config: MinkUNetConfig, training: bool) -> None:
    model = trained_like(config).double().train(training)
    x = random_tensor(200, 3, dtype=torch.float64)
    rows = torch.randperm(200, generator=torch.Generator().manual_seed(3))
    shuffled = SparseTensor(x.feats[rows], VoxelGrid(x.grid.coords[rows], num_scenes=2))
    torch.testing.assert_close(model(shuffled), model(x)[rows], rtol=1e-9, atol=1e-9)


@CONFIGS
def test_scenes_of_a_batch_do_not_see_each_other(config: MinkUNetConfig) -> None:
    model = trained_like(config).double().eval()
    x = random_tensor(200, 3, num_scenes=2, dtype=torch.float64)
    logits = model(x)
    for scene in range(2):
        rows = x.grid.coords[:, 0] == scene
        coords = x.grid.coords[rows].clone()
        coords[:, 0] = 0
        alone = model(SparseTensor(x.feats[rows], VoxelGrid(coords)))
        torch.testing.assert_close(alone, logits[rows], rtol=1e-9, atol=1e-9)


@CONFIGS
def test_shift_by_the_coarsest_stride_shifts_the_logits(config: MinkUNetConfig) -> None:
    model = trained_like(config).double().eval()
    x = random_tensor(200, 3, dtype=torch.float64)
    step = 2**config.num_levels
    coords = x.grid.coords + torch.tensor([0, -step, step, 3 * step], dtype=torch.int32)
    moved = model(SparseTensor(x.feats, VoxelGrid(coords)))
    torch.testing.assert_close(moved, model(x), rtol=1e-9, atol=1e-9)


def test_one_voxel_and_no_voxels_in_eval() -> None:
    model = trained_like(THIN).eval()
    for num_voxels in (0, 1):
        coords = torch.zeros(num_voxels, 4, dtype=torch.int32)
        x = SparseTensor(torch.ones(num_voxels, 3), VoxelGrid(coords))
        assert model(x).shape == (num_voxels, 5)


def test_wrong_number_of_channels_is_named() -> None:
    with pytest.raises(ValueError, match="3 feature channels, got 4"):
        trained_like(THIN)(random_tensor(20, 4))


def test_two_runs_give_the_same_bits() -> None:
    model, x = trained_like(THIN).train(), random_tensor(400, 3)
    grads = []
    for _ in range(2):
        model.zero_grad()
        model(x).square().sum().backward()
        grads.append([parameter.grad.clone() for parameter in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


@pytest.mark.parametrize("training", [False, True])
def test_compiles_to_one_graph_on_prepared_grids(training: bool) -> None:
    config = MinkUNetConfig(depths=(1, 1), widths=(4, 4), stem_kernel=3, stem_width=4)
    model = trained_like(config).train(training)
    twin = copy.deepcopy(model)
    compiled = torch.compile(twin, fullgraph=True, backend="aot_eager")
    for num_voxels in (90, 111, 134):
        x = random_tensor(num_voxels, 3, seed=num_voxels)
        x.grid.prepare(model.geometry())
        logits, expected = compiled(x), model(x)
        torch.testing.assert_close(logits, expected)
        if training:
            logits.square().sum().backward()
            expected.square().sum().backward()
    for ours, theirs in zip(twin.parameters(), model.parameters(), strict=True):
        if training:
            torch.testing.assert_close(ours.grad, theirs.grad)
