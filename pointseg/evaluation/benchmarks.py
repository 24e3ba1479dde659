"""Benchmarks by name: by which rule each scores, and how results are handed in."""

from __future__ import annotations

from dataclasses import dataclass

from pointseg.evaluation.rules import SCANNET_RULE, MetricRule


@dataclass(frozen=True)
class Benchmark:
    """What a dataset's ``benchmark`` stands for (``DatasetSpec.benchmark``)."""

    rule: MetricRule


BENCHMARKS: dict[str, Benchmark] = {
    "scannet": Benchmark(SCANNET_RULE),
}
