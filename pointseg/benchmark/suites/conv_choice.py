"""The fastest algorithm of a convolution by size: what `conv_choice.json` is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import torch
from torch import Tensor

from pointseg import _native
from pointseg.benchmark.ceilings import KINDS, precision_of
from pointseg.benchmark.suites.cases import Options
from pointseg.benchmark.timing import median_ms
from pointseg.ops._common import native
from pointseg.ops.conv_choice import Measured
from pointseg.ops.sparse_conv import map_arrays
from pointseg.sparse import KernelSpec, VoxelGrid

CHANNELS = (4, 32, 64, 96, 128, 256)
QUICK_CHANNELS = CHANNELS[:2]
KERNELS = (KernelSpec(1), KernelSpec(2, 2), KernelSpec(3), KernelSpec(5))
ALGORITHMS = {"forward": (0, 1, 2, 3), "weight_grad": (0, 1)}
PRODUCTS = {"half": "bfloat16", "tf32": "tf32"}


def measure(options: Options, grid: VoxelGrid) -> Iterator[Measured]:
    """Every algorithm at every size, on one scene; with --quick at the narrowest.

    Raises:
        ValueError: the kernels of the grid's device have one algorithm.
    """
    if not _native.uses_cuda_kernels(grid.device):
        raise ValueError("conv_choice: the CPU has one algorithm to choose; pass --device cuda")
    channels = QUICK_CHANNELS if options.quick else CHANNELS
    for spec, products, c_in, c_out in product(KERNELS, PRODUCTS, channels, channels):
        kind = PRODUCTS[products]
        kmap = grid.kernel_map(spec)
        dtype, _ = KINDS[kind]
        feats = torch.randn(kmap.num_in, c_in, device=grid.device).to(dtype)
        weight = torch.randn(spec.num_taps, c_in, c_out, device=grid.device).to(dtype)
        grad_out = torch.randn(kmap.num_out, c_out, device=grid.device).to(dtype)
        for direction, algorithms in ALGORITHMS.items():
            for algorithm in algorithms:
                call: Callable[[], Tensor]
                if direction == "forward":
                    arrays = map_arrays(kmap, algorithm)
                    forward = partial(native("sparse_conv_fused"), feats, weight, None, None)
                    call = partial(forward, False, arrays, kmap.num_out, algorithm)
                else:
                    arrays = map_arrays(kmap)
                    weight_grad = native("sparse_conv_weight_grad")
                    call = partial(weight_grad, feats, grad_out, arrays, algorithm)
                with precision_of(kind):
                    time_ms = median_ms(call, options.repeats, options.device)
                size = (spec.num_taps, c_in, c_out)
                yield Measured(direction, products, *size, algorithm, time_ms)
