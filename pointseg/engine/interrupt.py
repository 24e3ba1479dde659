"""Leaving a run cleanly on Ctrl-C or SIGTERM."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

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


def ignore_stop_signals(worker_id: int) -> None:
    """Start-up of a DataLoader worker: Ctrl-C reaches the whole process group, and the main process
    decides.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
