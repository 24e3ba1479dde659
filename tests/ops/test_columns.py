"""Any number of channels at any address: kernels read packs of columns where rows allow it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pointseg import ops
from pointseg.ops.batch_norm import batch_norm_reference
from pointseg.ops.gather_neighbors import gather_neighbors_reference
from pointseg.ops.interpolate import interpolate_reference
from pointseg.ops.pool import pool_reference
from pointseg.ops.scatter_reduce import scatter_reduce_reference
from pointseg.sparse import KernelSpec, VoxelGrid
from tests.ops import scenes

COORDS = scenes.surface_voxels(90, seed=4, num_scenes=2)
GRID = VoxelGrid(COORDS, num_scenes=2)
KMAP = GRID.kernel_map(KernelSpec(3, 2))
INDEX = torch.randint(20, (len(COORDS),), generator=torch.Generator().manual_seed(1))
QUERY = torch.cat([COORDS[:, :1], COORDS[:, 1:] + 0.3], dim=1).double()


def _norm(norm: Callable[..., Tensor]) -> Callable[[Tensor], Tensor]:
    """Of features to which they are added again."""

    def run(x: Tensor) -> Tensor:
        # Numbers that every dtype holds.
        weight = torch.linspace(0.5, 2.0, x.shape[1]).bfloat16().to(x.dtype)
        bias = torch.linspace(-1.0, 1.0, x.shape[1]).bfloat16().to(x.dtype)
        return norm(x, weight, bias, residual=x, relu=True, training=True)

    return run


# Each op on features, and its twin.
OPS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "batch_norm": (_norm(ops.batch_norm), _norm(batch_norm_reference)),
    "gather_neighbors": (
        lambda x: ops.gather_neighbors(x, KMAP),
        lambda x: gather_neighbors_reference(x, KMAP),
    ),
    "interpolate": (
        lambda x: ops.interpolate(x, GRID, QUERY),
        lambda x: interpolate_reference(x, GRID, QUERY),
    ),
}
for reduction in ("max", "avg"):
    OPS[f"pool_{reduction}"] = (
        lambda x, reduce=reduction: ops.pool(x, KMAP, reduce),
        lambda x, reduce=reduction: pool_reference(x, KMAP, reduce),
    )
for reduction in ("mean", "min"):
    OPS[f"scatter_{reduction}"] = (
        lambda x, reduce=reduction: ops.scatter_reduce(x, INDEX, 20, reduce),
        lambda x, reduce=reduction: scatter_reduce_reference(x, INDEX, 20, reduce),
    )


def shifted(tensor: Tensor, by: int) -> Tensor:
    """A contiguous copy that begins `by` numbers behind an address for wide loads."""
    memory = tensor.new_zeros(tensor.numel() + by)
    memory[by:] = tensor.flatten()
    return memory[by:].view(tensor.shape)


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    ("channels", "shift"),
    [(1, 0), (3, 0), (8, 0), (8, 1), (24, 0), (40, 2), (255, 0), (300, 0), (304, 4)],
)
def test_any_columns_at_any_address(
    name: str, dtype: torch.dtype, channels: int, shift: int
) -> None:
    function, reference = OPS[name]
    feats = shifted(scenes.randn(len(COORDS), channels, seed=1, dtype=dtype), shift)
    exact = feats.double().requires_grad_()
    out = function(feats.requires_grad_())
    expected = reference(exact)
    grad_out = scenes.randn(*out.shape, seed=2, dtype=dtype)
    (ours,) = torch.autograd.grad(out, feats, shifted(grad_out, shift))
    (theirs,) = torch.autograd.grad(expected, exact, grad_out.double())
    scenes.assert_close(out, expected, scenes.TOLERANCE[dtype])
    # Those of batch norm are two, each rounded before they are added.
    scenes.assert_close(ours, theirs, scenes.TOLERANCE[dtype] * (2 if name == "batch_norm" else 1))
