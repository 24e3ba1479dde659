"""What a run tells its reader: a progress bar on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from datetime import timedelta
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from pointseg.engine.sinks import Row, Sink
from pointseg.engine.step_clock import PREFIX

_SHOWN_WAIT = 0.1  # share of a step's time from which waiting for data is worth a word


class Terminal(Sink):
    """Rows as lines; on a terminal the last one of training stays beside a progress bar.

    Of a training row it shows loss, lr, scenes_per_s, points_per_s and peak_memory_gib, and how
    much of step_time_s went into waiting for data if that is a tenth or more.
    """

    def __init__(self, console: Console, num_steps: int, start_step: int) -> None:
        self.console = console
        self.num_steps = num_steps
        self._start_step = start_step
        self._progress: Progress | None = None
        self._task: Any = None

    def __enter__(self) -> Terminal:
        self._started_s = time.perf_counter()
        if self.console.is_terminal:
            self._progress = Progress(
                MofNCompleteColumn(),
                BarColumn(bar_width=16),
                TextColumn("{task.description}"),
                console=self.console,
            )
            self._task = self._progress.add_task(
                "", total=self.num_steps, completed=self._start_step
            )
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def message(self, text: str) -> None:
        """A line for the reader."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def advance(self, step: int) -> None:
        """Move the progress bar to ``step`` steps done."""
        if self._progress is not None:
            self._progress.update(self._task, completed=step)

    def row(self, row: Row) -> None:
        if row.headline:
            self._line(row.step, row.headline)
            return
        text = f"{self._time_left(row.step)} left  {_numbers(row)}"
        if self._progress is not None:
            self._progress.update(self._task, completed=row.step, description=text)
        else:
            self._line(row.step, text)

    def warning(self, step: int, key: str, text: str) -> None:
        self._line(step, f"warning: {text}")

    def _line(self, step: int, text: str) -> None:
        self.message(f"step {step:>{len(str(self.num_steps))}}/{self.num_steps}  {text}")

    def _time_left(self, step: int) -> timedelta:
        """As the run went so far, evaluations and checkpoints included."""
        passed_s = time.perf_counter() - self._started_s
        return timedelta(
            seconds=round(passed_s / max(step - self._start_step, 1) * (self.num_steps - step))
        )


def _numbers(row: Row) -> str:
    values = row.values
    text = (
        f"loss {values['loss']:.4f}  lr {values['lr']:.2e}  {values['scenes_per_s']:.2f} scenes/s  "
        f"{_short(values['points_per_s'])} points/s  {values['peak_memory_gib']:.2f} GiB"
    )
    wait = values.get(f"{PREFIX}data", 0.0) / max(values["step_time_s"], 1e-9)
    return f"{text}  data {100 * wait:.0f} %" if wait >= _SHOWN_WAIT else text


def _short(count: float) -> str:
    return f"{count / 1e6:.1f}M" if count >= 1e6 else f"{count / 1000:.0f}k"
