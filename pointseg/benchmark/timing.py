"""Medians of repeated calls, and the peak of what a call allocates."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from pointseg.benchmark.device_timing import cuda_peak_mib, event_median_ms

CPU = torch.device("cpu")
BUDGET_S = 4.0
NEW_PAGES = 1000  # that make a call slower than the others: 4 MiB
MAX_EXTRA = 7
COPY_BYTES = 2**29  # far above any cache


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use `count` threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def timed(call: Callable[[], Any]) -> float:
    """Wall time of one call in seconds."""
    return _sample(call)[0]


def _sample(call: Callable[[], Any]) -> tuple[float, int]:
    """Wall time of one call in seconds, and the pages that the system had to hand out for it."""
    faults, start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
    call()
    seconds = time.perf_counter() - start
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults


def median_ms(call: Callable[[], Any], repeats: int, device: torch.device = CPU) -> float:
    """Median wall time of `call` in milliseconds, after one call to warm up; on a GPU the median
    between events of :func:`event_median_ms`.

    Calls that take long are repeated less often: about `BUDGET_S` seconds, but once at least.
    Calls for which the system had to hand out more memory than for others do not count: the first
    few may not find that of the call before. They are replaced, within twice the budget.
    """
    if device.type != "cpu":
        return event_median_ms(call, repeats, device)
    first = timed(call)
    count = max(1, min(repeats, int(BUDGET_S / first)))
    samples = [_sample(call) for _ in range(count)]
    extra = min(MAX_EXTRA, 1 + int(2 * BUDGET_S / first))
    while extra and sum(faults < NEW_PAGES for _, faults in samples) < count:
        samples.append(_sample(call))
        extra -= 1
    fewest = min(faults for _, faults in samples)
    return statistics.median(s for s, faults in samples if faults < fewest + NEW_PAGES) * 1e3


def best_ms(
    call: Callable[[], Any], repeats: int, counts: Sequence[int], device: torch.device = CPU
) -> float:
    """The median with the number of threads, of `counts`, that suits `call` best.

    That number is chosen by one call each, after a call to warm up. On a GPU threads play no part.
    """
    if device.type != "cpu":
        return median_ms(call, repeats, device)
    call()
    trial = {}
    for count in counts:
        with threads(count):
            trial[count] = timed(call)
    with threads(min(trial, key=lambda count: trial[count])):
        return median_ms(call, repeats)


def fma_gflops() -> float:
    """The processor's float32 multiply-add peak on torch's threads, in GFLOP/s: best of three."""
    iterations = 2_000_000
    best = 0.0
    for _ in range(3):
        start = time.perf_counter()
        operations = torch.ops.pointseg.fma_peak(iterations)
        best = max(best, operations / (time.perf_counter() - start) / 1e9)
    return best


def copy_gb_per_s(device: torch.device = CPU) -> float:
    """Rate of torch's copy between tensors far larger than the caches, on torch's threads or on a
    GPU, in GB/s: best of five. Bytes read and bytes written both count.
    """
    source = torch.ones(COPY_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    if device.type != "cpu":
        return 2e-6 * COPY_BYTES / event_median_ms(lambda: target.copy_(source), 5, device)
    target.copy_(source)  # takes the pages
    return 2 * COPY_BYTES / min(timed(lambda: target.copy_(source)) for _ in range(5)) / 1e9


def machine_peaks(count: int) -> dict[str, float]:
    """Multiply-add peak of one thread and of `count`, and copy bandwidth of `count`."""
    with threads(1):
        peaks = {"fma_gflops_1_thread": fma_gflops()}
    with threads(count):
        peaks |= {"fma_gflops": fma_gflops(), "copy_gb_per_s": copy_gb_per_s()}
    return {name: round(value, 1) for name, value in peaks.items()}


def peak_mib(call: Callable[[], Any], device: torch.device = CPU) -> float:
    """Most that torch's allocator held at once beyond what it held before `call`, in MiB."""
    if device.type == "cuda":
        return cuda_peak_mib(call, device)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        call()
    assert trace.profiler is not None and trace.profiler.kineto_results is not None
    records = [e for e in trace.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for record in sorted(records, key=lambda event: event.start_ns()):
        held += record.nbytes()
        peak = max(peak, held)
    return peak / 2**20
