"""Loaders that outlive their worker processes: a killed one costs its batches, not the run."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from typing import TypeVar

from torch.utils.data import DataLoader

logger = logging.getLogger(__name__)

T = TypeVar("T")

_SETTLING_S = 1.0  # in which a process that closed its pipes has ended


class WorkersDied(ChildProcessError):
    """Worker processes of a loader ended by themselves."""


def restarted(
    start: Callable[[int], DataLoader[T]],
    position: int,
    behind: Callable[[int, T], int],
    max_restarts: int,
) -> Iterator[T]:
    """The batches of ``start(position)``, in spite of workers that are killed.

    Where that happens, ``start`` is called again with the position behind the last batch, which
    ``behind(position of the batch, batch)`` gives; so what comes is what would have come. Each time
    is a warning in the log that names process and signal; more than ``max_restarts`` times are a
    :class:`WorkersDied`. An error that a worker raises is passed on and starts nothing again.
    """
    died = ""
    for num_restarts in range(max_restarts + 1):
        try:
            for batch in _watched(start(position)):
                position = behind(position, batch)
                yield batch
            return
        except WorkersDied as error:
            died = str(error)
        if num_restarts < max_restarts:
            logger.warning(
                "a loader's %s; starting its workers again (%d of %d times)",
                died, num_restarts + 1, max_restarts,
            )  # fmt: skip
    raise WorkersDied(
        f"a loader's {died}, after {max_restarts} restarts (data.max_worker_restarts). SIGKILL is "
        "mostly the system short of memory: take fewer data.num_workers, smaller batches, or "
        "crop_to_budget"
    )


def _watched(loader: DataLoader[T]) -> Iterator[T]:
    """The batches of a loader; WorkersDied names the workers that ended by themselves."""
    if not loader.num_workers:
        yield from loader
        return
    before = set(multiprocessing.active_children())
    with _child_handler_kept():
        batches = iter(loader)
    workers = [w for w in multiprocessing.active_children() if w not in before]
    deaths = ""
    try:
        while not (deaths := _deaths(workers)):
            try:
                batch = next(batches)
            except StopIteration:
                return
            except Exception as error:  # of any kind where a worker died in the middle of sending
                connection.wait([w.sentinel for w in workers], _SETTLING_S)
                # Else its frames keep the iterator, whose workers only end in good order when it
                # goes by itself: collected as part of a cycle, it has lost its queues before.
                traceback.clear_frames(error.__traceback__)
                if not (deaths := _deaths(workers)):
                    raise
                break
            yield batch
    finally:
        del batches  # ends its workers
        if deaths:
            _end(workers)
    raise WorkersDied(deaths)


def _deaths(workers: list[BaseProcess]) -> str:
    """Such as ``worker 123 was ended by SIGKILL``; empty where all live."""
    codes = {worker.pid: worker.exitcode for worker in workers}
    return ", ".join(
        f"worker {pid} {_ending(code)}" for pid, code in codes.items() if code is not None
    )


def _ending(exit_code: int) -> str:
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    names = {number.value: number.name for number in signal.Signals}
    return f"was ended by {names.get(-exit_code, f'signal {-exit_code}')}"


def _end(workers: list[BaseProcess]) -> None:
    """Kill what is left: a worker may wait for ever for a lock that a killed one held."""
    for worker in workers:
        worker.kill()
        worker.join()


@contextmanager
def _child_handler_kept() -> Iterator[None]:
    """Take back the handler of SIGCHLD that torch installs with the first loader.

    It raises where the program just stands when a worker dies, such as in the middle of a step,
    from where nothing can go on. A death is found all the same: torch looks every few seconds while
    it waits for a batch.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGCHLD)
    # None: not Python's, and torch replaces it anyway; torch's: of a loader that is not watched.
    if handler is None or getattr(handler, "__module__", "").startswith("torch."):
        handler = signal.SIG_DFL
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, handler)
