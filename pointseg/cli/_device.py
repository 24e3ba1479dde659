"""The ``--device`` of all commands that run a model."""

from __future__ import annotations

import argparse

import torch

from pointseg import _native

AUTO_DEVICE = "auto"


def add_device_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device",
        default=AUTO_DEVICE,
        help="where the model runs: auto (a GPU where there is one), cpu, cuda, cuda:1",
    )


def chosen_device(name: str) -> torch.device:
    """The device of a ``--device`` argument; ``auto`` is a GPU where the operators run on one."""
    problem = _gpu_problem()
    if name == AUTO_DEVICE:
        return torch.device("cpu" if problem else "cuda")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"--device must be auto, cpu or cuda[:index], got {name!r}") from error
    if device.type == "cuda" and problem:
        raise ValueError(f"--device {name}: {problem}; use --device cpu")
    return device


def _gpu_problem() -> str | None:
    if not torch.cuda.is_available():
        return "torch sees no GPU"
    if not _native.has_kernel("sparse_conv", "CUDA"):
        return f"pointseg's operators have no CUDA kernels here ({_native.CUDA.problem})"
    return None
