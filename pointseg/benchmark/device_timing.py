"""Time and memory of calls on a device, which runs behind the program that asks for them.

A call lies between two events of the device's stream. Before each one a buffer far larger than the
second-level cache is overwritten: inputs come from memory, as in a network, and while the device
is busy with that the program gets ahead, so that launches are not part of short times.

Everything here runs on the CPU as well, where calls are over when they return.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

FLUSHED_BYTES = 2**30
REPEATS = 20  # at least, unless they take longer than:
BUDGET_S = 2.0
FEWEST = 5


class WallEvent:
    """An event of the CPU."""

    def record(self) -> None:
        self._time_s = time.perf_counter()

    def elapsed_time(self, end: WallEvent) -> float:
        """Milliseconds from this event to `end`."""
        return (end._time_s - self._time_s) * 1e3


def new_event(device: torch.device) -> Any:
    """An event to record on the device's current stream."""
    return torch.cuda.Event(enable_timing=True) if device.type == "cuda" else WallEvent()


def wait_for(device: torch.device) -> None:
    """Until the device has done all that was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def event_median_ms(
    call: Callable[[], Any], repeats: int, device: torch.device, flush: bool = True
) -> float:
    """Median time of `call` in milliseconds, after two calls to warm up.

    There are `REPEATS` or `repeats` of them, whichever is more; less where they would take longer
    than `BUDGET_S` together, but `FEWEST` at least.
    """
    call()
    wait_for(device)
    start = time.perf_counter()
    call()
    wait_for(device)
    affordable = int(BUDGET_S / max(time.perf_counter() - start, 1e-6))
    count = max(FEWEST, min(max(REPEATS, repeats), affordable))
    buffer = torch.empty(FLUSHED_BYTES if flush else 0, dtype=torch.uint8, device=device)
    events = [(new_event(device), new_event(device)) for _ in range(count)]
    for begin, end in events:
        buffer.zero_()
        begin.record()
        call()
        end.record()
    wait_for(device)
    return statistics.median(begin.elapsed_time(end) for begin, end in events)


def cuda_peak_mib(call: Callable[[], Any], device: torch.device) -> float:
    """Most that torch's allocator held on a GPU at once beyond what it held before `call`."""
    wait_for(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    call()
    wait_for(device)
    return (torch.cuda.max_memory_allocated(device) - before) / 2**20
