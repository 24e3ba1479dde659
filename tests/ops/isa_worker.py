"""Run every case with the instruction set of POINTSEG_ISA, save the results: `isa_worker FILE`."""

from __future__ import annotations

import sys

import torch
from torch import Tensor

from tests.ops import scenes
from tests.ops.cases import CASES


def results() -> dict[str, list[Tensor]]:
    """Output and gradients of every case, by case and dtype."""
    coords = scenes.surface_voxels(1_500, seed=6, num_scenes=2)
    found = {}
    for case in CASES:
        for dtype in (torch.float32, torch.float64, torch.bfloat16):
            problem = case.build(coords, dtype)
            leaves = [tensor.requires_grad_() for tensor in problem.inputs]
            out = problem.function(*leaves)
            grad_out = scenes.randn(*out.shape, seed=9, dtype=dtype)
            grads = torch.autograd.grad(out, leaves, grad_out)
            found[f"{case.name}-{dtype}"] = [out.detach(), *grads]
    return found


if __name__ == "__main__":
    torch.save({"isa": torch.ops.pointseg.cpu_isa(), "results": results()}, sys.argv[1])
