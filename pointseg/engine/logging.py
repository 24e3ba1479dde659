"""Where the numbers of a run go: the terminal, ``metrics.jsonl`` and TensorBoard."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pointseg.engine.run_directory import RunDirectory


class RunLog:
    """Writes rows of named numbers; to be entered with ``with``.

    A row of ``metrics.jsonl`` is ``{"step", "kind": "train" | "validation", ...}``; nan and
    infinity become null. Where the model can warn, ``"warnings"`` lists the keys of what it warns
    of at that step. On a terminal a progress bar shows the last row with throughput and time
    left; elsewhere every logged step is a line.
    """

    def __init__(
        self,
        run: RunDirectory,
        num_steps: int,
        start_step: int = 0,
        tensorboard: bool = True,
        console: Console | None = None,
    ) -> None:
        self.run = run
        self.num_steps = num_steps
        self.console = console or Console()
        self._start_step = start_step
        self._tensorboard_wanted = tensorboard
        self._tensorboard: Any = None
        self._progress: Progress | None = None
        self._task: Any = None
        self._last_time_s = 0.0
        self._last_step = start_step

    def __enter__(self) -> RunLog:
        self._metrics = open(self.run.metrics, "a", encoding="utf-8")
        self._tensorboard = self._open_tensorboard() if self._tensorboard_wanted else None
        if self.console.is_terminal:
            self._progress = Progress(
                TextColumn("step"),
                MofNCompleteColumn(),
                BarColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.description}"),
                console=self.console,
            )
            self._task = self._progress.add_task(
                "", total=self.num_steps, completed=self._start_step
            )
            self._progress.start()
        self._last_time_s = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._progress is not None:
            self._progress.stop()
        if self._tensorboard is not None:
            self._tensorboard.close()
        self._metrics.close()

    def message(self, text: str) -> None:
        """A line for the reader."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def advance(self, step: int) -> None:
        """Move the progress bar to ``step`` steps done."""
        if self._progress is not None:
            self._progress.update(self._task, completed=step)

    def restart_clock(self) -> None:
        """Leave the time since the last row out of the throughput (after an evaluation, say)."""
        self._last_time_s = time.perf_counter()

    def train_row(
        self,
        step: int,
        values: Mapping[str, float],
        num_scenes: int,
        num_voxels: int,
        warnings: Iterable[str] | None = None,
    ) -> None:
        """Numbers of the training step after which ``step`` steps are done.

        ``num_scenes`` and ``num_voxels`` were processed since the last row, and give the
        throughput. Of ``values`` the reader's line shows loss, lr and peak_memory_gib. ``warnings``
        are the keys of all that the model warns of, None where it cannot.
        """
        now = time.perf_counter()
        elapsed = max(now - self._last_time_s, 1e-9)
        step_time_s = elapsed / max(step - self._last_step, 1)
        self._last_time_s, self._last_step = now, step
        speed = {
            "step_time_s": round(step_time_s, 4),
            "scenes_per_s": round(num_scenes / elapsed, 3),
            "voxels_per_s": round(num_voxels / elapsed),
        }
        self._write("train", step, {**values, **speed}, warnings)
        text = (
            f"loss {values['loss']:.4f}  lr {values['lr']:.2e}  "
            f"{num_scenes / elapsed:.2f} scenes/s  {num_voxels / elapsed / 1000:.0f}k voxels/s  "
            f"{values['peak_memory_gib']:.2f} GiB"
        )
        if self._progress is not None:
            self._progress.update(self._task, completed=step, description=text)
        else:
            left = timedelta(seconds=round(step_time_s * (self.num_steps - step)))
            self.message(
                f"step {step:>{len(str(self.num_steps))}}/{self.num_steps}  {text}  {left} left"
            )

    def validation_row(self, step: int, values: Mapping[str, float], text: str) -> None:
        """Numbers of an evaluation of the model after ``step`` steps, and the line that says so."""
        self._write("validation", step, values)
        self.message(f"step {step:>{len(str(self.num_steps))}}/{self.num_steps}  {text}")

    def warn(self, step: int, warnings: Mapping[str, str]) -> None:
        """Lines for the reader about what has gone wrong since the last row, key -> text."""
        for key, text in warnings.items():
            self.message(
                f"step {step:>{len(str(self.num_steps))}}/{self.num_steps}  warning: {text}"
            )
            if self._tensorboard is not None:
                self._tensorboard.add_text(f"warnings/{key}", text, step)

    def _write(
        self,
        kind: str,
        step: int,
        values: Mapping[str, float],
        warnings: Iterable[str] | None = None,
    ) -> None:
        row: dict[str, Any] = {"step": step, "kind": kind}
        row |= {k: v if math.isfinite(v) else None for k, v in values.items()}
        if warnings is not None:
            row["warnings"] = sorted(warnings)
        self._metrics.write(json.dumps(row) + "\n")
        self._metrics.flush()
        if self._tensorboard is not None:
            for name, value in values.items():
                self._tensorboard.add_scalar(f"{kind}/{name}", value, step)
            if warnings is not None:
                self._tensorboard.add_scalar(f"{kind}/warnings", len(row["warnings"]), step)

    def _open_tensorboard(self) -> Any:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.message(
                "TensorBoard is not installed: its log is left out (pip install tensorboard)"
            )
            return None
        return SummaryWriter(
            str(self.run.tensorboard), purge_step=self._start_step + 1 if self._start_step else None
        )


class RankLog(RunLog):
    """The log of ranks other than 0: nothing but warnings, on stderr, with the number of the rank.

    What is told of a whole step comes from rank 0.
    """

    def __init__(self, run: RunDirectory, num_steps: int, rank: int) -> None:
        super().__init__(run, num_steps, tensorboard=False, console=Console(stderr=True))
        self.rank = rank

    def __enter__(self) -> RankLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def message(self, text: str) -> None:
        pass

    def train_row(
        self,
        step: int,
        values: Mapping[str, float],
        num_scenes: int,
        num_voxels: int,
        warnings: Iterable[str] | None = None,
    ) -> None:
        pass

    def validation_row(self, step: int, values: Mapping[str, float], text: str) -> None:
        pass

    def warn(self, step: int, warnings: Mapping[str, str]) -> None:
        for text in warnings.values():
            super().message(f"rank {self.rank}: step {step}/{self.num_steps}  warning: {text}")
