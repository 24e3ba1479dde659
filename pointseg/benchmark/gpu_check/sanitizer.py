"""compute-sanitizer over a short run of every operator."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pointseg.benchmark.gpu_check.processes import Ended, run_together

TOOLS = ("memcheck", "racecheck", "initcheck")
TESTS = "tests/gpu/test_sanitized.py"
PLACES = ("/usr/local/cuda/bin", "/opt/cuda/bin")
ERROR_CODE = 99
# Ours alone are instrumented, which is what makes it short; errors that the runtime returns to
# torch while it looks around are none of ours. Older versions have other options.
WANTED_OPTIONS = (("--kernel-regex", "kns=pointseg"), ("--report-api-errors", "no"))
# Every tensor its own allocation, so that a row too far is outside of it.
VARIABLES = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}


def find_program() -> str | None:
    """compute-sanitizer, where it is installed."""
    home = [str(Path(os.environ["CUDA_HOME"]) / "bin")] if os.environ.get("CUDA_HOME") else []
    path = os.pathsep.join([os.environ.get("PATH", ""), *home, *PLACES])
    return shutil.which("compute-sanitizer", path=path)


def run_sanitizer(
    checkout: Path, seconds: float, program: str | None = None, arguments: Sequence[str] = ()
) -> dict[str, Any]:
    """All tools side by side.

    Returns status: "skipped" without the program, "failed" where one reports an error. A tool that
    is not done in time is named in `unfinished`: how much slower it makes a run, nobody can say.
    """
    program = program or find_program()
    if program is None:
        return {"status": "skipped", "reason": "compute-sanitizer is not installed here"}
    options = _options(program)
    tests = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", TESTS]
    commands = [
        [program, "--tool", tool, "--error-exitcode", str(ERROR_CODE), *options, *tests, *arguments]
        for tool in TOOLS
    ]
    ended = dict(zip(TOOLS, run_together(commands, seconds, checkout, VARIABLES), strict=True))
    unfinished = [tool for tool, one in ended.items() if not one.in_time]
    wrong = [tool for tool, one in ended.items() if _has_errors(one)]
    status = "failed" if wrong else "out of time" if len(unfinished) == len(TOOLS) else "passed"
    return {
        "status": status,
        "tools": {tool: _summary(one) for tool, one in ended.items()},
        "unfinished": unfinished,
        **{f"{tool}_said": ended[tool].said for tool in wrong},
    }


def _options(program: str) -> list[str]:
    done = subprocess.run([program, "--help"], capture_output=True, text=True, check=False)
    return [x for option in WANTED_OPTIONS if option[0] in done.stdout for x in option]


def _has_errors(ended: Ended) -> bool:
    """By the exit status, or, where it was stopped, by what it had said."""
    if ended.in_time:
        return ended.code != 0
    return bool(re.search(r"^========= (Invalid|Uninit|Error|Warning)", ended.said, re.M))


def _summary(ended: Ended) -> str:
    found = re.findall(r"^========= (\w* ?SUMMARY: .*)$", ended.said, re.M)
    if found:
        return str(found[-1])
    return "not done in time" if not ended.in_time else f"exit status {ended.code}"
