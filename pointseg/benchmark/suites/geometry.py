"""Voxels and maps of a scene, from coordinates."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch

from pointseg import ops
from pointseg.benchmark import plain_torch
from pointseg.benchmark.inputs import Scene
from pointseg.benchmark.report import Row
from pointseg.benchmark.suites.cases import Options
from pointseg.benchmark.timing import best_ms, median_ms, threads
from pointseg.sparse import KernelSpec, VoxelGrid, cubes

CUBE3 = KernelSpec(3)
HALVING = KernelSpec(2, stride=2)
DILATIONS = cubes(1, 2, 3)


def geometry_rows(options: Options, scene: Scene, grid: VoxelGrid) -> Iterator[Row]:
    """Voxelisation, the 3x3x3 map, the map to half the resolution, and maps of three dilations.

    Maps have a row in ms and one in ns a voxel.
    """
    name = f"voxelize_{scene.name}"
    if options.wants(name):
        cells = torch.floor(scene.points() / scene.voxel_size_m).int()
        coords = torch.nn.functional.pad(cells, (1, 0)).to(options.device)
        yield _row(
            options,
            name,
            lambda: ops.voxelize(coords),
            lambda: plain_torch.voxelize(coords),
        )

    def fresh() -> VoxelGrid:
        return copy.copy(grid)  # keys are sorted, as in a network, but no map is known

    for row in (
        (
            f"kernel_map_k3_{scene.name}",
            lambda: VoxelGrid(grid.coords).kernel_map(CUBE3),
            lambda: plain_torch.kernel_map(grid, CUBE3),
        ),
        (
            f"kernel_map_k2s2_{scene.name}",
            lambda: fresh().kernel_map(HALVING),
            lambda: plain_torch.halving_map(grid),
        ),
    ):
        if options.wants(row[0]):
            yield from _with_ns_per_voxel(_row(options, *row), grid)
    name = f"region_map_dilations_123_{scene.name}"
    if options.wants(name):  # what three dilations cost against one, both ours
        three, one = (lambda: fresh().region_map(DILATIONS)), (lambda: fresh().kernel_map(CUBE3))
        with threads(options.threads):
            times = [median_ms(call, options.repeats, options.device) for call in (three, one)]
        yield Row.compare("ops", name, "ms", times[0], "kernel_map_k3", times[1], options.threads)


def _row(options: Options, name: str, ours: Callable[[], Any], other: Callable[[], Any]) -> Row:
    with threads(options.threads):
        our_ms = median_ms(ours, options.repeats, options.device)
    other_ms = best_ms(other, options.repeats, options.other_threads, options.device)
    return Row.compare("ops", name, "ms", our_ms, "plain_torch", other_ms, options.threads)


def _with_ns_per_voxel(row: Row, grid: VoxelGrid) -> Iterator[Row]:
    yield row
    scale = 1e6 / grid.num_voxels
    assert row.other_value is not None
    values = (row.ours * scale, row.other, row.other_value * scale)
    yield Row.compare(row.suite, row.case, "ns/voxel", *values, row.threads)
