"""Kept memory, in a process of its own: the setting is for good."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Page faults of a tensor of 128 MiB, 32,768 pages, after others have been freed: of the first few,
# what alignment cuts off may still be taken by something else.
CODE = """
import resource, torch
from pointseg.machine import keep_freed_memory, release_freed_memory
assert {setting}
for _ in range(20):
    torch.ones(1 << 25)
{between}
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(1 << 25)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(setting: str, between: str = "") -> int:
    code = CODE.format(setting=setting, between=between)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_memory_of_freed_tensors_serves_the_next_until_it_is_released() -> None:
    keep, release = "keep_freed_memory()", "release_freed_memory()"
    assert page_faults(keep) < 100 < page_faults("True")
    assert page_faults(keep, release) > 100
