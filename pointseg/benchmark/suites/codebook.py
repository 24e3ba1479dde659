"""Codebook attention on a room, against the published way in plain torch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from pointseg import ops
from pointseg.benchmark import plain_torch
from pointseg.benchmark.inputs import Scene
from pointseg.benchmark.report import Row
from pointseg.benchmark.suites.cases import Case, Function, Options, memory_row, time_row
from pointseg.nn import BasicBlock, CodebookBlock, CodebookConfig, SparseModule
from pointseg.nn.choice import entry_softmax
from pointseg.sparse import RegionSet, SparseTensor, VoxelGrid, cubes

REGIONS = cubes(2, 1, 3)
WIDTHS = (64, 128)
QUICK_WIDTHS = WIDTHS[:1]
EXPANSION = 2  # channels of values per channel of the block
HEADS = 8


def codebook_rows(options: Options, scene: Scene) -> Iterator[Row]:
    """The operators of a block: together, with one entry chosen, and the logits alone; then
    the block.
    """
    grid = scene.grid(options.device)
    for width in QUICK_WIDTHS if options.quick else WIDTHS:
        problem = Problem(f"C{width}_{scene.name}", grid, width)
        yield from problem.attention().forward_backward(options)
        yield from problem.soft_attention().forward(options)
        yield from problem.hard_attention().forward(options)
        yield from problem.logits("logits_fwd").forward(options)
        yield from problem.logits("logits_fwdbwd").forward_backward(options)
        yield from _block_rows(options, f"C{width}_{scene.name}", grid, width)


def _block_rows(options: Options, name: str, grid: VoxelGrid, width: int) -> Iterator[Row]:
    """A whole block beside the residual block of a MinkUNet of the same width: what attention costs
    a network. They compute different things.
    """
    name = f"block_fwdbwd_{name}"
    if not options.wants(name):
        return
    torch.manual_seed(0)
    config = CodebookConfig(REGIONS, HEADS, EXPANSION)
    ours = CodebookBlock(width, width, config).to(grid.device)
    other = BasicBlock(width, width).to(grid.device)
    feats = torch.randn(grid.num_voxels, width).to(grid.device).requires_grad_()
    grad = torch.randn(grid.num_voxels, width).to(grid.device)

    def call(block: SparseModule) -> tuple[Tensor, ...]:
        out = block.train()(SparseTensor(feats, grid)).feats
        return torch.autograd.grad(out, (feats, *block.parameters()), grad)

    calls = (lambda: call(ours), "minkunet_block", lambda: call(other))
    yield time_row(options, "codebook", name, *calls)
    yield memory_row(options, "codebook", name, *calls)


class Problem:
    """Inputs of the operators at one block width C: values and weights have ``EXPANSION * C``
    channels, every entry its own queries of one channel per head.
    """

    def __init__(
        self, name: str, grid: VoxelGrid, width: int, regions: RegionSet = REGIONS
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        channels = EXPANSION * width
        self.name = name
        self.rmap = grid.region_map(regions)
        self.entries = plain_torch.entry_pairs(grid, regions)
        self.v, self.q, self.weight = (
            x.to(grid.device)
            for x in (
                torch.randn(grid.num_voxels, channels, generator=generator),
                torch.randn(grid.num_voxels, len(regions), HEADS, generator=generator),
                torch.randn(regions.num_taps, channels, generator=generator) * 0.05,
            )
        )

    def attention(self) -> Case:
        """Logits, soft choice and values; gradients of values, queries and weights."""
        return self._case("attention_fwdbwd", self._ours, self._other, self.v, self.q, self.weight)

    def hard_attention(self) -> Case:
        """The values where every head of a voxel takes one entry, the same both ways."""
        with torch.no_grad():
            best = self._our_logits(self.q, self.weight).argmax(dim=2)
        choice = torch.nn.functional.one_hot(best, self.rmap.num_entries).float()
        return self._case(
            "attention_hard_fwd",
            lambda v, w: ops.codebook_attention(v, choice, w, self.rmap),
            lambda v, w: plain_torch.codebook_attention(v, choice, w, self.entries),
            self.v,
            self.weight,
        )

    def soft_attention(self) -> Case:
        """The values where the shares of every entry are given."""
        with torch.no_grad():
            choice = entry_softmax(self._our_logits(self.q, self.weight))
        return self._case(
            "attention_values_fwd",
            lambda v, c, w: ops.codebook_attention(v, c, w, self.rmap),
            lambda v, c, w: plain_torch.codebook_attention(v, c, w, self.entries),
            self.v,
            choice,
            self.weight,
        )

    def logits(self, name: str) -> Case:
        """The logits alone; gradient of the queries."""
        return self._case(
            name,
            lambda q: self._our_logits(q, self.weight),
            lambda q: plain_torch.codebook_logits(q, self.weight, self.entries),
            self.q,
        )

    def _case(self, name: str, ours: Function, other: Function, *inputs: Tensor) -> Case:
        bound = name.startswith("attention")
        full = f"{name}_{self.name}"
        return Case("codebook", full, ours, other, inputs, bound_by_memory=bound)

    def _our_logits(self, q: Tensor, weight: Tensor) -> Tensor:
        scale = weight.detach().unflatten(1, (HEADS, -1)).sum(dim=2)
        return ops.codebook_logits(q, scale, self.rmap)

    def _ours(self, v: Tensor, q: Tensor, weight: Tensor) -> Tensor:
        choice = entry_softmax(self._our_logits(q, weight))
        return ops.codebook_attention(v, choice, weight, self.rmap)

    def _other(self, v: Tensor, q: Tensor, weight: Tensor) -> Tensor:
        choice = entry_softmax(plain_torch.codebook_logits(q, weight, self.entries))
        return plain_torch.codebook_attention(v, choice, weight, self.entries)
