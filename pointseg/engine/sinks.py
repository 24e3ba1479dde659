"""Files and services that take the numbers of a run: metrics.jsonl, TensorBoard and W&B."""

from __future__ import annotations

import json
import math
import uuid
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, get_args

from pointseg.engine.row_file import RowFile
from pointseg.engine.run_directory import WANDB_DIR, RunDirectory

WandbMode = Literal["offline", "online"]
_RUN_ID_FILE = "run_id"


@dataclass(frozen=True)
class Row:
    """Named numbers of one moment of a run."""

    kind: str
    """``train`` or ``validation``."""
    step: int
    """Optimiser steps done."""
    values: Mapping[str, float]
    warnings: tuple[str, ...] | None = None
    """Keys of all that the model warns of; None where it cannot."""
    headline: str = ""
    """The row in words, where it has some."""


class Sink(AbstractContextManager["Sink"]):
    """A place that rows go to while it is entered."""

    @abstractmethod
    def row(self, row: Row) -> None: ...

    @abstractmethod
    def warning(self, step: int, key: str, text: str) -> None:
        """What has begun to go wrong."""


class JsonLines(Sink):
    """``metrics.jsonl``: an object a row, on disk at once; nan and infinity become null.

    On a full disk rows wait until there is room, and ``tell`` is told.
    """

    def __init__(self, path: Path, tell: Callable[[str], None]) -> None:
        self.path = path
        self.tell = tell
        self._rows_wait = False

    def __enter__(self) -> JsonLines:
        self._rows = RowFile(self.path)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        problem = self._rows.close()
        if problem is not None:
            self.tell(
                f"warning: the last {self._rows.num_waiting} bytes of {self.path} could not be "
                f"written ({problem.strerror})"
            )

    def row(self, row: Row) -> None:
        stored: dict[str, Any] = {"step": row.step, "kind": row.kind}
        stored |= {k: v if math.isfinite(v) else None for k, v in row.values.items()}
        if row.warnings is not None:
            stored["warnings"] = list(row.warnings)
        problem = self._rows.append(json.dumps(stored))
        if problem is not None and not self._rows_wait:
            self.tell(
                f"warning: {self.path} cannot be written ({problem.strerror}): its rows wait until "
                "it can"
            )
        self._rows_wait = problem is not None

    def warning(self, step: int, key: str, text: str) -> None:
        """Nothing: every row has the keys."""


class TensorBoard(Sink):
    """Event files; the numbers of a resumed run take the place of those that it does again.

    Where TensorBoard is not installed ``tell`` is told, and the log is left out; where its files
    cannot be written, on a full disk, the log ends there.
    """

    def __init__(self, folder: Path, start_step: int, tell: Callable[[str], None]) -> None:
        self.folder = folder
        self.start_step = start_step
        self.tell = tell
        self._writer: Any = None

    def __enter__(self) -> TensorBoard:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.tell("TensorBoard is not installed: its log is left out (pip install tensorboard)")
            return self
        purge_step = self.start_step + 1 if self.start_step else None
        self._writer = SummaryWriter(str(self.folder), purge_step=purge_step)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._write(lambda writer: writer.close())

    def row(self, row: Row) -> None:
        for name, value in _charted(row).items():
            self._write(partial(_add_scalar, name=name, value=value, step=row.step))

    def warning(self, step: int, key: str, text: str) -> None:
        self._write(lambda writer: writer.add_text(f"warnings/{key}", text, step))

    def _write(self, write: Callable[[Any], object]) -> None:
        if self._writer is None:
            return
        try:
            write(self._writer)
        except OSError as problem:
            self._writer = None
            self.tell(f"warning: TensorBoard's log ends here: {problem}")


class Wandb(Sink):
    """Weights & Biases. ``offline`` keeps everything in the run directory, for ``wandb sync``."""

    def __init__(
        self, folder: Path, mode: WandbMode, project: str, config: Mapping[str, Any]
    ) -> None:
        """``folder`` is the run directory, and its name that of the run.

        ImportError where wandb is not installed, before anything of a run is changed.
        """
        if mode not in get_args(WandbMode):
            raise ValueError(f"mode must be one of {', '.join(get_args(WandbMode))}, got {mode!r}")
        try:
            import wandb
        except ImportError as error:
            raise ImportError(
                f"train.wandb needs wandb ({error}): pip install 'pointseg[wandb]', or leave it "
                "out with --set train.wandb=null"
            ) from error
        self._wandb = wandb
        self.folder = folder
        self.mode = mode
        self.project = project
        self.config = dict(config)

    def __enter__(self) -> Wandb:
        # Runs that are resumed do some steps again: the step is a value of each row, as W&B's own
        # counter only rises.
        self._run = self._wandb.init(
            project=self.project,
            name=self.folder.resolve().name,
            config=self.config,
            dir=str(self.folder),
            mode=self.mode,
            id=self._run_id(),
            resume="allow" if self.mode == "online" else None,
        )
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._run.finish(exit_code=0 if error is None else 1)

    def row(self, row: Row) -> None:
        self._run.log({"step": row.step, **_charted(row)})

    def warning(self, step: int, key: str, text: str) -> None:
        self._run.alert(title=f"{key} at step {step}", text=text)

    def _run_id(self) -> str:
        """The same each time the run is gone on with."""
        path = self.folder / WANDB_DIR / _RUN_ID_FILE
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(uuid.uuid4().hex[:8], encoding="utf-8")
        return path.read_text(encoding="utf-8").strip()


def file_sinks(
    run: RunDirectory,
    start_step: int,
    tell: Callable[[str], None],
    *,
    tensorboard: bool,
    wandb: WandbMode | None,
    project: str,
    config: Mapping[str, Any],
) -> Sequence[Sink]:
    """``metrics.jsonl``, and what else is asked for; see the classes."""
    sinks: list[Sink] = [JsonLines(run.metrics, tell)]
    if tensorboard:
        sinks.append(TensorBoard(run.tensorboard, start_step, tell))
    if wandb is not None:
        sinks.append(Wandb(run.path, wandb, project, config))
    return sinks


def _add_scalar(writer: Any, name: str, value: float, step: int) -> None:
    writer.add_scalar(name, value, step)


def _charted(row: Row) -> dict[str, float]:
    """The numbers of a row under the names they have in charts."""
    charted = {f"{row.kind}/{name}": value for name, value in row.values.items()}
    if row.warnings is not None:
        charted[f"{row.kind}/warnings"] = len(row.warnings)
    return charted
