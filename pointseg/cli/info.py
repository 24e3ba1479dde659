"""Show versions, libraries, instruction set, threads and GPUs, or what a checkpoint holds."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Sequence
from importlib import metadata, util
from pathlib import Path
from typing import Any

import pointseg
from pointseg import _native
from pointseg.cli import run_main
from pointseg.machine import cpu_name

PACKAGES = ("torch", "numpy", "plyfile", "plotly", "open3d", "rich", "scikit-learn", "tensorboard")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint",
        nargs="?",
        type=Path,
        metavar="CHECKPOINT",
        help="checkpoint, or run directory (its last checkpoint), to describe instead",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    facts = collect() if args.checkpoint is None else describe(args.checkpoint)
    if args.json:
        print(json.dumps(facts, indent=2))
        return 0
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        print(f"{name:{width}}  {_text(value)}")
    return 0


def collect() -> dict[str, str]:
    """Return everything the command shows, in the order it is shown."""
    facts = {
        "pointseg": f"{pointseg.__version__} ({_native.PACKAGE_DIR})",
        "python": f"{platform.python_version()} on {platform.platform()}",
        "cpu": f"{cpu_name()}, {os.cpu_count()} logical cores",
    }
    facts |= {name: _version(name) for name in PACKAGES}
    facts["CPU library"] = _describe(_native.CPU)
    facts["CUDA library"] = _describe(_native.CUDA)
    facts["instruction set"] = _instruction_set()
    facts["threads"] = _threads()
    facts["GPU"] = _gpus()
    foreign = _native.foreign_packages()
    if foreign:
        facts["warning"] = f"another package named pointseg is installed: {', '.join(foreign)}"
    return facts


def describe(checkpoint: Path) -> dict[str, Any]:
    """Return what a checkpoint says about itself, in the order it is shown."""
    from pointseg.cli._checkpoint_facts import checkpoint_facts

    return checkpoint_facts(checkpoint)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(item)}" for name, item in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:.4g}"
    return "none" if value is None else str(value)


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


def _describe(library: _native.Library) -> str:
    if library.loaded:
        return f"loaded from {library.path}"
    return f"not loaded: {library.problem}"


def _instruction_set() -> str:
    if not _native.is_loaded():
        return "unknown: the CPU library is not loaded"
    import torch

    try:
        return str(torch.ops.pointseg.cpu_isa())
    except ValueError as error:
        return f"refused: {error}"


def _threads() -> str:
    if util.find_spec("torch") is None:
        return "unknown: torch is not installed"
    import torch

    variable = os.environ.get("OMP_NUM_THREADS", "unset")
    return f"{torch.get_num_threads()} (OMP_NUM_THREADS={variable})"


def _gpus() -> str:
    if util.find_spec("torch") is None:
        return "unknown: torch is not installed"
    import torch

    if torch.version.cuda is None:
        return "none: torch is built without CUDA"
    if not torch.cuda.is_available():
        return f"none visible to torch (built for CUDA {torch.version.cuda})"
    devices = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return ", ".join(
        f"{device.name} (sm_{device.major}{device.minor}, {device.total_memory >> 20} MiB)"
        for device in devices
    )


def main(argv: Sequence[str] | None = None) -> int:
    return run_main(__name__, argv)


if __name__ == "__main__":
    raise SystemExit(main())
