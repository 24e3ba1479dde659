"""Everything that a GPU is needed for, in one go: checks, then figures, then one JSON.

It needs torch with CUDA, numpy, pytest, and the two compiled libraries; no compiler. Parts run in
processes of their own, each with a time it may take; what one leaves over is there for the next.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pointseg.benchmark.gpu_check.measure import run_benchmark
from pointseg.benchmark.gpu_check.processes import run_together
from pointseg.benchmark.gpu_check.pytest_runs import run_tests
from pointseg.benchmark.gpu_check.sanitizer import run_sanitizer
from pointseg.benchmark.report import write_document

CHECKOUT = Path(__file__).resolve().parents[3]
GOOD = ("passed", "skipped")
UNUSABLE = 2  # exit status where the kernels cannot run here

Result = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """A part of the check.

    Attributes:
        name: in the JSON.
        budget_s: what it may take, beside what those before it left over.
        run: from seconds that are left to its result, with a "status".
    """

    name: str
    budget_s: float
    run: Callable[[float], Result]


def _environment(seconds: float) -> Result:
    module = "pointseg.benchmark.gpu_check.environment"
    (ended,) = run_together([[sys.executable, "-m", module]], seconds, CHECKOUT)
    try:
        found = json.loads(ended.said.splitlines()[-1])
    except (IndexError, ValueError):
        return {"status": "failed", "facts": {}, "problems": [ended.said or "it said nothing"]}
    return {"status": "failed" if found["problems"] else "passed", **found}


def _sweep(seconds: float) -> Result:
    return run_tests(CHECKOUT, ("tests/ops", "--kernels=cuda"), seconds)


def _gpu_tests(seconds: float) -> Result:
    skipped = "--ignore=tests/gpu/test_sanitized.py"
    return run_tests(CHECKOUT, ("tests/gpu", "--kernels=cuda", skipped), seconds)


def _sanitizer(seconds: float) -> Result:
    return run_sanitizer(CHECKOUT, seconds, arguments=("--kernels=cuda",))


def _benchmark(seconds: float) -> Result:
    with TemporaryDirectory() as folder:
        return run_benchmark(CHECKOUT, seconds, Path(folder) / "rows.jsonl")


# Seven minutes and a half, so that all of it ends within eight.
PARTS = (
    Part("environment", 40.0, _environment),
    Part("sweep", 150.0, _sweep),
    Part("gpu_tests", 110.0, _gpu_tests),
    Part("sanitizer", 50.0, _sanitizer),
    Part("benchmark", 100.0, _benchmark),
)


def chosen_parts(names: Sequence[str]) -> tuple[Part, ...]:
    """The parts called so, in their order, and the environment; all where there are no names."""
    known = [part.name for part in PARTS]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"--only: expected some of {', '.join(known)}, got {', '.join(unknown)}")
    return tuple(p for p in PARTS if not names or p.name in names or p.name == "environment")


def check(
    parts: Sequence[Part], folder: Path, commit: str | None, tell: Callable[[str], None]
) -> int:
    """Run parts and write `folder`/<GPU>.json after each.

    Returns an exit status: 0 all is well, 1 something failed or ran out of time, 2 this machine
    cannot run the kernels.
    """
    start, allowed = time.monotonic(), 0.0
    document: Result = {"environment": {}, "finished": False, "seconds": 0.0, "parts": {}}
    for part in parts:
        allowed += part.budget_s
        began = time.monotonic()
        tell(f"{part.name} (at most {start + allowed - began:.0f} s) ...")
        result = part.run(start + allowed - began)
        result["seconds"] = round(time.monotonic() - began, 1)
        tell(f"{part.name}: {described(result)}")
        document["parts"][part.name] = result
        document["seconds"] = round(time.monotonic() - start, 1)
        document["finished"] = part is parts[-1]
        if part.name == "environment":
            document["environment"] = result.pop("facts")
            if commit:
                document["environment"]["commit"] = commit
            if result["status"] != "passed":
                return UNUSABLE
        path = folder / file_name(document["environment"]["gpu"])
        write_document(path, document)
    tell(f"{path}, {document['seconds']:.0f} s")
    return int(any(part["status"] not in GOOD for part in document["parts"].values()))


def described(result: Result) -> str:
    """A result in a line or a few."""
    line = f"{result['status']}, {result['seconds']:.0f} s"
    if "passed" in result:
        line += f", {result['passed']} passed, {result['failed']} failed"
        line += "".join(f"\n    {n} skipped: {why}" for why, n in result["reasons"].items())
    failures = result.get("failures", ())
    if isinstance(failures, dict):
        failures = [f"{name}: {words.splitlines()[:1]}" for name, words in failures.items()]
    details = [*result.get("problems", ()), *failures]
    details += [result[name] for name in ("reason", "said") if name in result]
    details += [f"{tool}: {words}" for tool, words in result.get("tools", {}).items()]
    return line + "".join(f"\n    {detail}" for detail in details)


def file_name(gpu: str) -> str:
    """``nvidia-h100-80gb-hbm3.json``."""
    return re.sub(r"[^a-z0-9]+", "-", gpu.lower()).strip("-") + ".json"


def default_folder() -> Path:
    """``$OUT`` where it is set, else beside the other figures."""
    return Path(os.environ.get("OUT") or CHECKOUT / "benchmarks" / "gpu")
