"""Several real processes that make a group, for tests of what they do together."""

from __future__ import annotations

import os
import pickle
import socket
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

import torch
import torch.multiprocessing


def on_ranks(
    function: Callable[..., Any],
    num_ranks: int,
    *arguments: Any,
    limit_s: float = 240.0,
    wait_for: Sequence[int] | None = None,
) -> list[Any]:
    """``function(*arguments)`` in ``num_ranks`` new processes with the variables that torchrun
    sets: what each returned, the text of its error instead, or None where it died.

    None of them is left after ``limit_s``, nor when those of ``wait_for`` (by default all) are
    done; the others' results are None.
    """
    context = torch.multiprocessing.get_context("spawn")
    port = _free_port()
    pipes = [context.Pipe(duplex=False) for _ in range(num_ranks)]
    processes = [
        context.Process(
            target=_run, args=(sender, rank, num_ranks, port, function, arguments)
        )
        for rank, (_, sender) in enumerate(pipes)
    ]
    for process, (_, sender) in zip(processes, pipes, strict=True):
        process.start()
        sender.close()
    try:
        waited = range(num_ranks) if wait_for is None else wait_for
        receivers = {rank: pipes[rank][0] for rank in waited}
        found = _received(receivers, time.monotonic() + limit_s)
        return [found.get(rank) for rank in range(num_ranks)]
    finally:
        for process in processes:
            process.kill()
            process.join()


def _received(receivers: dict[int, Connection], deadline: float) -> dict[int, Any]:
    results: dict[int, Any] = {}
    left = dict(receivers)
    while left:
        ready = wait(left.values(), max(deadline - time.monotonic(), 0.0))
        if not ready:
            raise TimeoutError(f"ranks {', '.join(map(str, left))} are not done")
        for rank in [rank for rank, receiver in left.items() if receiver in ready]:
            try:
                results[rank] = pickle.loads(left.pop(rank).recv_bytes())
            except EOFError:
                results[rank] = None  # it died
    return results


def _run(
    sender: Connection,
    rank: int,
    num_ranks: int,
    port: int,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(num_ranks),
        MASTER_ADDR="localhost",
        MASTER_PORT=str(port),
    )
    torch.set_num_threads(1)
    try:
        result = function(*arguments)
    except BaseException as error:
        traceback.print_exc()
        result = f"{type(error).__name__}: {error}"
    # Tensors by value: shared memory would go with the process.
    sender.send_bytes(pickle.dumps(result))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])
