"""codebook_logits and codebook_attention: against brute force, what is skipped, memory, bad input.

Gradients, determinism, opcheck and the like are swept in test_every_op.py.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pointseg import ops
from pointseg.benchmark.timing import peak_mib
from pointseg.ops.codebook_attention import codebook_attention_reference
from pointseg.sparse import RegionSet, VoxelGrid, cubes
from tests.helpers.properties import given, settings, st
from tests.ops import scenes
from tests.ops.cases import REGIONS
from tests.ops.test_region_map import brute_force, region_sets


def attention_oracle(
    coords: Tensor, v: Tensor, choice: Tensor, weight: Tensor, regions: RegionSet
) -> Tensor:
    """Voxel by voxel, from coordinates alone."""
    out = torch.zeros_like(v)
    starts = regions.tap_starts
    width = v.shape[1] // choice.shape[1]
    for voxel, row, neighbor in sorted(brute_force(coords, 1, regions)):
        entry = sum(row >= start for start in starts) - 1
        for c in range(v.shape[1]):
            out[voxel, c] += choice[voxel, c // width, entry] * weight[row, c] * v[neighbor, c]
    return out


@settings(max_examples=25, deadline=None)
@given(scenes.voxel_sets(max_voxels=16), region_sets(), st.sampled_from([(1, 3), (2, 4), (3, 3)]))
def test_attention_agrees_with_brute_force(
    coords: Tensor, regions: RegionSet, shape: tuple[int, int]
) -> None:
    heads, channels = shape
    v = scenes.randn(len(coords), channels, seed=1)
    choice = scenes.randn(len(coords), heads, len(regions), seed=2)
    choice[choice.abs() < 0.3] = 0.0
    weight = scenes.randn(regions.num_taps, channels, seed=3)
    ours = ops.codebook_attention(v, choice, weight, VoxelGrid(coords).region_map(regions))
    scenes.assert_close(ours, attention_oracle(coords, v, choice, weight, regions), 1e-12)


@settings(max_examples=25, deadline=None)
@given(scenes.voxel_sets(max_voxels=16), region_sets(), st.booleans(), st.sampled_from([1, 3, 8]))
def test_logits_agree_with_brute_force(
    coords: Tensor, regions: RegionSet, shared: bool, heads: int
) -> None:
    q = scenes.randn(len(coords), 1 if shared else len(regions), heads, seed=1)
    s = scenes.randn(regions.num_taps, heads, seed=2)
    expected = torch.zeros(len(coords), heads, len(regions), dtype=torch.float64)
    for voxel, row, neighbor in brute_force(coords, 1, regions):
        entry = sum(row >= start for start in regions.tap_starts) - 1
        expected[voxel, :, entry] += s[row] * q[neighbor, 0 if shared else entry]
    ours = ops.codebook_logits(q, s, VoxelGrid(coords).region_map(regions))
    scenes.assert_close(ours, expected, 1e-12)


def test_logits_on_heads_are_the_published_ones_on_channels() -> None:
    """q repeated over the channels of a head, times the weights, summed: the same logits."""
    heads, channels = 4, 24
    grid = VoxelGrid(scenes.surface_voxels(400, seed=3))
    regions = cubes(2, 1, 3)
    q = scenes.randn(grid.num_voxels, 3, heads, seed=1)
    weight = scenes.randn(regions.num_taps, channels, seed=2)
    starts = regions.tap_starts
    expected = []
    for entry, region in enumerate(regions):
        repeated = q[:, entry].repeat_interleave(channels // heads, dim=1)
        rows = weight[starts[entry] : starts[entry + 1]]
        products = ops.depthwise_conv(repeated, rows, grid.kernel_map(region))
        expected.append(products.unflatten(1, (heads, -1)).sum(2))
    s = weight.unflatten(1, (heads, -1)).sum(2)
    ours = ops.codebook_logits(q, s, grid.region_map(regions))
    scenes.assert_close(ours, torch.stack(expected, dim=2), 1e-12)


@pytest.mark.parametrize("channels", [8, 40, 96, 136, 200])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_any_width_gives_what_its_channels_give_alone(channels: int, dtype: torch.dtype) -> None:
    """Channels are cut into vectors; no channel may notice where."""
    grid = VoxelGrid(scenes.surface_voxels(200, seed=5))
    rmap = grid.region_map(REGIONS)
    v = scenes.randn(grid.num_voxels, channels, seed=1, dtype=dtype)
    choice = scenes.randn(grid.num_voxels, 8, 3, seed=2, dtype=dtype)
    weight = scenes.randn(REGIONS.num_taps, channels, seed=3, dtype=dtype)
    whole = ops.codebook_attention(v, choice, weight, rmap)
    width = channels // 8
    for head in range(8):
        part = slice(head * width, (head + 1) * width)
        alone = ops.codebook_attention(v[:, part], choice[:, [head]], weight[:, part], rmap)
        scenes.assert_close(whole[:, part], alone, scenes.TOLERANCE[dtype])


def test_what_no_head_chose_is_skipped_and_the_choice_still_gets_its_gradient() -> None:
    """Hard choices, straight-through: da needs the sums of the entries that were not chosen."""
    grid = VoxelGrid(scenes.surface_voxels(300, seed=6))
    rmap = grid.region_map(REGIONS)
    n, heads, channels = grid.num_voxels, 2, 6
    v = scenes.randn(n, channels, seed=1).requires_grad_()
    weight = scenes.randn(REGIONS.num_taps, channels, seed=3).requires_grad_()
    logits = scenes.randn(n, heads, 3, seed=4).requires_grad_()
    grad = scenes.randn(n, channels, seed=5)

    def hard(attend) -> tuple[Tensor, ...]:
        p = logits.softmax(dim=2)
        one_hot = torch.nn.functional.one_hot(logits.argmax(dim=2), 3).to(p.dtype)
        out = attend(v, one_hot + p - p.detach(), weight)
        return (out.detach(), *torch.autograd.grad(out, (v, logits, weight), grad))

    def exact(v: Tensor, choice: Tensor, weight: Tensor) -> Tensor:
        return ops.codebook_attention(v, choice.round() + (choice - choice.detach()), weight, rmap)

    def dense(v: Tensor, choice: Tensor, weight: Tensor) -> Tensor:
        return codebook_attention_reference(v, choice, weight, rmap)

    for ours, theirs in zip(hard(exact), hard(dense), strict=True):
        scenes.assert_close(ours, theirs, 1e-12)

    # Entry 2 has taps of its own; where nobody chooses it, even a NaN there is not read.
    choice = torch.zeros(n, heads, 3, dtype=torch.float64)
    choice[:, :, 0] = 1.0
    broken = weight.detach().clone()
    broken[REGIONS.tap_starts[2] :] = torch.nan
    assert ops.codebook_attention(v, choice, broken, rmap).isfinite().all()
    choice[0, 1, 2] = 1e-3
    out = ops.codebook_attention(v, choice, broken, rmap)
    assert out[1:].isfinite().all()
    assert out[0, 3:].isnan().any()


def test_memory_beyond_inputs_and_outputs_does_not_grow_with_pairs_times_channels() -> None:
    grid = VoxelGrid(scenes.surface_voxels(20_000, seed=7))
    regions = cubes(2, 1, 3)
    rmap = grid.region_map(regions)
    n, heads, channels = grid.num_voxels, 8, 64
    q = scenes.randn(n, 3, heads, seed=1, dtype=torch.float32).requires_grad_()
    v = scenes.randn(n, channels, seed=2, dtype=torch.float32).requires_grad_()
    weight = scenes.randn(regions.num_taps, channels, seed=3, dtype=torch.float32).requires_grad_()
    grad = scenes.randn(n, channels, seed=4, dtype=torch.float32)

    def run() -> tuple[Tensor, ...]:
        s = weight.detach().unflatten(1, (heads, -1)).sum(2)
        choice = ops.codebook_logits(q, s, rmap).softmax(dim=2)
        out = ops.codebook_attention(v, choice, weight, rmap)
        return torch.autograd.grad(out, (q, v, weight), grad)

    outputs = 4 * (2 * n * channels + n * 3 * heads + weight.numel())  # out and the gradients
    of_choices = 4 * n * heads * len(regions)
    slices = 32 * 4 * weight.numel() * 2
    pairs_times_channels = 4 * rmap.taps.numel() * channels
    run()
    extra = peak_mib(run) * 2**20 - outputs
    assert extra <= 8 * of_choices + slices
    assert 8 * of_choices + slices < pairs_times_channels / 2  # the bound above says something


def test_bad_arguments_are_named() -> None:
    rmap = VoxelGrid(scenes.random_voxels(10, extent=4)).region_map(cubes(1, 2))
    v, choice, weight = torch.randn(10, 6), torch.rand(10, 2, 2), torch.randn(54, 6)
    q, s = torch.randn(10, 2, 2), torch.randn(54, 2)
    bad: list[tuple[str, type[Exception], object]] = [
        (
            "v: expected 10 rows",
            ValueError,
            lambda: ops.codebook_attention(v[:9], choice, weight, rmap),
        ),
        (
            "choice: expected",
            ValueError,
            lambda: ops.codebook_attention(v, choice[:, :, :1], weight, rmap),
        ),
        (
            "heads must divide",
            ValueError,
            lambda: ops.codebook_attention(v, torch.rand(10, 4, 2), weight, rmap),
        ),
        (
            "weight: expected",
            ValueError,
            lambda: ops.codebook_attention(v, choice, weight[:27], rmap),
        ),
        (
            "weight: expected torch.float32",
            TypeError,
            lambda: ops.codebook_attention(v, choice, weight.double(), rmap),
        ),
        (
            "choice: expected torch.float32",
            TypeError,
            lambda: ops.codebook_attention(v, choice.double(), weight, rmap),
        ),
        ("q: expected a tensor of shape", ValueError, lambda: ops.codebook_logits(q[0], s, rmap)),
        (
            "q: expected \\[10, 2 or 1, H\\]",
            ValueError,
            lambda: ops.codebook_logits(q[:, [0, 0, 0]], s, rmap),
        ),
        ("q: expected a floating", TypeError, lambda: ops.codebook_logits(q.long(), s, rmap)),
        ("s: expected", ValueError, lambda: ops.codebook_logits(q, s[:, :1], rmap)),
    ]
    for message, kind, call in bad:
        with pytest.raises(kind, match=message):
            call()  # type: ignore[operator]
