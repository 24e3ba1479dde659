"""Networks on a room: training step and inference, memory, and what the time is spent on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pointseg.benchmark.inputs import Scene
from pointseg.benchmark.network_cost import Cost, Task, measure_apart
from pointseg.benchmark.report import Row
from pointseg.benchmark.scaling import fit_line
from pointseg.benchmark.suites.cases import Options

MODELS = ("minkunet34c", "codedvtr_m")
MAX_TRAINING_VOXELS = 1_000_000  # of a sweep; inference goes on beyond


def model_rows(options: Options, scene: Scene) -> Iterator[Row]:
    """Time, memory and shares of every network on the room, or a sweep over sizes where the options
    name some: halls of so many voxels.
    """
    for model in MODELS:
        for training in (True, False):
            task = _task(options, scene, model, training, None, shares=True)
            case = f"{task.name}_{scene.name}"
            if not options.wants(case):
                continue
            if options.voxels:
                yield from sweep_rows(options, scene, model, training)
            else:
                yield from cost_rows(case, measure_apart(task))


def cost_rows(case: str, cost: Cost) -> Iterator[Row]:
    """Nothing stands beside them: plain torch has no network of this size."""
    yield Row.alone("model", case, "ms", cost.ms)
    yield Row.alone("model_memory", f"{case}_allocated", "MiB", cost.allocated_mib)
    yield Row.alone("model_memory", f"{case}_resident", "MiB", cost.resident_mib)
    for kind, share in cost.shares.items():
        yield Row.alone("model_share", f"{case}: {kind}", "%", 100 * share)


def sweep_rows(options: Options, scene: Scene, model: str, training: bool) -> Iterator[Row]:
    """Cost at every size, and a line through each of time and memory."""
    sizes = [n for n in options.voxels if not training or n <= MAX_TRAINING_VOXELS]
    costs = []
    for num_voxels in sizes:
        task = _task(options, scene, model, training, num_voxels, shares=False)
        costs.append(measure_apart(task))
        yield from cost_rows(f"{task.name}_{num_voxels}", costs[-1])
    if len(sizes) > 1:
        yield from fit_rows(task.name, sizes, costs)


def fit_rows(case: str, sizes: Sequence[int], costs: Sequence[Cost]) -> Iterator[Row]:
    """Cost of one more voxel, and how far from the straight line the furthest size lies."""
    for what, unit, values in (
        ("time", "us", [1e3 * cost.ms for cost in costs]),
        ("allocated", "KiB", [1024 * cost.allocated_mib for cost in costs]),
        ("resident", "KiB", [1024 * cost.resident_mib for cost in costs]),
    ):
        _, slope, deviation = fit_line(sizes, values)
        yield Row.alone("model_fit", f"{case}_{what}_per_voxel", unit, slope)
        yield Row.alone("model_fit", f"{case}_{what}_from_line", "%", 100 * deviation)


def _task(
    options: Options, scene: Scene, model: str, training: bool, num_voxels: int | None, shares: bool
) -> Task:
    return Task(
        model,
        training,
        scene.voxel_size_m,
        num_voxels,
        options.threads,
        options.repeats,
        shares,
        str(options.device),
    )
