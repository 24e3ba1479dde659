"""Where the numbers of a run go: the terminal, ``metrics.jsonl``, TensorBoard and W&B."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType

from rich.console import Console

from pointseg.engine.run_directory import RunDirectory
from pointseg.engine.sinks import JsonLines, Row, Sink
from pointseg.engine.terminal import Terminal
from pointseg.evaluation import SegReport, write_json


class RunLog:
    """Gives rows of named numbers to the terminal and to every sink; to be entered with ``with``.

    A row of ``metrics.jsonl`` is ``{"step", "kind": "train" | "validation", ...}``. Where the model
    can warn, ``"warnings"`` lists the keys of what it warns of at that step.
    """

    def __init__(
        self,
        run: RunDirectory,
        num_steps: int,
        start_step: int = 0,
        sinks: Sequence[Sink] | None = None,
        console: Console | None = None,
    ) -> None:
        """``sinks``: besides the terminal; ``metrics.jsonl`` unless given (see `file_sinks`)."""
        self.run = run
        self.terminal = Terminal(console or Console(), num_steps, start_step)
        files = (JsonLines(run.metrics, self.message),) if sinks is None else sinks
        self.sinks: tuple[Sink, ...] = (*files, self.terminal)
        self._entered = ExitStack()

    def __enter__(self) -> RunLog:
        with ExitStack() as stack:
            for sink in self.sinks:
                stack.enter_context(sink)
            self._entered = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._entered.__exit__(kind, error, trace)

    def message(self, text: str) -> None:
        """A line for the reader."""
        self.terminal.message(text)

    def advance(self, step: int) -> None:
        """``step`` steps are done."""
        self.terminal.advance(step)

    def train_row(
        self, step: int, values: Mapping[str, float], warnings: Iterable[str] | None = None
    ) -> None:
        """Numbers of the training step after which ``step`` steps are done.

        ``values`` has what `Terminal` shows. ``warnings`` are the keys of all that the model warns
        of, None where it cannot.
        """
        keys = None if warnings is None else tuple(sorted(warnings))
        self._write(Row("train", step, values, keys))

    def validation(
        self, step: int, values: Mapping[str, float], report: SegReport, is_best: bool
    ) -> None:
        """An evaluation of the model after ``step`` steps: its numbers, the line that says so, and
        the report as ``evaluation.json``, in place of that of the last evaluation.

        ``values`` has evaluation_time_s; ``is_best``: none before it had a better `best_metric`.
        """
        seconds = values["evaluation_time_s"]
        best = ", the best so far" if is_best else ""
        text = f"{report.headline}, accuracy {report.accuracy:.3f}{best}  {seconds:.1f} s"
        self._write(Row("validation", step, values, headline=text))
        try:
            write_json(report, self.run.evaluation, {"step": step}, overwrite=True)
        except OSError as problem:  # a full disk, on which training goes on
            self.message(
                f"warning: {self.run.evaluation} could not be written ({problem.strerror})"
            )

    def warn(self, step: int, warnings: Mapping[str, str]) -> None:
        """What has gone wrong since the last row, key -> text."""
        for key, text in warnings.items():
            for sink in self.sinks:
                sink.warning(step, key, text)

    def _write(self, row: Row) -> None:
        for sink in self.sinks:
            sink.row(row)


class RankLog(RunLog):
    """The log of ranks other than 0: nothing but warnings, on stderr, with the number of the rank.

    What is told of a whole step comes from rank 0.
    """

    def __init__(self, run: RunDirectory, num_steps: int, rank: int) -> None:
        super().__init__(run, num_steps, sinks=(), console=Console(stderr=True))
        self.rank = rank

    def __enter__(self) -> RankLog:
        return self

    def message(self, text: str) -> None:
        pass

    def advance(self, step: int) -> None:
        pass

    def train_row(
        self, step: int, values: Mapping[str, float], warnings: Iterable[str] | None = None
    ) -> None:
        pass

    def validation(
        self, step: int, values: Mapping[str, float], report: SegReport, is_best: bool
    ) -> None:
        pass

    def warn(self, step: int, warnings: Mapping[str, str]) -> None:
        for text in warnings.values():
            self.terminal.message(
                f"rank {self.rank}: step {step}/{self.terminal.num_steps}  warning: {text}"
            )
