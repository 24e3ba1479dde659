"""Whether this machine can run the CUDA kernels, and what it is.

``python -m pointseg.benchmark.gpu_check.environment`` prints the facts as JSON: in a process of its
own, since a library that does not fit takes the process with it.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import torch

import pointseg
from pointseg import _native
from pointseg.machine import cpu_name

DRIVER_FILE = Path("/proc/driver/nvidia/version")


def problems() -> list[str]:
    """What keeps the kernels from running here, one sentence each."""
    found = [library.problem for library in (_native.CPU, _native.CUDA) if library.problem]
    if torch.version.cuda is not None and not torch.cuda.is_available():
        found.append("torch sees no GPU")
    if not found:
        missing = operators_without_cuda()
        if missing:
            found.append(f"operators without a CUDA kernel: {', '.join(missing)}")
    return found


def operators_without_cuda() -> list[str]:
    """Operators that take tensors and have a kernel for the CPU alone."""
    schemas = [s for s in torch._C._jit_get_all_schemas() if s.name.startswith("pointseg::")]
    taking_tensors = {
        schema.name.partition("::")[2]
        for schema in schemas
        if any("Tensor" in str(argument.type) for argument in schema.arguments)
    }
    return sorted(name for name in taking_tensors if not _native.has_kernel(name, "CUDA"))


def facts(checkout: Path) -> dict[str, Any]:
    """Machine, versions and libraries."""
    found: dict[str, Any] = {
        "cpu": cpu_name(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "pointseg": pointseg.__version__,
        "commit": commit(checkout),
        "libraries": {
            library.path.name: hashlib.sha256(library.path.read_bytes()).hexdigest()[:16]
            for library in (_native.CPU, _native.CUDA)
            if library.path.is_file()
        },
        "gpu": None,
    }
    if torch.cuda.is_available():
        device = torch.cuda.get_device_properties(0)
        found |= {
            "gpu": device.name,
            "gpus": torch.cuda.device_count(),
            "sm": f"{device.major}{device.minor}",
            "multiprocessors": device.multi_processor_count,
            "memory_mib": device.total_memory >> 20,
            "l2_mib": getattr(device, "L2_cache_size", 0) >> 20,
            "driver": driver(),
        }
    return found


def driver() -> str:
    """Version of the GPU's driver."""
    program = shutil.which("nvidia-smi")
    if program:
        query = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
        done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=20)
        if done.returncode == 0 and done.stdout.strip():
            return done.stdout.split()[0]
    if DRIVER_FILE.is_file():
        number = re.search(r"\d+\.\d+(\.\d+)?", DRIVER_FILE.read_text(encoding="utf-8"))
        if number:
            return number[0]
    return "unknown"


def commit(checkout: Path) -> str:
    """The commit of the checkout, or "unknown" where its history is not there."""
    command = ["git", "-C", str(checkout), "rev-parse", "--short=12", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def main() -> None:
    print(json.dumps({"facts": facts(Path.cwd()), "problems": problems()}))


if __name__ == "__main__":
    main()
