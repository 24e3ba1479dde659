"""Networks trained the same way, side by side: scores over seeds, times, and the page of them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pointseg.benchmark.markers import Markers

BEGIN = "<!-- comparison: begin (written by `make compare`) -->"
END = "<!-- comparison: end -->"
SHOWN_CLASSES = 8
PAGE = Markers(BEGIN, END, empty_page=f"# Results\n\n{BEGIN}\n{END}\n")


@dataclass(frozen=True)
class RunResult:
    """What one training run came to.

    Attributes:
        config, model: names of the configuration and of its network.
        seed: of weights, order of rooms and augmentation.
        parameters: of the network.
        mean_iou: over all raw points of the unseen scenes.
        iou: by class, None where the rule has no value.
        num_scenes, num_points: how many were scored.
        protocol: how they were scored.
        step_time_s: median wall time of a training step, loading included.
        evaluation_s: wall time of the evaluation command.
        machine: processor and versions.
    """

    config: str
    model: str
    seed: int
    parameters: int
    mean_iou: float
    iou: dict[str, float | None]
    num_scenes: int
    num_points: int
    protocol: str
    step_time_s: float
    evaluation_s: float
    machine: dict[str, Any]


def median_step_time_s(rows: Sequence[Mapping[str, Any]]) -> float:
    """Median of the logged times, without the first tenth of the rows (at least one, if there are
    more): caches and loaders are cold then.
    """
    times = [row["step_time_s"] for row in rows if row["kind"] == "train"]
    if not times:
        raise ValueError("rows: expected at least one of kind 'train'; was the run cut before one?")
    first = min(max(1, len(times) // 10), len(times) - 1)
    return statistics.median(times[first:])


def spread(values: Sequence[float]) -> tuple[float, float, float, float | None]:
    """Mean, smallest, largest, and sample standard deviation (None for one value)."""
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return statistics.fmean(values), min(values), max(values), deviation


def mean_iou_by_class(runs: Sequence[RunResult]) -> dict[str, float]:
    """Mean over seeds, of classes that have a value with every seed."""
    found = {name: [run.iou[name] for run in runs] for name in runs[0].iou}
    return {
        name: statistics.fmean(v for v in values if v is not None)
        for name, values in found.items()
        if None not in values
    }


def comparison_text(
    first: Sequence[RunResult], second: Sequence[RunResult], command: str, notes: Sequence[str]
) -> str:
    """The comparison as markdown.

    Args:
        first, second: runs of two configurations, with the same seeds in the same order.
        command: what made them.
        notes: further lines on how they were trained.
    """
    assert [run.seed for run in first] == [run.seed for run in second]
    scored = first[0]
    for run in (*first, *second):
        same = ("num_scenes", "num_points", "protocol")
        if any(getattr(run, name) != getattr(scored, name) for name in same):
            raise ValueError(f"{run.config}, seed {run.seed}: scored on other scenes than the rest")
    parts = [
        f"```console\n{command}\n```",
        f"{scored.num_scenes} unseen scenes, {scored.num_points:,} raw points "
        f"({scored.protocol}). " + " ".join(notes),
        _machine_line([*first, *second]),
        _score_table([first, second]),
        _difference_line(first, second),
        "Classes whose mean IoU differs most:",
        _class_table(first, second),
    ]
    return "\n\n".join(parts)


def _machine_line(runs: Sequence[RunResult]) -> str:
    lines = {
        "{cpu}, {instruction_set}, {threads} threads, on {device}; Python {python}, torch {torch}, "
        "pointseg {pointseg}.".format(**run.machine)
        for run in runs
    }
    line = " ".join(sorted(lines))
    return line if len(lines) == 1 else f"More than one machine; do not compare times. {line}"


def _score_table(groups: Sequence[Sequence[RunResult]]) -> str:
    seeds = [f"seed {run.seed}" for run in groups[0]]
    columns = ["configuration", "model", "parameters", *seeds, "mean", "lowest to highest"]
    columns += ["standard deviation", "step, s", "evaluation, s"]
    rows = []
    for runs in groups:
        mean, low, high, deviation = spread([run.mean_iou for run in runs])
        rows.append(
            [
                f"`{runs[0].config}`",
                runs[0].model,
                f"{runs[0].parameters:,}",
                *(f"{run.mean_iou:.3f}" for run in runs),
                f"**{mean:.3f}**",
                f"{low:.3f} to {high:.3f}",
                "-" if deviation is None else f"{deviation:.3f}",
                f"{statistics.median(run.step_time_s for run in runs):.3f}",
                f"{statistics.median(run.evaluation_s for run in runs):.1f}",
            ]
        )
    return _table(columns, rows, num_text=2)


def _difference_line(first: Sequence[RunResult], second: Sequence[RunResult]) -> str:
    by_seed = [b.mean_iou - a.mean_iou for a, b in zip(first, second, strict=True)]
    mean = statistics.fmean(by_seed)
    ranges = [spread([run.mean_iou for run in runs]) for runs in (first, second)]
    widest = max(high - low for _, low, high, _ in ranges)
    if len(by_seed) == 1:
        verdict = "One seed says nothing about which is better"
    else:
        relation = "More" if abs(mean) > widest else "Not more"
        verdict = f"{relation} than the widest range over seeds, {widest:.3f}"
    return (
        f"mIoU of `{second[0].config}` minus that of `{first[0].config}`: {mean:+.3f} "
        f"(by seed {', '.join(f'{value:+.3f}' for value in by_seed)}). {verdict}. "
        f"A step takes {_step_time(second) / _step_time(first):.2f} times as long."
    )


def _step_time(runs: Sequence[RunResult]) -> float:
    return statistics.median(run.step_time_s for run in runs)


def _class_table(first: Sequence[RunResult], second: Sequence[RunResult]) -> str:
    ours, theirs = mean_iou_by_class(first), mean_iou_by_class(second)
    names = [name for name in ours if name in theirs]
    names.sort(key=lambda name: -abs(theirs[name] - ours[name]))
    rows = [
        [name, f"{ours[name]:.3f}", f"{theirs[name]:.3f}", f"{theirs[name] - ours[name]:+.3f}"]
        for name in names[:SHOWN_CLASSES]
    ]
    columns = ["class", f"`{first[0].config}`", f"`{second[0].config}`", "difference"]
    return _table(columns, rows, num_text=1)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], num_text: int) -> str:
    rule = ["---" if index < num_text else "---:" for index in range(len(columns))]
    lines = [f"| {' | '.join(cells)} |" for cells in (columns, *rows)]
    return "\n".join([lines[0], f"|{'|'.join(rule)}|", *lines[1:]])
