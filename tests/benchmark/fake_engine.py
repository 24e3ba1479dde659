"""A worker for the tests: our own operators as another engine whose rows are in another order.

Run by the real protocol; FAKE_ENGINE says how it behaves.
"""

from __future__ import annotations

import os
import signal
from typing import Any

import torch
from torch import Tensor

from pointseg import ops
from pointseg.benchmark.peers.worker import Layer, Results, main
from pointseg.sparse import KernelMap, KernelSpec, VoxelGrid


class FakeEngine:
    version = "7.5"

    def __init__(self) -> None:
        self.behaviour = os.environ["FAKE_ENGINE"]
        if self.behaviour == "absent":
            raise ImportError("libfake.so: cannot open shared object file")

    def find_map(self, coords: Tensor) -> KernelMap:
        if self.behaviour == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        return VoxelGrid(coords.flip(0)).kernel_map(KernelSpec(3))

    def neighbors(self, found: KernelMap, coords: Tensor) -> Results:
        table = found.neighbors()
        if self.behaviour == "wrong":
            table[0, 13] = -1
        return {"neighbors": table, "coords": coords.flip(0).contiguous()}

    def sparse_conv(self, coords: Tensor, weight: Tensor) -> Layer:
        return self._layer(coords, weight, ops.sparse_conv)

    def depthwise_conv(self, coords: Tensor, weight: Tensor) -> Layer:
        return self._layer(coords, weight, ops.depthwise_conv)

    def _layer(self, coords: Tensor, weight: Tensor, function: Any) -> Layer:
        if self.behaviour == "crash":
            raise RuntimeError("fake engine: out of luck")
        kmap = VoxelGrid(coords).kernel_map(KernelSpec(3))
        factor = 1.01 if self.behaviour == "wrong" else 1.0
        parameter = (weight[None] * factor).requires_grad_()  # a layout of its own

        def forward(feats: Tensor) -> Tensor:
            assert torch.get_num_threads() == 1
            assert os.environ["OMP_WAIT_POLICY"] == "passive"
            out: Tensor = function(feats, parameter[0], kmap)
            return out.flip(0)

        return Layer(forward, parameter, lambda kernel: kernel[0], coords.flip(0).contiguous())


if __name__ == "__main__":
    main(FakeEngine)
