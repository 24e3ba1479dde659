"""Work on many scenes at once, in processes of their own."""

from __future__ import annotations

import functools
import multiprocessing
import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any, TypeVar

T = TypeVar("T")


@functools.lru_cache(maxsize=1)
def unpickled(pickled: bytes) -> Any:
    """What was pickled, once a process: all scenes of a worker are read by one reader, which warns
    about a thing once.
    """
    return pickle.loads(pickled)


def in_processes(
    function: Callable[..., T], jobs: Sequence[tuple[object, ...]], workers: int
) -> Iterator[T]:
    """Results of ``function(*job)`` as they come, by up to ``workers`` processes.

    One worker or fewer, or one job, is done in this process and in order.
    """
    if workers <= 1 or len(jobs) <= 1:
        for job in jobs:
            yield function(*job)
        return
    # Not fork: the calling process may hold threads of its own.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context) as pool:
        futures = [pool.submit(function, *job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
