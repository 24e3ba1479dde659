"""Ranks: processes that train one model together, and what they tell each other.

`torchrun` starts them and says in environment variables who they are; `process_group` makes a group
of them. In a single process everything here is an identity.

Within a training step ranks only speak by `exchange` and `conclude`, in rows of one size. A rank
that fails in the middle can therefore go straight to `conclude`: it takes part in whatever the
others still exchange, with rows that do not count, until they are at their end too. So nobody
hangs, and all learn of the failure before a gradient is reduced.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")

_ROW = 1024  # float64 numbers that a rank sends in one exchange, the first says whether it counts
_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_GRACE_S = 5.0  # in which all that still run find out that somebody does not
_LONG = timedelta(days=7)


class RanksLost(ConnectionError):
    """A rank did not answer in time, or has gone."""


class RankFailed(ValueError):
    """Another rank failed; the message is its own."""


def num_ranks() -> int:
    """Processes of the group, 1 without one."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process in the group, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def is_main() -> bool:
    """Whether this process is the one that writes and talks: rank 0, or the only one."""
    return rank() == 0


def local_rank() -> int:
    """Number of this process among those of its machine: the GPU that it takes."""
    return int(os.environ.get("LOCAL_RANK", "0"))


@dataclass(frozen=True)
class Group:
    """The ranks, and what they know of each other without waiting for an answer."""

    store: dist.Store | None = None
    """Where ranks leave notes for each other; None in a single process."""
    timeout_s: float = 0.0

    def beat(self, step: int) -> None:
        """Leave a note that this rank begins the step after ``step`` steps."""
        if self.store is not None:
            self.store.set(f"step/{rank()}", str(step))

    def main_first(self, name: str, action: Callable[[], T]) -> T:
        """``action()`` on rank 0 and, when that is done, on the others, however long it takes.

        ``name``: what is done, another in every call of a run. An error on one rank becomes one on
        all, see `agree`; after one on rank 0 the others do nothing.
        """
        if self.store is None:
            return action()
        results, error = [], None
        if rank() > 0:
            self.store.wait([f"{name}/0"], _LONG)
        try:
            if rank() == 0 or self.store.get(f"{name}/0") == b"done":
                results.append(action())
        except Exception as found:
            error = found
        self.store.set(f"{name}/{rank()}", "failed" if error else "done")
        self.store.wait([f"{name}/{other}" for other in range(num_ranks())], _LONG)
        agree(error)
        return results[0]

    def who_is_lost(self) -> str:
        """Which ranks do not notice within seconds that the group has broken, and where all were.

        To be called by every rank that does notice.
        """
        if self.store is None:
            return "there is one process only"
        others = [other for other in range(num_ranks()) if other != rank()]
        try:
            self.store.set(f"waited/{rank()}", "")
            deadline = time.monotonic() + min(_GRACE_S, self.timeout_s)
            silent = others
            while silent and time.monotonic() < deadline:
                time.sleep(0.05)
                silent = [o for o in silent if not self.store.check([f"waited/{o}"])]
            steps = {r: int(self.store.get(f"step/{r}")) for r in range(num_ranks())}
        except RuntimeError as error:
            return f"nor does the store of the group answer ({_first_line(error)})"
        reached = ", ".join(f"rank {r} at step {step}" for r, step in steps.items())
        missing = ", ".join(f"rank {r}" for r in silent) or "no rank (is the network down?)"
        return f"missing: {missing}; last heard of: {reached}"


