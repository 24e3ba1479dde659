"""Tests in processes side by side, and what their reports say."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree

from pointseg.benchmark.gpu_check.processes import run_together

MAX_SHARDS = 4
CORES_EACH = 2
NAMED_FAILURES = 40
FAILURE_LENGTH = 400


@dataclass
class Counts:
    """What ran, summed over processes.

    Attributes:
        passed, failed, skipped: numbers of tests; errors count as failed.
        failures: name and first words of the first ones.
        reasons: why tests were skipped, with how many.
    """

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)

    def add(self, report: Path, whole: bool) -> None:
        """Count a report in JUnit's format; of a run that was interrupted not the last test, which
        may not have been over.
        """
        tests = list(ElementTree.parse(report).getroot().iter("testcase"))
        for test in tests if whole else tests[:-1]:
            bad = [x for kind in ("failure", "error") for x in test.findall(kind)]
            skip = test.find("skipped")
            if bad:
                self.failed += 1
                if len(self.failures) < NAMED_FAILURES:
                    name = f"{test.get('classname')}.{test.get('name')}"
                    self.failures[name] = (bad[0].get("message") or "")[:FAILURE_LENGTH]
            elif skip is not None:
                self.skipped += 1
                reason = skip.get("message") or "no reason"
                self.reasons[reason] = self.reasons.get(reason, 0) + 1
            else:
                self.passed += 1


def run_tests(checkout: Path, arguments: Sequence[str], seconds: float) -> dict[str, Any]:
    """Run pytest with these arguments, the tests dealt out to a few processes.

    Returns status ("passed", "failed", "out of time") and counts.
    """
    shards = max(1, min(MAX_SHARDS, (os.cpu_count() or 1) // CORES_EACH))
    with TemporaryDirectory() as folder:
        reports = [Path(folder) / f"{index}.xml" for index in range(shards)]
        commands = [
            [
                *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
                *(f"--junitxml={report}", f"--shard={index}/{shards}", *arguments),
            ]
            for index, report in enumerate(reports)
        ]
        ended = run_together(commands, seconds, checkout)
        counts = Counts()
        for report, one in zip(reports, ended, strict=True):
            if report.is_file():
                counts.add(report, one.in_time)
    result: dict[str, Any] = {"status": "passed", **asdict(counts), "processes": shards}
    # 5: a process of several had no test; what none of them ran is noticed below.
    broken = [one for one in ended if one.in_time and one.code not in (0, 5)]
    if counts.failed or broken or not counts.passed:
        result["status"] = "failed"
        result["said"] = (broken or ended)[0].said
    if not all(one.in_time for one in ended):
        result["status"] = "failed" if counts.failed else "out of time"
    return result
