"""The suite `gpu`, its ceilings first, every row written as soon as it is known.

``python -m pointseg.benchmark.gpu_check.measure FILE [DEVICE]`` appends one JSON object a line to
FILE, so that what was measured is there even where time runs out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from pointseg.benchmark import SUITES, Options, Suite, header
from pointseg.benchmark.ceilings import Ceilings, Sizes, measure_ceilings
from pointseg.benchmark.gpu_check.processes import run_together


def measure(file: Path, device: torch.device, suite: Suite, sizes: Sizes | None = None) -> None:
    """Ceilings, header and rows of a suite on a device."""
    ceilings: Ceilings = measure_ceilings(device, sizes)
    options = Options(torch.get_num_threads(), device=device, ceilings=ceilings)
    head = header(
        "gpu", suite.scenes(options), options.threads, False, device=device, ceilings=ceilings
    )
    with file.open("a", encoding="utf-8") as lines:
        _write(lines, {"header": head})
        for row in suite.run(options):
            _write(lines, {"row": asdict(row)})


def _write(lines: Any, content: Mapping[str, Any]) -> None:
    lines.write(json.dumps(content) + "\n")
    lines.flush()


def read(file: Path) -> dict[str, Any]:
    """Header (None where it did not come so far) and rows; a line that was cut does not count."""
    found: dict[str, Any] = {"header": None, "rows": []}
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    for line in text.splitlines(keepends=True):
        if not line.endswith("\n"):
            continue
        content = json.loads(line)
        if "header" in content:
            found["header"] = content["header"]
        else:
            found["rows"].append(content["row"])
    return found


def run_benchmark(
    checkout: Path, seconds: float, file: Path, arguments: Sequence[str] = ()
) -> dict[str, Any]:
    """Measure in a process of its own.

    Returns status, header and rows; "failed" where a case did or where the process ended badly.
    """
    module = "pointseg.benchmark.gpu_check.measure"
    command = [sys.executable, "-m", module, str(file), *arguments]
    (ended,) = run_together([command], seconds, checkout)
    found = read(file)
    failed = [f"{row['case']}: {row['note']}" for row in found["rows"] if row["note"]]
    if ended.in_time and ended.code != 0:
        return {"status": "failed", "said": ended.said, "failures": failed, **found}
    status = "failed" if failed else "passed" if ended.in_time else "out of time"
    return {"status": status, "failures": failed, **found}


def main(argv: Sequence[str]) -> None:
    file, device = Path(argv[0]), torch.device(argv[1] if len(argv) > 1 else "cuda")
    measure(file, device, SUITES["gpu"])


if __name__ == "__main__":
    main(sys.argv[1:])
