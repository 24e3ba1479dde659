"""What the machine is called that results were computed on; needs nothing of the package."""

from __future__ import annotations

import platform


def cpu_name() -> str:
    """The processor's name as it calls itself, otherwise its architecture."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0].partition(":")[2].strip() if names else platform.machine()
