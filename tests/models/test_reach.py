"""How far networks say they look, against what really changes when an input voxel does."""

from __future__ import annotations

import pytest
import torch

from pointseg.models import PRESETS, build_model
from pointseg.nn import Reach, SparseModule, folded
from pointseg.sparse import KernelSpec, Region, SparseTensor, VoxelGrid

LENGTH = 192
TINY = {"depths": [1, 1], "widths": [8, 8], "stem_width": 8}
CODEBOOK = {**TINY, "blocks": ["codebook", "basic"]}
# Two levels: SPVCNN joins points and voxels in the middle of the decoder.
POINTS = {"depths": [1] * 4, "widths": [8] * 4, "stem_width": 8, "blocks": ["basic"] * 4}
CASES = {
    "minkunet": ("minkunet", TINY),
    "bottleneck": ("minkunet", {**TINY, "block": "bottleneck"}),
    "codebook": ("codedvtr", CODEBOOK),
    "dot": ("codedvtr", {**CODEBOOK, "codebook": {"query": "dot", "prior": "product"}}),
    "spvcnn": ("spvcnn", POINTS),
}


def bar(dropped: int | None = None) -> torch.Tensor:
    """Voxels of a solid bar along x, two wide and two high, with one taken out."""
    x, y, z = torch.meshgrid(torch.arange(LENGTH), torch.arange(2), torch.arange(2), indexing="ij")
    coords = torch.stack([torch.zeros_like(x), x, y, z], dim=-1).reshape(-1, 4).int()
    return coords if dropped is None else coords[torch.arange(len(coords)) != dropped]


def changed_x(model: torch.nn.Module, at: int, take_out: bool) -> torch.Tensor:
    """x of the voxels whose logits are others when that at ``at`` is changed or taken out."""
    row = 4 * at
    coords, feats = bar(), torch.randn(4 * LENGTH, 3, generator=torch.Generator().manual_seed(0))
    kept = torch.arange(len(coords)) != row
    with torch.no_grad():
        before = model(SparseTensor(feats, VoxelGrid(coords)))[kept]
        if take_out:
            after = model(SparseTensor(feats[kept], VoxelGrid(bar(row))))
        else:
            feats = feats.clone()
            feats[row] += 100.0  # so much that it is seen at the far end
            after = model(SparseTensor(feats, VoxelGrid(coords)))[kept]
    return coords[kept][(before != after).any(dim=1), 1]


@pytest.mark.parametrize("take_out", [False, True], ids=["changed", "taken out"])
@pytest.mark.parametrize("case", CASES)
def test_nothing_changes_beyond_the_reach(case: str, take_out: bool) -> None:
    torch.manual_seed(0)
    name, options = CASES[case]
    model = build_model(name, 3, 5, **options).eval()
    reach = model.reach()
    assert 4 < reach.margin < LENGTH / 3
    for at in range(LENGTH // 2, LENGTH // 2 + 4):  # every place in a voxel of stride 4
        x = changed_x(model, at, take_out)
        # what looks `above` voxels up sees a change that lies so far above it
        assert at - reach.above <= x.min() and x.max() <= at + reach.below


def test_the_reach_of_a_convolutional_network_is_reached() -> None:
    torch.manual_seed(0)
    model = build_model("minkunet", 3, 5, **TINY).eval()
    reach = model.reach()
    # 5^3 stem: 2. Down to stride 2: 1 above. Two 3^3 at stride 2: 4. Up: 1 below. Two 3^3: 2.
    assert reach == Reach(2 + 4 + 1 + 2, 2 + 1 + 4 + 2)
    seen = [changed_x(model, at, take_out=False) for at in (LENGTH // 2, LENGTH // 2 + 1)]
    below = max(int(x.max()) - at for x, at in zip(seen, (96, 97), strict=True))
    above = max(at - int(x.min()) for x, at in zip(seen, (96, 97), strict=True))
    assert (below, above) == (reach.below, reach.above)
    assert folded(model).reach() == reach


@pytest.mark.parametrize("name", PRESETS)
def test_every_model_says_how_far_it_looks(name: str) -> None:
    with torch.device("meta"):
        assert build_model(name, 3, 5).reach().margin > 100


def test_kernels_and_regions() -> None:
    assert Reach().conv(KernelSpec(3, dilation=2), 4) == Reach(8, 8)
    assert Reach().conv(KernelSpec(2, stride=2), 1) == Reach(0, 1)
    assert Reach(1, 0).conv(KernelSpec(1, stride=3), 2) == Reach(1, 5)
    assert Reach().transposed_conv(KernelSpec(2, stride=2), 4) == Reach(4, 0)
    spec = KernelSpec(3, dilation=2)
    left = Region(spec, (spec.offsets.index((-1, 0, 0)),))
    assert Reach().conv(left, 2) == Reach(4, 0)
    assert Reach(3, 1) | Reach(2, 5) == Reach(3, 5)


def test_a_module_that_does_not_say_is_refused() -> None:
    class Silent(SparseModule):
        def geometry(self, stride: int = 1):  # type: ignore[no-untyped-def]
            return ((stride, KernelSpec(3)),)

    with pytest.raises(TypeError, match="Silent has kernels"):
        Silent().reach(Reach())
