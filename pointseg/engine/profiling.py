"""A torch.profiler trace of a few training steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import torch
from rich.table import Table
from torch.profiler import ProfilerActivity, profile, schedule

from pointseg.files import written_whole

WAIT_STEPS, WARMUP_STEPS = 2, 2
"""Steps before the recorded ones: caches fill, then the profiler itself."""
NUM_OPERATORS = 10


class StepProfiler:
    """Records ``num_steps`` steps after WAIT_STEPS + WARMUP_STEPS others; to be entered with
    ``with``, and told of every step by `step`.

    Writes ``folder/steps_<first>-<last>.json`` (Chrome's trace format, for chrome://tracing or
    ui.perfetto.dev) and shows the operators that took most time by themselves. The run goes on
    afterwards, without the profiler. What is between two recorded steps, such as an evaluation, is
    recorded, too. A run that ends earlier has a trace of the steps recorded until then, if any.
    """

    def __init__(
        self,
        folder: Path,
        num_steps: int,
        start_step: int,
        device: torch.device,
        show: Callable[[Table | str], None],
    ) -> None:
        """``start_step`` steps of the run are done before the first; ``show`` is for the reader."""
        if num_steps < 1:
            raise ValueError(f"--profile must be at least 1 step, got {num_steps}")
        self.folder = folder
        self.show = show
        self._first = start_step + WAIT_STEPS + WARMUP_STEPS + 1
        self._step = start_step
        self._on_gpu = device.type == "cuda"
        activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * self._on_gpu
        self._profile = profile(
            activities=activities,
            schedule=schedule(wait=WAIT_STEPS, warmup=WARMUP_STEPS, active=num_steps, repeat=1),
            on_trace_ready=self._write,
            acc_events=True,
        )
        self._written = False

    def __enter__(self) -> StepProfiler:
        self._profile.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._written:
            return
        if self._step < self._first:
            self.show(f"no trace: the first step to record was {self._first}")
        self._profile.stop()

    def step(self) -> None:
        """A training step is done."""
        self._step += 1
        if not self._written:
            self._profile.step()

    def _write(self, finished: profile) -> None:
        if self._step < self._first:
            return
        path = self.folder / f"steps_{self._first}-{self._step}.json"
        with written_whole(path, overwrite=True) as temporary:
            finished.export_chrome_trace(str(temporary))
        self._written = True
        self.show(heaviest_operators(finished, self._on_gpu))
        self.show(f"wrote {path}: open it in ui.perfetto.dev or chrome://tracing")


def heaviest_operators(finished: profile, on_gpu: bool) -> Table:
    """The operators with most time of their own, on the GPU or on the CPU."""
    device = "GPU" if on_gpu else "CPU"
    rows = [
        (event.key, event.self_device_time_total if on_gpu else event.self_cpu_time_total, event)
        for event in finished.key_averages()
        if not event.is_user_annotation  # phases and steps, which operators are parts of
    ]
    total_us = max(sum(time_us for _, time_us, _ in rows), 1e-9)
    table = Table(title=f"The {NUM_OPERATORS} heaviest operators, by {device} time of their own")
    table.add_column("operator")
    for header in ("calls", "time", "share", "a call"):
        table.add_column(header, justify="right")
    for name, time_us, event in sorted(rows, key=lambda row: -row[1])[:NUM_OPERATORS]:
        table.add_row(
            name,
            f"{event.count:,}",
            f"{time_us / 1000:.1f} ms",
            f"{100 * time_us / total_us:.1f} %",
            f"{time_us / event.count / 1000:.3f} ms",
        )
    return table
