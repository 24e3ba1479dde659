"""All 37 cases that MinkowskiEngine computed: values and gradients.

The numbers are float32 sums in another order, so agreement is to 1e-4 of the largest value. Rows
are matched by coordinates, never by position.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pointseg import ops
from pointseg.sparse import KernelSpec, VoxelGrid
from tests.ops import scenes

TOLERANCE = 1e-4

CONV = [
    *("conv_k1_s1_d1_cube", "conv_k2_s1_d1_cube", "conv_k3_s1_d1_cube", "conv_k3_s1_d2_cube"),
    *("conv_k3_s1_d3_cube", "conv_k5_s1_d1_cube", "conv_k3_s1_d1_cross", "conv_k3_s1_d2_cross"),
    *("conv_k5_s1_d1_cross", "conv_k2_s2_d1_cube", "conv_k3_s2_d1_cube", "conv_k3_s3_d1_cube"),
    *("conv_k1_s2_d1_cube", "conv_k5_s2_d1_cube", "conv_k4_s2_d1_cube", "conv_k2_s4_d1_cube"),
]
CONV_TRANSPOSE = ["convtr_k2_s2", "convtr_k3_s2", "convtr_k4_s2"]
DEPTHWISE = [
    "depthwise_k3_s1_d1",
    "depthwise_k3_s1_d2",
    "depthwise_k5_s1_d1",
    "depthwise_k2_s2_d1",
]
POOL = [f"pool_{r}_{shape}" for r in ("max", "avg", "sum") for shape in ("k2_s2", "k3_s2", "k3_s1")]
GLOBAL_POOL = ["global_max", "global_avg", "global_sum"]
OTHERS = ["field_mean", "interpolate"]


class Goldens:
    """One file of named arrays and the settings that each case was computed with."""

    def __init__(self, folder: Path) -> None:
        cases = json.loads((folder / "ops.json").read_text())
        self.settings: dict[str, dict[str, Any]] = {case["name"]: case for case in cases}
        self._arrays = np.load(folder / "ops.npz")

    def spec(self, name: str) -> KernelSpec:
        case = self.settings[name]
        return KernelSpec(case["size"], case["stride"], case["dilation"], case["shape"])

    def arrays(self, name: str) -> dict[str, Tensor]:
        prefix = name + "/"
        keys = [key for key in self._arrays.files if key.startswith(prefix)]
        return {key.removeprefix(prefix): torch.from_numpy(self._arrays[key]) for key in keys}


@pytest.fixture(scope="module")
def file(goldens: Path) -> Goldens:
    return Goldens(goldens)


def check(
    function: Callable[..., Tensor],
    inputs: dict[str, Tensor],
    rows: Tensor,
    expected: dict[str, Tensor],
) -> None:
    """Compare the output, and the gradient of every input that the file has one for."""
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in inputs.items()}
    out = function(*leaves.values())[rows]
    scenes.assert_close(out, expected["out"], TOLERANCE)
    out.backward(expected["grad_out"])
    for name, leaf in leaves.items():
        assert leaf.grad is not None
        wanted = expected[f"grad_{name}"].reshape(leaf.shape)
        scenes.assert_close(leaf.grad, wanted, TOLERANCE)


def test_every_case_of_the_file_is_tested(file: Goldens) -> None:
    tested = {*CONV, *CONV_TRANSPOSE, *DEPTHWISE, *POOL, *GLOBAL_POOL, *OTHERS}
    assert tested == set(file.settings)
    assert len(tested) == 37


@pytest.mark.parametrize("name", CONV)
def test_sparse_conv(file: Goldens, name: str) -> None:
    arrays, spec = file.arrays(name), file.spec(name)
    grid = VoxelGrid(arrays["in_coords"])
    kmap = grid.kernel_map(spec)
    kernel = arrays["kernel"].reshape(spec.num_taps, *arrays["kernel"].shape[-2:])
    inputs = {"feats": arrays["feats"], "kernel": kernel}
    if "bias" in arrays:
        inputs["bias"] = arrays["bias"].reshape(-1)
    rows = scenes.match_rows(grid.downsample(spec.stride).coords, arrays["out_coords"])
    check(
        lambda feats, weight, bias=None: ops.sparse_conv(feats, weight, kmap, bias),
        inputs,
        rows,
        arrays,
    )


@pytest.mark.parametrize("name", CONV_TRANSPOSE)
def test_sparse_conv_transpose(file: Goldens, name: str) -> None:
    arrays, spec = file.arrays(name), file.spec(name)
    fine = VoxelGrid(arrays["out_coords"])
    kmap = fine.kernel_map(spec)
    # The file's coarse rows come in another order than ours.
    order = scenes.match_rows(arrays["coarse_coords"], fine.downsample(spec.stride).coords)

    def function(feats: Tensor, weight: Tensor) -> Tensor:
        return ops.sparse_conv_transpose(feats[order], weight, kmap)

    inputs = {"feats": arrays["feats"], "kernel": arrays["kernel"]}
    check(function, inputs, torch.arange(fine.num_voxels), arrays)


@pytest.mark.parametrize("name", DEPTHWISE)
def test_depthwise_conv(file: Goldens, name: str) -> None:
    arrays, spec = file.arrays(name), file.spec(name)
    grid = VoxelGrid(arrays["in_coords"])
    kmap = grid.kernel_map(spec)
    inputs = {"feats": arrays["feats"], "kernel": arrays["kernel"]}
    rows = scenes.match_rows(grid.downsample(spec.stride).coords, arrays["out_coords"])
    check(lambda feats, weight: ops.depthwise_conv(feats, weight, kmap), inputs, rows, arrays)


@pytest.mark.parametrize("name", POOL)
def test_pool(file: Goldens, name: str) -> None:
    arrays, spec = file.arrays(name), file.spec(name)
    grid = VoxelGrid(arrays["in_coords"])
    kmap = grid.kernel_map(spec)
    reduce = file.settings[name]["op"].removeprefix("pool_")
    rows = scenes.match_rows(grid.downsample(spec.stride).coords, arrays["out_coords"])
    inputs = {"feats": arrays["feats"]}
    check(lambda feats: ops.pool(feats, kmap, reduce), inputs, rows, arrays)


@pytest.mark.parametrize("name", GLOBAL_POOL)
def test_global_pool(file: Goldens, name: str) -> None:
    arrays = file.arrays(name)
    grid = VoxelGrid(arrays["in_coords"])
    reduce = file.settings[name]["op"].removeprefix("global_")
    rows = arrays["out_coords"][:, 0].long()
    inputs = {"feats": arrays["feats"]}
    check(lambda feats: ops.global_pool(feats, grid, reduce), inputs, rows, arrays)


def test_voxelize_mean(file: Goldens) -> None:
    arrays = file.arrays("field_mean")
    coords = torch.floor(arrays["points"]).to(torch.int32)
    voxelization = ops.voxelize(coords)
    mean = ops.voxel_reduce(arrays["feats"], voxelization, "mean")
    rows = scenes.match_rows(voxelization.coords, arrays["out_coords"])
    scenes.assert_close(mean[rows], arrays["out"], TOLERANCE)
    scenes.assert_close(mean[voxelization.inverse], arrays["sliced"], TOLERANCE)


def test_interpolate(file: Goldens) -> None:
    arrays = file.arrays("interpolate")
    grid = VoxelGrid(arrays["in_coords"])
    out = ops.interpolate(arrays["feats"], grid, arrays["query"], "trilinear")
    scenes.assert_close(out, arrays["out"], TOLERANCE)
