"""spconv 2.3.8 as its wheel for the CPU: right with one thread, submanifold convolutions only.

Its taps have z fastest and the output channels first; it wants coordinates of at least 0.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor

from pointseg.benchmark.peers.worker import Layer, Results, main

MAP = "map"  # name of the map that layers of one tensor share
CENTRE = 13


class SpConv:
    def __init__(self) -> None:
        self.engine, self.ops = _module("spconv.pytorch"), _module("spconv.pytorch.ops")
        # Its backward asks for a CUDA stream, which a build without CUDA cannot name.
        self.ops.get_current_stream = lambda: 0
        self.version = str(_module("spconv").__version__)

    def find_map(self, coords: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Coordinates, pairs [2, 27, N] and the number of pairs of the first 13 taps."""
        shifted, shape = self._shifted(coords)
        found: tuple[Tensor, Tensor, Tensor] = self.ops.get_indice_pairs(
            shifted,
            1,
            shape,
            self.engine.ConvAlgo.Native,
            ksize=[3] * 3,
            stride=[1] * 3,
            padding=[1] * 3,
            dilation=[1] * 3,
            out_padding=[0] * 3,
            subm=True,
        )
        return found

    def neighbors(self, found: tuple[Tensor, Tensor, Tensor], coords: Tensor) -> Results:
        """Of 27 taps 13 are counted: the centre is every row, mirrored taps are turned around."""
        indices, pairs, counts = found
        table = torch.full((coords.shape[0], 27), -1, dtype=torch.int32)
        table[:, CENTRE] = torch.arange(coords.shape[0], dtype=torch.int32)
        for tap in range(CENTRE):
            in_rows, out_rows = pairs[:, tap, : int(counts[tap])]
            table[out_rows.long(), tap] = in_rows
            table[in_rows.long(), 26 - tap] = out_rows
        order = torch.arange(27).reshape(3, 3, 3).permute(2, 1, 0).flatten()  # z fastest to x
        return {"neighbors": table[:, order], "coords": self._back(indices, coords)}

    def sparse_conv(self, coords: Tensor, weight: Tensor) -> Layer:
        shifted, shape = self._shifted(coords)
        in_channels, out_channels = weight.shape[1:]
        conv = self.engine.SubMConv3d(
            in_channels,
            out_channels,
            3,
            bias=False,
            indice_key=MAP,
            algo=self.engine.ConvAlgo.Native,
        )
        cube = weight.reshape(3, 3, 3, in_channels, out_channels)  # z, y, x
        with torch.no_grad():
            conv.weight.copy_(cube.permute(4, 2, 1, 0, 3))
            start = self.engine.SparseConvTensor(
                torch.zeros(coords.shape[0], in_channels), shifted, shape, 1
            )
            known = conv(start)

        def forward(feats: Tensor) -> Tensor:
            x = self.engine.SparseConvTensor(feats, shifted, shape, 1)
            x.indice_dict = known.indice_dict
            out: Tensor = conv(x).features
            return out

        def to_our_layout(kernel: Tensor) -> Tensor:
            return kernel.permute(3, 2, 1, 4, 0).reshape(27, in_channels, out_channels)

        return Layer(forward, conv.weight, to_our_layout, self._back(known.indices, coords))

    def depthwise_conv(self, coords: Tensor, weight: Tensor) -> Layer:
        raise NotImplementedError("spconv has no depthwise convolution for the CPU")

    def _shifted(self, coords: Tensor) -> tuple[Tensor, list[int]]:
        shifted = coords - _corner(coords)
        return shifted, (shifted[:, 1:].amax(dim=0) + 1).tolist()

    def _back(self, indices: Tensor, coords: Tensor) -> Tensor:
        return indices + _corner(coords)


def _module(name: str) -> Any:
    return importlib.import_module(name)


def _corner(coords: Tensor) -> Tensor:
    low = coords.amin(dim=0)
    low[0] = 0
    return low


if __name__ == "__main__":
    main(SpConv)
