"""What a network costs on one input: time, memory and share of every kind of work.

``python -m pointseg.benchmark.network_cost JSON`` measures one :class:`Task` and prints a
:class:`Cost` as JSON, so that the process's memory is that of this measurement alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from pointseg.benchmark.inputs import HALL_VOXEL_SIZE_M, Scene, hall_points
from pointseg.benchmark.op_clock import step_shares
from pointseg.benchmark.timing import median_ms, peak_mib
from pointseg.engine.optimizers import OptimizerConfig, build_optimizer
from pointseg.machine import keep_freed_memory
from pointseg.models import build_model
from pointseg.nn import folded
from pointseg.ops import voxelize_points
from pointseg.sparse import SparseTensor, VoxelGrid

IN_CHANNELS, NUM_CLASSES = 3, 20
PACKAGE_PARENT = Path(__file__).resolve().parents[2]

# What an operator's time is counted as, by the first pattern found in its name. In a pass that
# records gradients the profiler names an operator after its backward.
GROUPS = (
    ("weight gradient", r"conv_weight_grad"),
    ("loss", r"(?i)log_?softmax|nll_?loss|cross_entropy"),
    ("attention", r"codebook|softmax"),
    ("maps", r"kernel_map|row_lists|voxel|sort_keys"),
    ("convolution", r"sparse_conv"),
    ("norm", r"norm"),
    ("matrix product", r"(^|::)(mm|addmm|bmm|matmul|linear)$"),
    ("optimiser", r"sgd|Optimizer"),
)
NAMED_SHARE = 0.01  # operators of no group are named from this share of the time on
REST = "everything else"


@dataclass(frozen=True)
class Task:
    """What to measure.

    Attributes:
        model: a preset of `pointseg.models`.
        training: a step (maps, forward, cross entropy, backward, SGD), or inference.
        voxel_size_m: edge of the voxels of the room.
        num_voxels: this many voxels of the hall instead of the room; None: the room.
        threads, repeats: of the timed calls.
        shares: whether to profile, too.
        device: where the network and its input are.
        autocast: dtype of autocast, such as "bfloat16"; None: none.
        checkpointed: parts whose activations are computed again in the backward pass.
    """

    model: str
    training: bool
    voxel_size_m: float
    num_voxels: int | None
    threads: int
    repeats: int
    shares: bool
    device: str = "cpu"
    autocast: str | None = None
    checkpointed: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        number = f"_{self.autocast}" if self.autocast else ""
        return f"{self.model}_{'training' if self.training else 'inference'}{number}"


@dataclass(frozen=True)
class Cost:
    """What was measured.

    Attributes:
        num_voxels: of the input.
        ms: median time of a call.
        allocated_mib: most that torch's allocator held at once in a call, beyond parameters,
            optimiser state and input.
        resident_mib: most memory of the process in the calls that were timed, all of it.
        shares: kind of work: share of the operators' own time, largest first; sums to 1.
    """

    num_voxels: int
    ms: float
    allocated_mib: float
    resident_mib: float
    shares: dict[str, float]


def measure_apart(task: Task) -> Cost:
    """Measure in a process of its own; RuntimeError with its last words where it fails."""
    paths = [str(PACKAGE_PARENT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-m", __name__, json.dumps(dataclasses.asdict(task))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise RuntimeError(f"{task.name}: exit status {done.returncode}: {last[0]}")
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def measure(task: Task, coords: Tensor | None = None) -> Cost:
    """Measure in this process; on other voxels than the task's where they are given."""
    torch.set_num_threads(task.threads)
    torch.manual_seed(0)
    device = torch.device(task.device)
    coords = (input_coords(task) if coords is None else coords).to(device)
    phases = training_phases(task, coords) if task.training else inference_phases(task, coords)

    def call() -> None:
        for phase in phases.values():
            phase()

    forget_resident_peak()
    ms = median_ms(call, task.repeats, device)
    resident_mib = resident_peak_mib()
    found: dict[str, float] = {}
    if task.shares:
        found = shares(call) if device.type == "cpu" else step_shares(phases, device)
    return Cost(
        num_voxels=len(coords),
        ms=ms,
        allocated_mib=peak_mib(call, device),
        resident_mib=resident_mib,
        shares=found,
    )


