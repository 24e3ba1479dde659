"""The machine that results are computed on: its name, its memory and how that is handed out.

Needs nothing of the package.
"""

from __future__ import annotations

import ctypes
import platform
import resource
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# Parameters of glibc's mallopt.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_TOP_PAD_BYTES = 64 * 2**20
# Of the lists in which glibc keeps small freed blocks for their thread: how many each takes, and
# the sizes of blocks that may be left over beside an aligned tensor.
_CACHED_BLOCKS, _LEFTOVER_BYTES = 7, range(24, 136, 16)


def cpu_name() -> str:
    """The processor's name as it calls itself, otherwise its architecture."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0].partition(":")[2].strip() if names else platform.machine()


def peak_memory_gib(device: torch.device) -> float:
    """The most memory in use at once: by tensors on a GPU since :func:`restart_peak_memory`, on the
    CPU by the whole process since it began.
    """
    if device.type == "cuda":
        from torch import cuda

        return cuda.max_memory_allocated(device) / 2**30
    unit = 1 if platform.system() == "Darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def restart_peak_memory(device: torch.device) -> None:
    """Begin anew with the peak of a GPU; the system keeps that of a process."""
    if device.type == "cuda":
        from torch import cuda

        cuda.reset_peak_memory_stats(device)


def keep_freed_memory() -> bool:
    """Let the process keep the memory of freed tensors for the next ones; False without glibc.

    glibc gives blocks of more than 32 MiB back to the system when they are freed and maps new ones
    for the next tensor. The system clears every page of them again: with scenes of half a million
    voxels that takes a third of a training step. Kept, memory stays at the most that was in use
    at once, plus what fragmentation adds. It holds for the whole process, so the commands ask for
    it, and importing the package does not.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    settings = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1, _TOP_PAD: _TOP_PAD_BYTES}
    if not all(libc.mallopt(name, value) == 1 for name, value in settings.items()):
        return False
    _fill_cached_blocks(libc)
    return True


def release_freed_memory() -> None:
    """Give the system the memory of freed tensors that the process has kept; nothing without glibc.

    Worth its time where work of another kind begins: tensors of other sizes do not fit the gaps.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.malloc_trim(0)
        _fill_cached_blocks(libc)  # others have emptied them since


def _fill_cached_blocks(libc: ctypes.CDLL) -> None:
    """Fill the lists of small freed blocks.

    An aligned tensor is cut out of a larger block. What is left over at its ends goes to these
    lists while they have room, and is missing when a tensor of the same size comes to the gap.
    With full lists it becomes part of the gap again.
    """
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.restype, libc.free.argtypes = None, [ctypes.c_void_p]
    blocks = [libc.malloc(size) for size in _LEFTOVER_BYTES for _ in range(_CACHED_BLOCKS)]
    for block in blocks:
        libc.free(block)
