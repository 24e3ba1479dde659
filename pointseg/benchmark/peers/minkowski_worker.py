"""MinkowskiEngine 0.5.4, whose order of taps is ours."""

from __future__ import annotations

import collections
import collections.abc
import importlib
from typing import Any

import torch
from torch import Tensor

from pointseg.benchmark.peers.worker import Layer, Results, main


class MinkowskiEngine:
    """Coordinates go into the manager directly: their rows stay in order, features uncopied."""

    def __init__(self) -> None:
        # Python 3.10 took these out of `collections`, where the archive on PyPI looks for them.
        for name in ("Sequence", "Mapping", "Iterable"):
            setattr(collections, name, getattr(collections.abc, name))
        self.engine: Any = importlib.import_module("MinkowskiEngine")
        self.version = str(self.engine.__version__)

    def find_map(self, coords: Tensor) -> dict[int, Tensor]:
        manager, key = self._manager(coords)
        found: dict[int, Tensor] = manager.kernel_map(key, key, kernel_size=3)
        return found

    def neighbors(self, found: dict[int, Tensor], coords: Tensor) -> Results:
        table = torch.full((coords.shape[0], 27), -1, dtype=torch.int32)
        for tap, (in_rows, out_rows) in found.items():
            table[out_rows.long(), tap] = in_rows.int()
        manager, key = self._manager(coords)
        return {"neighbors": table, "coords": manager.get_coordinates(key)}

    def sparse_conv(self, coords: Tensor, weight: Tensor) -> Layer:
        channels = weight.shape[1:]
        conv = self.engine.MinkowskiConvolution(*channels, kernel_size=3, dimension=3)
        return self._layer(conv, coords, weight)

    def depthwise_conv(self, coords: Tensor, weight: Tensor) -> Layer:
        conv = self.engine.MinkowskiChannelwiseConvolution(
            weight.shape[1], kernel_size=3, dimension=3
        )
        return self._layer(conv, coords, weight)

    def _layer(self, conv: Any, coords: Tensor, weight: Tensor) -> Layer:
        manager, key = self._manager(coords)
        with torch.no_grad():
            conv.kernel.copy_(weight)

        def forward(feats: Tensor) -> Tensor:
            x = self.engine.SparseTensor(
                features=feats, coordinate_map_key=key, coordinate_manager=manager
            )
            out: Tensor = conv(x).F
            return out

        return Layer(forward, conv.kernel, lambda kernel: kernel, manager.get_coordinates(key))

    def _manager(self, coords: Tensor) -> tuple[Any, Any]:
        manager = self.engine.CoordinateManager(
            D=3, coordinate_map_type=self.engine.CoordinateMapType.CPU
        )
        key, _ = manager.insert_and_map(coords, [1, 1, 1], "")
        return manager, key


if __name__ == "__main__":
    main(MinkowskiEngine)
