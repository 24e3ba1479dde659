"""Worker processes end with the program that started them, and leave no shared memory behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHARED_MEMORY = Path("/dev/shm")
# torch's workers look every five seconds whether their parent lives.
LONGEST_S = 30


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie that only waits to be asked for its exit code."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("ending", ["return", "raise", "kill", "terminate"])
def test_workers_end_with_their_program(ending: str) -> None:
    waits = ending in ("kill", "terminate")
    program = subprocess.Popen(
        [sys.executable, "-m", "tests.engine.loading_program", "wait" if waits else ending],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None and program.stderr is not None
    with program:
        line = program.stdout.readline()
        assert line, program.stderr.read()
        *workers, num_voxels = map(int, line.split())
        assert len(workers) == 2 and num_voxels > 0
        if waits:
            assert all(map(is_running, workers))
            os.kill(program.pid, signal.SIGKILL if ending == "kill" else signal.SIGTERM)
    assert (program.returncode == 0) == (ending == "return")
    deadline = time.monotonic() + LONGEST_S
    while any(map(is_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [pid for pid in workers if is_running(pid)] == []
    left = [
        path.name
        for path in SHARED_MEMORY.iterdir()
        if any(f"_{pid}_" in path.name for pid in (program.pid, *workers))
    ]
    assert left == []
