"""Weak scaling of training on this machine: more ranks, each with as many scenes a step.

Every measurement is the command a user would type: `torchrun` with N processes of `pointseg train`,
each on one thread, on generated rooms. Throughput is what the run itself logs.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pointseg.experiment_config import find_config

PACKAGE_PARENT = Path(__file__).resolve().parents[2]
CONFIG = "synthetic_minkunet14"
TIMEOUT_S = 1800.0


@dataclass(frozen=True)
class RanksTask:
    """What every rank does.

    Attributes:
        root: folder of rooms in the format that the configuration reads.
        steps: of a run; the first, in which memory is handed out, does not count.
        batch_size: scenes of a rank in a step.
        overrides: further ``key=value`` of the configuration.
    """

    root: Path
    steps: int = 12
    batch_size: int = 1
    overrides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.steps < 2:
            raise ValueError(f"steps: expected at least 2, the first is left out; got {self.steps}")


@dataclass(frozen=True)
class RanksCost:
    """Throughput of a run.

    Attributes:
        num_ranks: processes.
        step_ms: median time of a step.
        scenes_per_s: of all ranks together, by that time.
    """

    num_ranks: int
    step_ms: float
    scenes_per_s: float

    def efficiency(self, single: RanksCost) -> float:
        """Throughput of a rank, as a share of that of a run with one."""
        return self.scenes_per_s / self.num_ranks / single.scenes_per_s


def measure_ranks(task: RanksTask, num_ranks: int, folder: Path) -> RanksCost:
    """Train in ``folder / ranks_<n>``; RuntimeError with what it says where that fails."""
    run = folder / f"ranks_{num_ranks}"
    done = subprocess.run(
        train_command(task, num_ranks, run),
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
        said = next((line for line in lines if line.startswith("pointseg train: ")), lines[-1])
        raise RuntimeError(f"{num_ranks} ranks: exit status {done.returncode}: {said}")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    times_s = [row["step_time_s"] for row in rows if row["kind"] == "train"][1:]
    step_s = statistics.median(times_s)
    return RanksCost(num_ranks, 1e3 * step_s, num_ranks * task.batch_size / step_s)


def train_command(task: RanksTask, num_ranks: int, run: Path) -> list[str]:
    """`torchrun` for the interpreter that runs this."""
    settings = (
        f"data.root={task.root}",
        "data.num_workers=0",
        f"train.steps={task.steps}",
        f"train.batch_size={task.batch_size}",
        "train.log_every=1",
        "train.save_every=0",
        "train.tensorboard=false",
        *task.overrides,
    )
    launcher = ("torch.distributed.run", "--standalone", "--nproc-per-node", str(num_ranks))
    return [
        *(sys.executable, "-m", *launcher, "-m", "pointseg", "train"),
        *("--config", str(find_config(CONFIG).resolve()), "--device", "cpu", "--output", str(run)),
        *(word for setting in settings for word in ("--set", setting)),
    ]


def _environment() -> dict[str, str]:
    paths = [str(PACKAGE_PARENT), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "OMP_NUM_THREADS": "1",  # the same for every number of ranks
    }


def ranks_table(costs: Sequence[RanksCost]) -> str:
    """The measurements as a markdown table; the first is what the others are compared with."""
    rows = ["| ranks | step, ms | scenes/s | of one rank's |", "|---:|---:|---:|---:|"]
    rows += [
        f"| {cost.num_ranks} | {cost.step_ms:.0f} | {cost.scenes_per_s:.2f} | "
        f"{100 * cost.efficiency(costs[0]):.0f} % |"
        for cost in costs
    ]
    return "\n".join(rows) + "\n"
