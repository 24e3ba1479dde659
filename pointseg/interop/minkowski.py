"""Live tensors to and from MinkowskiEngine 0.5.4, where it is installed.

Features are handed over, not copied: both sides see the same memory, gradients flow through, and
rows keep their order. Coordinates are copied by MinkowskiEngine itself.

MinkowskiEngine is built from source. The archive on PyPI does not import on Python 3.10 and later
(it asks `collections` for `Sequence`); the main branch of its repository has that corrected. The
sources of 0.5.4, corrected in the same way, compile and run for the CPU with torch 2.13 on Python
3.11; on Debian::

    apt install libopenblas-dev
    pip install setuptools wheel ninja
    git clone https://github.com/NVIDIA/MinkowskiEngine && cd MinkowskiEngine
    python setup.py bdist_wheel --cpu_only --blas=openblas
    pip install --no-deps dist/*.whl
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import torch

from pointseg.sparse import SparseTensor, VoxelGrid


def import_minkowski() -> ModuleType:
    """MinkowskiEngine, or an ImportError that says how to get it."""
    try:
        return importlib.import_module("MinkowskiEngine")
    except ImportError as error:
        raise ImportError(
            f"this conversion needs MinkowskiEngine, which does not import here ({error}); build "
            "it from source, see the top of pointseg/interop/minkowski.py for the commands"
        ) from error


def to_minkowski(x: SparseTensor) -> Any:
    """`x` as a ``MinkowskiEngine.SparseTensor`` with the same feature memory and row order.

    The result has a coordinate manager of its own. To hand several tensors of one grid over, pass
    its ``coordinate_map_key`` and ``coordinate_manager`` on to further MinkowskiEngine tensors.

    Raises ImportError where MinkowskiEngine is missing.
    """
    engine = import_minkowski()
    coords = x.grid.coords.contiguous()
    map_types = engine.CoordinateMapType
    manager = engine.CoordinateManager(
        D=3, coordinate_map_type=map_types.CUDA if coords.is_cuda else map_types.CPU
    )
    # The tensor's own constructor would gather the features through the map that removes
    # duplicates, a copy. The coordinates of a grid are unique, so they go in directly.
    key, (kept_rows, _) = manager.insert_and_map(coords, [x.grid.stride] * 3, "")
    rows = torch.arange(len(coords), device=kept_rows.device, dtype=kept_rows.dtype)
    if not torch.equal(kept_rows, rows):
        raise RuntimeError(
            "MinkowskiEngine reordered or dropped coordinates of the grid; features cannot be "
            "shared. Only version 0.5.4 is known to keep the order"
        )
    return engine.SparseTensor(features=x.feats, coordinate_map_key=key, coordinate_manager=manager)


def from_minkowski(tensor: Any) -> SparseTensor:
    """A ``MinkowskiEngine.SparseTensor`` as `SparseTensor`: same feature memory, same rows.

    tensor: three spatial dimensions and one tensor stride for all axes, otherwise ValueError.
    The number of scenes is the largest batch index plus one.
    """
    if tensor.D != 3:
        raise ValueError(f"tensor must have 3 spatial dimensions, got {tensor.D}")
    strides = {int(stride) for stride in tensor.tensor_stride}
    if len(strides) != 1:
        raise ValueError(
            f"tensor must have one stride for all axes, got {list(tensor.tensor_stride)}"
        )
    return SparseTensor(tensor.F, VoxelGrid(tensor.C, stride=strides.pop()))
