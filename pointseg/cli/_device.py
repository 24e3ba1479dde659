"""The ``--device`` of all commands that run a model."""

from __future__ import annotations

import argparse
import os

import torch

from pointseg import _native
from pointseg.distributed import local_rank


def add_device_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device",
        default="auto",
        help="where the model runs: auto (a GPU where there is one), cpu, cuda, cuda:1; under "
        "torchrun auto and cuda are one GPU for each process",
    )


def chosen_device(name: str) -> torch.device:
    """The device of a ``--device`` argument; ``auto`` is a GPU where the operators run on one.

    Each process that `torchrun` starts gets a GPU of its own, which becomes the current one.
    """
    problem = _gpu_problem()
    if name == "auto":
        name = "cpu" if problem else "cuda"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"--device must be auto, cpu or cuda[:index], got {name!r}") from error
    if device.type == "cuda" and problem:
        raise ValueError(f"--device {name}: {problem}; use --device cpu")
    return _own_gpu(device) if device.type == "cuda" and "LOCAL_RANK" in os.environ else device


def _own_gpu(device: torch.device) -> torch.device:
    """The GPU of this process among those that `torchrun` started on the machine."""
    index, count = local_rank(), torch.cuda.device_count()
    if device.index not in (None, index):
        raise ValueError(f"--device {device}: under torchrun each process takes its own; use cuda")
    if index >= count:
        raise ValueError(
            f"--device {device}: process {index} of this machine has no GPU, there are {count}; "
            f"use torchrun --nproc-per-node {count}"
        )
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def _gpu_problem() -> str | None:
    if not torch.cuda.is_available():
        return "torch sees no GPU"
    if not _native.has_kernel("sparse_conv", "CUDA"):
        return f"pointseg's operators have no CUDA kernels here ({_native.CUDA.problem})"
    return None