@contextmanager
def process_group(device_type: str, timeout_s: float) -> Iterator[Group]:
    """Join the processes that `torchrun` started, for the block; alone where there is but one.

    Args:
        device_type: where the model is: ``cpu`` (gloo), or ``cuda`` (NCCL, and gloo for what is on
            the host).
        timeout_s: how long a rank waits for the others before it gives up.

    Raises:
        ValueError: variables that `torchrun` sets are missing.
        RanksLost: a rank did not answer; the message names it and the last step of each.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Group()
        return
    missing = [name for name in _VARIABLES if name not in os.environ]
    if missing:
        raise ValueError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but {', '.join(missing)} is not set: start "
            "with torchrun --nproc-per-node N, or unset WORLD_SIZE for a single process"
        )
    timeout = timedelta(seconds=timeout_s)
    store, own_rank, size = next(dist.rendezvous("env://", timeout=timeout))
    # torchrun keeps its store when it starts the ranks again: addresses of those before are in it.
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    store = dist.PrefixStore(f"attempt_{attempt}", store)
    backend = "cpu:gloo,cuda:nccl" if device_type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=own_rank, world_size=size, timeout=timeout)
    group = Group(dist.PrefixStore("pointseg", store), timeout_s)
    group.beat(0)
    try:
        gather([])  # whoever is here can be asked for
        yield group
    except RanksLost as error:
        # The group is left as it is: taking it down would wait for the lost, too.
        raise RanksLost(f"rank {own_rank}: {error}; {group.who_is_lost()}") from error
    except BaseException:
        dist.destroy_process_group()
        raise
    dist.destroy_process_group()


def gather(values: Sequence[float]) -> list[list[float]]:
    """The numbers of every rank, which all give equally many; through the host."""
    if num_ranks() == 1:
        return [list(values)]
    row = torch.tensor([0.0, *values], dtype=torch.float64)
    return [numbers[1:] for numbers in _gathered(row).tolist()]


def gather_objects(value: T) -> list[T]:
    """The picklable values of every rank."""
    if num_ranks() == 1:
        return [value]
    values: list[Any] = [None] * num_ranks()
    with _answered():
        dist.all_gather_object(values, value)
    return values


def agree(error: Exception | None) -> None:
    """Raise on every rank where any has an error: its own, or RankFailed with another's message."""
    failed = [numbers[0] > 0 for numbers in gather([error is not None])]
    if not any(failed):
        return
    if num_ranks() > 1:
        messages = gather_objects(f"{type(error).__name__}: {error}")
        first = failed.index(True)
        if error is None:
            raise RankFailed(f"rank {first} failed: {messages[first]}")
    assert error is not None
    raise error


def everywhere(action: Callable[[], T]) -> T:
    """``action()``, by every rank; an error on one becomes one on all, see `agree`."""
    result, error = [], None
    try:
        result.append(action())
    except RanksLost:
        raise
    except Exception as found:
        error = found
    agree(error)
    return result[0]


def exchange(values: Tensor) -> Tensor:
    """The values of every rank, float64 [R, *shape], on their device; those of a rank that has
    ended its step are zeros. Nobody waits for the device.
    """
    if num_ranks() == 1:
        return values.detach().double()[None]
    parts = values.detach().double().reshape(-1).split(_ROW - 1)
    rows = torch.cat([_exchanged(part) for part in parts], dim=1)
    return rows.view(-1, *values.shape)


def conclude(values: Tensor) -> list[list[float]]:
    """End a step, done or failed: the values of every rank, float64 [n], on the host.

    Waits until all have ended theirs, and for the device.
    """
    if num_ranks() == 1:
        return [values.tolist()]
    row = _row(values, ended=True)
    while True:
        rows = _gathered(row).tolist()
        if all(numbers[0] for numbers in rows):
            return [numbers[1 : 1 + len(values)] for numbers in rows]


def reduce_gradients(parameters: Sequence[Tensor]) -> None:
    """Replace gradients by their sums over ranks, in one reduction a dtype.

    A gradient that is missing on some ranks counts as zeros there; one that is missing on all
    stays missing.
    """
    if num_ranks() == 1:
        return
    for dtype in dict.fromkeys(parameter.dtype for parameter in parameters):
        own = [parameter for parameter in parameters if parameter.dtype == dtype]
        found = own[0].new_tensor([parameter.grad is not None for parameter in own])
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in own]
        flat = torch.cat([found, *(grad.reshape(-1) for grad in grads)])
        del grads
        with _answered():
            dist.all_reduce(flat)
        found, *sums = flat.split([len(own), *(parameter.numel() for parameter in own)])
        for parameter, total, count in zip(own, sums, found.tolist(), strict=True):
            parameter.grad = total.view_as(parameter) if count else None


def average(tensors: Sequence[Tensor]) -> None:
    """Replace floating tensors of one dtype by their means over ranks."""
    if num_ranks() == 1 or not tensors:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    with _answered():
        dist.all_reduce(flat)
    flat /= num_ranks()
    for tensor, mean in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(mean.view_as(tensor))


def _exchanged(part: Tensor) -> Tensor:
    """[R, len(part)] of one row; zeros where a rank has ended its step."""
    rows = _gathered(_row(part, ended=False))
    return torch.where(rows[:, :1] > 0, 0.0, rows[:, 1 : 1 + len(part)])


def _row(values: Tensor, ended: bool) -> Tensor:
    row = values.new_zeros(_ROW, dtype=torch.float64)
    row[0] = float(ended)
    row[1 : 1 + len(values)] = values
    return row


def _gathered(row: Tensor) -> Tensor:
    rows = row.new_empty(num_ranks(), len(row))
    with _answered():
        dist.all_gather(list(rows.unbind()), row)
    return rows


@contextmanager
def _answered() -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # the only type that backends have for it
        raise RanksLost(f"the other ranks do not answer ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    line = str(error).strip().partition("\n")[0]
    return re.sub(r"^\[\S+:\d+\] ", "", line)  # a place in the backend's source