def input_coords(task: Task) -> Tensor:
    """int32 [N, 4]: the room, or a hall of as many voxels as are asked for."""
    if task.num_voxels is None:
        return Scene("room", task.voxel_size_m).grid().coords
    return voxelize_points(hall_points(task.num_voxels), HALL_VOXEL_SIZE_M).coords


Phases = dict[str, Callable[[], None]]


def training_phases(task: Task, coords: Tensor) -> Phases:
    """A step as the trainer makes it, with the maps of a new scene, in its parts."""
    model, feats = _model_and_feats(task, coords)
    model.checkpoint_activations(task.checkpointed)  # type: ignore[operator]
    labels = torch.randint(0, NUM_CLASSES, (len(coords),)).to(coords.device)
    optimizer = build_optimizer(OptimizerConfig(lr=1e-3, momentum=0.9), model)
    made: dict[str, Any] = {}  # by one part, for the next

    def geometry() -> None:
        made["scene"] = _scene(model, coords, feats)

    def forward() -> None:
        with _autocast(task):
            logits = model(made.pop("scene"))
        made["loss"] = nn.functional.cross_entropy(logits.float(), labels)

    def backward() -> None:
        made.pop("loss").backward()

    def optimise() -> None:
        optimizer.step()
        optimizer.zero_grad()

    return {
        "geometry": geometry,
        "forward": forward,
        "backward": backward,
        "optimiser": optimise,
    }


def inference_phases(task: Task, coords: Tensor) -> Phases:
    """Logits of a new scene, as the commands that predict compute them, in its parts."""
    trained, feats = _model_and_feats(task, coords)
    model = folded(trained)
    made: list[SparseTensor] = []

    def geometry() -> None:
        made.append(_scene(model, coords, feats))

    def forward() -> None:
        with torch.no_grad(), _autocast(task):
            model(made.pop())

    return {"geometry": geometry, "forward": forward}


def _autocast(task: Task) -> contextlib.AbstractContextManager[object]:
    if task.autocast is None:
        return contextlib.nullcontext()
    return torch.autocast(torch.device(task.device).type, dtype=getattr(torch, task.autocast))


def _model_and_feats(task: Task, coords: Tensor) -> tuple[nn.Module, Tensor]:
    model = build_model(task.model, IN_CHANNELS, NUM_CLASSES).to(coords.device)
    return model, torch.randn(len(coords), IN_CHANNELS).to(coords.device)


def _scene(model: nn.Module, coords: Tensor, feats: Tensor) -> SparseTensor:
    grid = VoxelGrid(coords, num_scenes=1)  # new: it has no maps yet
    grid.prepare(model.geometry())  # type: ignore[operator]
    return SparseTensor(feats, grid)


def shares(call: Callable[[], object]) -> dict[str, float]:
    """Share of the operators' own time on the CPU by kind of work, largest first."""
    with profile(activities=[ProfilerActivity.CPU]) as trace:
        call()
    return grouped({e.key: float(e.self_cpu_time_total) for e in trace.key_averages()})


def grouped(times: dict[str, float]) -> dict[str, float]:
    """Times by operator, as shares by kind of work; operators of no kind keep their name, or go to
    the rest where they are small.
    """
    total = sum(times.values())
    found: dict[str, float] = {}
    for name, time in times.items():
        group = next((g for g, pattern in GROUPS if re.search(pattern, name)), None)
        if group is None:
            group = name if time >= NAMED_SHARE * total else REST
        found[group] = found.get(group, 0.0) + time / total
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def forget_resident_peak() -> None:
    """Start the process's peak anew: what made the input does not count, where that is allowed."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def resident_peak_mib() -> float:
    """Most memory that this process had since; `getrusage` would begin with its parent's."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status: no VmHWM line; resident memory is measured on Linux only")


def main(argv: Sequence[str]) -> None:
    keep_freed_memory()  # as the commands do
    print(json.dumps(dataclasses.asdict(measure(Task(**json.loads(argv[0]))))))


if __name__ == "__main__":
    main(sys.argv[1:])
