"""What is aimed at, to stand beside the figures. Nothing fails that misses it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any


@dataclass(frozen=True)
class Target:
    """An aim for some rows.

    Attributes:
        cases: pattern of their names.
        other: what they are set beside.
        most_us: microseconds; None: no limit of its own.
        least_ratio: of the other time over ours.
        text: the aim in words.
    """

    cases: str
    other: str
    text: str
    most_us: float | None = None
    least_ratio: float = 0.0

    def is_met(self, row: Mapping[str, Any]) -> bool:
        quick = self.most_us is None or row["ours"] <= self.most_us
        return bool(quick and row["ratio"] >= self.least_ratio)


TARGETS = (
    Target("kernel_map_k3_*", "plain_torch", "at most 100 us", most_us=100.0),
    *(
        Target(f"attention_fwd_C{c}_*float16_*", "floor", "at most 4 floors", least_ratio=0.25)
        for c in (64, 128, 256)
    ),
    *(
        Target(f"conv_fwd_C{c}_*float16_*", "plain_torch", "2.5 times as fast", least_ratio=2.5)
        for c in (64, 128)
    ),
)


def judged(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], Target]]:
    """Rows that something is aimed at, with the aim."""
    for row in rows:
        for target in TARGETS:
            same = row["other"] == target.other and row["ratio"] is not None
            if same and fnmatchcase(row["case"], target.cases):
                yield row, target
