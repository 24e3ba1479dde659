"""Benchmarks by name: by which rule each scores, and how results are handed in."""

from __future__ import annotations

from dataclasses import dataclass

from pointseg.evaluation.rules import SCANNET_RULE, MetricRule
from pointseg.evaluation.submission.formats import (
    NUSCENES,
    SCANNET,
    SEMANTICKITTI,
    SubmissionFormat,
)


@dataclass(frozen=True)
class Benchmark:
    """What a dataset's ``benchmark`` stands for (``DatasetSpec.benchmark``).

    rule        what its scores are made by
    submission  what its server takes; None where there is no server
    """

    rule: MetricRule
    submission: SubmissionFormat | None = None


BENCHMARKS: dict[str, Benchmark] = {
    "scannet": Benchmark(SCANNET_RULE, SCANNET),
    "scannet200": Benchmark(SCANNET_RULE, SCANNET),
    "s3dis": Benchmark(SCANNET_RULE),
    "semantickitti": Benchmark(SCANNET_RULE, SEMANTICKITTI),
    "nuscenes": Benchmark(SCANNET_RULE, NUSCENES),
}


def find_submission_format(benchmark: str) -> SubmissionFormat:
    """What a benchmark's server takes; ValueError where it has none."""
    found = BENCHMARKS[benchmark].submission
    if found is None:
        with_server = [name for name, known in BENCHMARKS.items() if known.submission is not None]
        raise ValueError(
            f"{benchmark} has no evaluation server, so there is no submission to write or check "
            f"(those with one: {', '.join(with_server)}); score it with `pointseg evaluate`, or "
            "write label files with `pointseg export-preds --out`"
        )
    return found
