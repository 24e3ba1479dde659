"""Programs side by side, with a time by which all of them have ended."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

GRACE_S = 8.0  # for a program that was told to stop to write what it has
KEPT = 4000  # characters of what a program said last


@dataclass(frozen=True)
class Ended:
    """How a program ended.

    Attributes:
        code: exit status; negative: the signal that ended it.
        in_time: whether it ended by itself.
        said: the end of its output.
    """

    code: int
    in_time: bool
    said: str


def run_together(
    commands: Sequence[Sequence[str]],
    seconds: float,
    folder: Path,
    variables: Mapping[str, str] | None = None,
) -> list[Ended]:
    """Run commands side by side in `folder`; who is not done after `seconds` is interrupted, as by
    Ctrl-C, and ended a little later.
    """
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", **(variables or {})}
    start = time.monotonic()
    running: list[subprocess.Popen[bytes]] = []
    with ExitStack() as stack:
        outputs = [stack.enter_context(TemporaryFile()) for _ in commands]
        for command, output in zip(commands, outputs, strict=True):
            process = subprocess.Popen(
                list(command),
                cwd=folder,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # what it starts ends with it
            )
            stack.callback(_end, process)
            running.append(process)
        in_time = [_ends_by(process, start + seconds) for process in running]
        for process in running:
            _signal(process, signal.SIGINT)
        until = time.monotonic() + GRACE_S
        for process in running:
            if not _ends_by(process, until):
                _end(process)
        return [
            Ended(process.returncode, done, _said(output))
            for process, done, output in zip(running, in_time, outputs, strict=True)
        ]


def _ends_by(process: subprocess.Popen[bytes], until: float) -> bool:
    """Whether it has ended by itself by then."""
    try:
        process.wait(max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if process.poll() is None:
        os.killpg(process.pid, number)


def _end(process: subprocess.Popen[bytes]) -> None:
    _signal(process, signal.SIGKILL)
    process.wait()


def _said(output: IO[bytes]) -> str:
    output.seek(0)
    return output.read().decode(errors="replace")[-KEPT:]
