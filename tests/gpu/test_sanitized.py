"""A short run of every operator, forward and backward, for compute-sanitizer to look at.

Small, with rows and channels that are no multiple of anything: the last tile of everything is cut.
"""

from __future__ import annotations

import pytest
import torch

from pointseg.sparse import KernelSpec, VoxelGrid
from tests.gpu.place import Place
from tests.ops import scenes
from tests.ops.cases import CASES, Case
from tests.ops.sweeps import run

COORDS = scenes.surface_voxels(61, seed=4, num_scenes=2)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_every_op_once(case: Case, dtype: torch.dtype, place: Place) -> None:
    with place.kernels_in_use():
        problem = case.on_device(COORDS.to(place.device), dtype)
        results = run(problem.function, problem.inputs)
    assert all(x.isfinite().all() for x in results)


def test_maps_once(place: Place) -> None:
    with place.kernels_in_use():
        grid = VoxelGrid(COORDS.to(place.device), num_scenes=2)
        for spec in (KernelSpec(3), KernelSpec(5), KernelSpec(2, 2), KernelSpec(3, 2)):
            kmap = grid.kernel_map(spec)
            kmap.transposed().row_lists()
            assert kmap.num_pairs > 0
