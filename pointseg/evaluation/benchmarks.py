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


@dataclass(frozen=True)
class Benchmark:
    """What a dataset's ``benchmark`` stands for (``DatasetSpec.benchmark``).

    rule   what its scores are made by
    folds  what a cross-validation over all of the data holds out, one a run: with each of these
           the ids of its scenes begin (``Area_5``, ``Area_5_WC_1``)
    """

    rule: MetricRule
    folds: tuple[str, ...] = ()


BENCHMARKS: dict[str, Benchmark] = {
    "scannet": Benchmark(SCANNET_RULE),
    "scannet200": Benchmark(GroupMeans(SCANNET200_RULE, SCANNET200_GROUPS)),
    "s3dis": Benchmark(S3DIS_RULE, folds=tuple(f"Area_{area}" for area in range(1, 7))),
    "semantickitti": Benchmark(SEMANTICKITTI_RULE),
    "nuscenes": Benchmark(NUSCENES_RULE),
}


def benchmark_of_rule(rule_name: str) -> Benchmark:
    """The benchmark whose rule has this name, as a report keeps it; ValueError without one."""
    for benchmark in BENCHMARKS.values():
        if benchmark.rule.name == rule_name:
            return benchmark
    known = ", ".join(repr(benchmark.rule.name) for benchmark in BENCHMARKS.values())
    raise ValueError(f"no benchmark has a rule named {rule_name!r} (known: {known})")
