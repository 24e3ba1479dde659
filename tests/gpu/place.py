"""A place where CUDA kernels run: a GPU, or emulated threads on tensors of the CPU.

The second makes the tests of values in this folder run on every machine; there is less to compute
there, since one processor plays all threads.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from tests.helpers.kernels import run_with
from tests.ops import scenes


@dataclass(frozen=True)
class Place:
    """`kernels`: "cuda" or "emulated"."""

    kernels: str

    @property
    def on_gpu(self) -> bool:
        return self.kernels == "cuda"

    @property
    def device(self) -> torch.device:
        return torch.device("cuda", torch.cuda.current_device()) if self.on_gpu else CPU

    @contextmanager
    def kernels_in_use(self) -> Iterator[None]:
        """Native calls on tensors of this place run the CUDA kernels inside the block."""
        if self.on_gpu:
            yield
            return
        with pytest.MonkeyPatch.context() as patch, run_with("emulated", patch):
            yield

    @contextmanager
    def no_host_sync(self) -> Iterator[None]:
        """On a GPU, what waits for the device inside the block is an error."""
        before = torch.cuda.get_sync_debug_mode() if self.on_gpu else 0
        if self.on_gpu:
            torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            if self.on_gpu:
                torch.cuda.set_sync_debug_mode(before)

    def surface(self, on_gpu: int, emulated: int, seed: int = 4) -> Tensor:
        """Voxels of two wavy scenes, on the CPU: about so many in each."""
        return _surface(on_gpu if self.on_gpu else emulated, seed).clone()


@functools.lru_cache(maxsize=4)
def _surface(num_voxels: int, seed: int) -> Tensor:
    return scenes.surface_voxels(num_voxels, seed, num_scenes=2)


CPU = torch.device("cpu")
