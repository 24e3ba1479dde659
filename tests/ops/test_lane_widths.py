"""Ops whose kernels take channels or heads in vectors: no number, type or place of them matters.

Every result and gradient is compared with the reference twin in float64 on the same numbers.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pointseg import ops
from pointseg.ops.codebook_attention import codebook_attention_reference
from pointseg.ops.codebook_logits import codebook_logits_reference
from pointseg.ops.depthwise_conv import depthwise_conv_reference
from pointseg.ops.vector_quantize import vector_quantize_reference
from pointseg.sparse import KernelSpec, Region, RegionSet, VoxelGrid, cubes
from tests.ops import scenes
from tests.ops.cases import REGIONS, Function
from tests.ops.test_every_op import run

GRID = VoxelGrid(scenes.random_voxels(70, extent=6, seed=3))
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
# Below, at and above the vectors of each type, with heads that are wider and narrower than them.
CHANNELS_AND_HEADS = (
    *((1, 1), (3, 1), (3, 3), (8, 1), (8, 8), (24, 3), (24, 8), (40, 8), (72, 3), (72, 8)),
    *((96, 8), (136, 1), (136, 8), (300, 1), (300, 3)),
)
# One to four entries, two of them without all taps.
REGION_SETS = {
    1: RegionSet((Region(KernelSpec(3)),)),
    2: cubes(1, 2),
    3: REGIONS,
    4: RegionSet((*REGIONS, Region(KernelSpec(3, dilation=3)))),
}

every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def assert_exact(function: Function, reference: Function, inputs: tuple[Tensor, ...]) -> None:
    """Output and gradients against float64, to the precision of what each is stored in."""
    expected = run(reference, tuple(tensor.double() for tensor in inputs))
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    out = function(*leaves)
    grad_out = scenes.randn(*out.shape, seed=9)
    grads = torch.autograd.grad(out, leaves, grad_out.to(out.dtype))
    if out.element_size() == 2:  # the gradient that came in was rounded
        exact = [tensor.double().requires_grad_() for tensor in inputs]
        wanted = torch.autograd.grad(reference(*exact), exact, grad_out.to(out.dtype).double())
        expected = [expected[0], *wanted]
    assert [tensor.dtype for tensor in grads] == [tensor.dtype for tensor in inputs]
    for actual, wanted_value in zip((out, *grads), expected, strict=True):
        scenes.assert_close(actual, wanted_value, scenes.TOLERANCE[actual.dtype])


def attention_inputs(
    regions: RegionSet, channels: int, heads: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    choice = scenes.randn(GRID.num_voxels, heads, len(regions), seed=2, dtype=dtype)
    return (
        scenes.randn(GRID.num_voxels, channels, seed=1, dtype=dtype),
        choice.masked_fill(choice < -0.5, 0.0),
        scenes.randn(regions.num_taps, channels, seed=3, dtype=dtype),
    )


def assert_attention(regions: RegionSet, inputs: tuple[Tensor, ...]) -> None:
    rmap = GRID.region_map(regions)
    assert_exact(
        lambda v, a, w: ops.codebook_attention(v, a, w, rmap),
        lambda v, a, w: codebook_attention_reference(v, a, w, rmap),
        inputs,
    )


def assert_logits(regions: RegionSet, inputs: tuple[Tensor, ...]) -> None:
    rmap = GRID.region_map(regions)
    assert_exact(
        lambda q, s: ops.codebook_logits(q, s, rmap),
        lambda q, s: codebook_logits_reference(q, s, rmap),
        inputs,
    )


def assert_depthwise(spec: KernelSpec, inputs: tuple[Tensor, ...]) -> None:
    kmap = GRID.kernel_map(spec)
    assert_exact(
        lambda x, w: ops.depthwise_conv(x, w, kmap),
        lambda x, w: depthwise_conv_reference(x, w, kmap),
        inputs,
    )


def offset(tensor: Tensor) -> Tensor:
    """The same numbers one element into their storage: contiguous, and aligned for nothing more."""
    view = torch.zeros(tensor.numel() + 1, dtype=tensor.dtype)[1:].view(tensor.shape)
    return view.copy_(tensor)


@every_dtype
@pytest.mark.parametrize(("channels", "heads"), CHANNELS_AND_HEADS)
def test_attention(channels: int, heads: int, dtype: torch.dtype) -> None:
    regions = REGION_SETS[1 + (channels + heads) % 4]
    assert_attention(regions, attention_inputs(regions, channels, heads, dtype))


@every_dtype
@pytest.mark.parametrize("heads", [1, 3, 8, 12, 40])
@pytest.mark.parametrize("shared", [False, True])
def test_logits(heads: int, shared: bool, dtype: torch.dtype) -> None:
    regions = REGION_SETS[1 + heads % 4]
    groups = 1 if shared else len(regions)
    q = scenes.randn(GRID.num_voxels, groups, heads, seed=1, dtype=dtype)
    assert_logits(regions, (q, scenes.randn(regions.num_taps, heads, seed=2, dtype=dtype)))


@every_dtype
@pytest.mark.parametrize("channels", [1, 3, 8, 24, 40, 72, 300])
def test_depthwise(channels: int, dtype: torch.dtype) -> None:
    spec = KernelSpec(5)
    feats = scenes.randn(GRID.num_voxels, channels, seed=1, dtype=dtype)
    weight = scenes.randn(spec.num_taps, channels, seed=2, dtype=dtype)
    assert_depthwise(spec, (feats, weight))


@every_dtype
@pytest.mark.parametrize("dilations", [(1,), (1, 2), (1, 2, 3, 4, 5)], ids=len)
def test_more_taps_than_a_block_keeps_weights_of(
    dilations: tuple[int, ...], dtype: torch.dtype
) -> None:
    regions = cubes(*dilations, size=7)
    assert_attention(regions, attention_inputs(regions, 48, 2, dtype))
    q = scenes.randn(GRID.num_voxels, 1, 8, seed=1, dtype=dtype)
    assert_logits(regions, (q, scenes.randn(regions.num_taps, 8, seed=2, dtype=dtype)))


@every_dtype
@pytest.mark.parametrize("moved", [0, 1, 2])
def test_views_that_begin_anywhere(moved: int, dtype: torch.dtype) -> None:
    """One input at a time is not aligned for vectors."""
    inputs = list(attention_inputs(REGIONS, 48, 2, dtype))
    inputs[moved] = offset(inputs[moved])
    assert inputs[moved].is_contiguous()
    assert_attention(REGIONS, tuple(inputs))
    q = scenes.randn(GRID.num_voxels, 3, 8, seed=1, dtype=dtype)
    logits = [q, scenes.randn(REGIONS.num_taps, 8, seed=2, dtype=dtype)]
    feats = scenes.randn(GRID.num_voxels, 8, seed=1, dtype=dtype)
    depthwise = [feats, scenes.randn(27, 8, seed=2, dtype=dtype)]
    if moved < 2:
        logits[moved], depthwise[moved] = offset(logits[moved]), offset(depthwise[moved])
    assert_logits(REGIONS, tuple(logits))
    assert_depthwise(KernelSpec(3), tuple(depthwise))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_float32_parameters_beside_16_bits(dtype: torch.dtype) -> None:
    v, choice, weight = attention_inputs(REGIONS, 40, 8, torch.float32)
    assert_attention(REGIONS, (v.to(dtype), choice, weight))
    assert_attention(REGIONS, (v.to(dtype), choice, weight.to(dtype)))
    assert_attention(REGIONS, (v.to(dtype), choice.to(dtype), weight))
    q = scenes.randn(GRID.num_voxels, 3, 8, seed=1, dtype=dtype)
    s = scenes.randn(REGIONS.num_taps, 8, seed=2, dtype=torch.float32)
    assert_logits(REGIONS, (q, s))
    assert_depthwise(KernelSpec(3), (v.to(dtype), weight[:27].contiguous()))


@every_dtype
@pytest.mark.parametrize(
    ("heads", "entries", "dims"), [(1, 1, 1), (3, 8, 4), (8, 9, 16), (2, 17, 300), (1, 40, 257)]
)
def test_nearest_codes(heads: int, entries: int, dims: int, dtype: torch.dtype) -> None:
    # Small integers: every score is exact in every type, so that ties are ties everywhere.
    generator = torch.Generator().manual_seed(5)
    z = torch.randint(-2, 3, (300, heads, dims), generator=generator).to(dtype)
    codes = torch.randint(-2, 3, (heads, entries, dims), generator=generator).to(dtype)
    codes[:, entries // 2] = codes[:, 0]
    index = ops.vector_quantize(z, codes)
    assert torch.equal(index, vector_quantize_reference(z.double(), codes.double()))
    assert torch.equal(index, ops.vector_quantize(offset(z), offset(codes)))
    if z.element_size() == 2:
        assert torch.equal(index, ops.vector_quantize(z, codes.float()))
