"""Leaving a run cleanly on Ctrl-C or SIGTERM."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from pointseg.distributed import gather

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """Raised inside an evaluation that is left before it is complete."""


class StopRequest:
    """While entered, the first SIGINT or SIGTERM only sets ``requested``; a second SIGINT raises
    KeyboardInterrupt.

    The handlers found on entry come back on exit. Outside the main thread, where Python allows no
    handlers, nothing is installed and ``requested`` stays False.
    """

    def __init__(self) -> None:
        self.requested = False
        self.signal_name = ""
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
        self.signal_name = signal.Signals(number).name


def signal_on_any_rank(stop: StopRequest) -> str:
    """The name of the signal that asks any rank to stop, or nothing; all ranks call it."""
    own = signal.Signals[stop.signal_name] if stop.requested else 0
    numbers = [int(values[0]) for values in gather([own])]
    return signal.Signals(max(numbers)).name if any(numbers) else ""


class WorkersStay:
    """Start-up of a loader's workers: they leave Ctrl-C and SIGTERM to the main process.

    Both may reach the whole process group, where the main process still wants the batches that it
    needs to end well. Once that is at its own end it terminates its workers and waits for them, so
    from then on they obey: an error that nobody catches would otherwise hang the program.
    """

    def __init__(self) -> None:
        self._main_ends = multiprocessing.Event()
        # Run before multiprocessing terminates what is left, which was registered earlier.
        atexit.register(self._main_ends.set)

    def __call__(self, worker_id: int) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._terminated)

    def _terminated(self, number: int, frame: FrameType | None) -> None:
        if self._main_ends.is_set():
            os._exit(0)
