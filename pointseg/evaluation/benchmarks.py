"""Benchmarks by name: by which rule each scores, and how results are handed in."""

from __future__ import annotations

from dataclasses import dataclass

from pointseg.data.scannet200 import SCANNET200_GROUPS
from pointseg.evaluation.rules import (
    NUSCENES_RULE,
    S3DIS_RULE,
    SCANNET200_RULE,
    SCANNET_RULE,
    SEMANTICKITTI_RULE,
    GroupMeans,
    MetricRule,
)
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
    folds       what a cross-validation over all of the data holds out, one a run: with each of
                these the ids of its scenes begin (``Area_5``, ``Area_5_WC_1``)
    """

    rule: MetricRule
    submission: SubmissionFormat | None = None
    folds: tuple[str, ...] = ()


BENCHMARKS: dict[str, Benchmark] = {
    "scannet": Benchmark(SCANNET_RULE, SCANNET),
    "scannet200": Benchmark(GroupMeans(SCANNET200_RULE, SCANNET200_GROUPS), SCANNET),
    "s3dis": Benchmark(S3DIS_RULE, folds=tuple(f"Area_{area}" for area in range(1, 7))),
    "semantickitti": Benchmark(SEMANTICKITTI_RULE, SEMANTICKITTI),
    "nuscenes": Benchmark(NUSCENES_RULE, NUSCENES),
}


def benchmark_of_rule(rule_name: str) -> Benchmark:
    """The benchmark whose rule has this name, as a report keeps it; ValueError without one."""
    for benchmark in BENCHMARKS.values():
        if benchmark.rule.name == rule_name:
            return benchmark
    known = ", ".join(repr(benchmark.rule.name) for benchmark in BENCHMARKS.values())
    raise ValueError(f"no benchmark has a rule named {rule_name!r} (known: {known})")


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
