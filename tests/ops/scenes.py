"""Inputs for op tests: voxel sets, kernels, and how results are compared."""

from __future__ import annotations

import torch
from hypothesis import strategies as st

from pointseg.sparse import KernelSpec

# Largest error allowed, as a share of the largest expected value. float64 and float32: rounding of
# sums of a few thousand terms. Half types: the inputs are rounded before the expectation is
# computed and sums are held in float32, so all that is left is half a unit in the last place of the
# stored result (11 and 8 significant bits).
TOLERANCE = {
    torch.float64: 1e-12,
    torch.float32: 1e-5,
    torch.float16: 2.0**-11 + 1e-5,
    torch.bfloat16: 2.0**-8 + 1e-5,
}


def relative_error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest absolute difference over the largest expected value (0 for empty tensors)."""
    assert actual.shape == expected.shape, f"{tuple(actual.shape)} != {tuple(expected.shape)}"
    if expected.numel() == 0:
        return 0.0
    actual, expected = actual.detach().double(), expected.detach().double()
    scale = float(expected.abs().max())
    return float((actual - expected).abs().max()) / (scale or 1.0)


def assert_close(actual: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    """The maximum error, never an average, against the largest value."""
    error = relative_error(actual, expected)
    limit = f"limit {tolerance:.1e}"
    assert error <= tolerance, f"largest error {error:.3e} of the largest value, {limit}"


def match_rows(coords: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """For each row of `wanted`, the row of `coords` with the same coordinates; both sets equal."""
    rows = {tuple(coord): row for row, coord in enumerate(coords.tolist())}
    assert len(rows) == len(coords) == len(wanted)
    return torch.tensor([rows[tuple(coord)] for coord in wanted.tolist()], dtype=torch.int64)


def random_voxels(
    num_voxels: int, extent: int, num_scenes: int = 1, stride: int = 1, seed: int = 0
) -> torch.Tensor:
    """Distinct int32 coordinates [N, 4] in a cube around the origin, in no particular order."""
    generator = torch.Generator().manual_seed(seed)
    cells = num_scenes * extent**3
    assert num_voxels <= cells
    flat = torch.randperm(cells, generator=generator)[:num_voxels]
    columns = []
    for base in (extent, extent, extent):
        columns.append((flat % base - extent // 2) * stride)
        flat = flat // base
    return torch.stack([flat, *reversed(columns)], dim=1).to(torch.int32)


def surface_voxels(num_voxels: int, seed: int = 0, num_scenes: int = 1) -> torch.Tensor:
    """About `num_voxels` a scene on a wavy floor and two walls: neighbours as in a real scan."""
    generator = torch.Generator().manual_seed(seed)
    side = max(2, int((num_voxels / 2.2) ** 0.5))
    u, v = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    u, v = u.reshape(-1), v.reshape(-1)
    height = ((u / 9.0).sin() * 3 + (v / 7.0).cos() * 3).round().long()
    floor = torch.stack([u, v, height], dim=1)
    low = v < side // 2
    wall = torch.stack([torch.zeros_like(u), u, v], dim=1)[low]
    panel = torch.stack([u, torch.zeros_like(u), v], dim=1)[low]
    xyz = torch.unique(torch.cat([floor, wall, panel]) - side // 2, dim=0)
    scenes = [
        torch.cat([torch.full((len(xyz), 1), scene), xyz + 11 * scene], dim=1)
        for scene in range(num_scenes)
    ]
    coords = torch.cat(scenes)
    return coords[torch.randperm(len(coords), generator=generator)].to(torch.int32)


@st.composite
def voxel_sets(
    draw: st.DrawFn,
    max_voxels: int = 40,
    reach: int = 5,
    num_scenes: int = 3,
    min_voxels: int = 0,
) -> torch.Tensor:
    """Distinct int32 coordinates [N, 4] in drawn order: empty, single, negative, several scenes."""
    axis = st.integers(-reach, reach)
    rows = draw(
        st.lists(
            st.tuples(st.integers(0, num_scenes - 1), axis, axis, axis),
            min_size=min_voxels,
            max_size=max_voxels,
            unique=True,
        )
    )
    return torch.tensor(rows, dtype=torch.int32).reshape(-1, 4)


@st.composite
def kernel_specs(
    draw: st.DrawFn, max_size: int = 5, max_stride: int = 4, max_dilation: int = 3
) -> KernelSpec:
    """Cubes of odd and even size and crosses, with any stride and dilation."""
    size = draw(st.integers(1, max_size))
    shape = draw(st.sampled_from(["cube", "cross"])) if size % 2 else "cube"
    stride = draw(st.integers(1, max_stride))
    return KernelSpec(size, stride, draw(st.integers(1, max_dilation)), shape)


def randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Normal numbers that depend on the seed and the shape alone."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def whole(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Small whole numbers: every product and every sum of them is exact, in any order."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-3, 4, shape, generator=generator).to(dtype)
