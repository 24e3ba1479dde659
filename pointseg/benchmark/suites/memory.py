"""Activation checkpointing: memory and time of a training step beside one that keeps everything."""

from __future__ import annotations

from collections.abc import Iterator

from pointseg.benchmark.inputs import Scene
from pointseg.benchmark.network_cost import Task, measure_apart
from pointseg.benchmark.report import Row
from pointseg.benchmark.suites.cases import Options
from pointseg.benchmark.suites.model import MODELS

CHECKPOINTED = {
    "stages": ("stages",),
    "blocks": ("blocks",),
    "finest_stage_blocks": ("decoder.3.blocks.0", "decoder.3.blocks.1"),
}
"""What is computed again, by name of the case: `UNet.checkpoint_activations`."""


def memory_rows(options: Options, scene: Scene) -> Iterator[Row]:
    """Training steps of every network on the room, each in a process of its own.

    The other way is the same step with all activations kept, measured once a network.
    """
    for model in MODELS:
        cases = {f"{model}_{name}_{scene.name}": parts for name, parts in CHECKPOINTED.items()}
        wanted = {case: parts for case, parts in cases.items() if options.wants(case)}
        if not wanted:
            continue
        kept = measure_apart(_task(options, scene, model, ()))
        for case, parts in wanted.items():
            cost = measure_apart(_task(options, scene, model, parts))
            for suite, unit, ours, other in (
                ("memory_allocated", "MiB", cost.allocated_mib, kept.allocated_mib),
                ("memory_resident", "MiB", cost.resident_mib, kept.resident_mib),
                ("memory_time", "ms", cost.ms, kept.ms),
            ):
                yield Row.compare(suite, case, unit, ours, "kept", other, options.threads)


def _task(options: Options, scene: Scene, model: str, checkpointed: tuple[str, ...]) -> Task:
    return Task(
        model,
        training=True,
        voxel_size_m=scene.voxel_size_m,
        num_voxels=None,
        threads=options.threads,
        repeats=options.repeats,
        shares=False,
        device=str(options.device),
        checkpointed=checkpointed,
    )
