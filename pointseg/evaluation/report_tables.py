"""A report as tables for the terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from pointseg.evaluation.report import Part, SegReport


def class_table(report: SegReport) -> Table:
    """Classes down, their scores across; then the means."""
    table = Table(
        title=f"{report.protocol}\n{report.scenes_statement}, {report.num_points:,} points "
        f"({report.num_ignored:,} without a class left out)",
        caption=f"{report.rule}: {report.rule_statement}. Here: {report.mean_statement}.",
        min_width=76,
    )
    table.add_column("class")
    for header in ("IoU", "accuracy", "points", "predicted"):
        table.add_column(header, justify="right")
    predicted = report.confusion[:, :-1].sum(axis=0)
    for index, name in enumerate(report.names):
        table.add_row(
            name,
            _shown(report.iou[index]),
            _shown(report.class_accuracy[index]),
            f"{int(report.confusion[index].sum()):,}",
            f"{int(predicted[index]):,}",
        )
    table.add_section()
    table.add_row("mean", _shown(report.mean_iou), _shown(report.mean_accuracy), "", "")
    for name, value in report.scores.further.items():
        table.add_row(name, _shown(value), "", "", "")
    table.add_row("all points", "", _shown(report.accuracy), f"{report.num_points:,}", "")
    return table


def part_tables(report: SegReport) -> list[Table]:
    """One table for each group of parts: IoU, classes down, parts across; then the means."""
    groups: dict[str, dict[str, Part]] = {}
    for name, part in report.parts.items():
        groups.setdefault(part.group, {})[name] = part
    return [_part_table(report, group, parts) for group, parts in groups.items()]


def _part_table(report: SegReport, group: str, parts: dict[str, Part]) -> Table:
    table = Table(
        title=f"IoU by part: {group}\n{report.protocol}, {report.scenes_statement}",
        caption=f"{report.rule}, each part by itself.",
        min_width=76,
    )
    table.add_column("class")
    for name in parts:
        table.add_column(name, justify="right")
    for index, name in enumerate(report.names):
        table.add_row(name, *(_shown(part.scores.iou[index]) for part in parts.values()))
    table.add_section()
    table.add_row("mean", *(_shown(part.scores.mean_iou) for part in parts.values()))
    for name in report.scores.further:
        table.add_row(name, *(_shown(part.scores.further[name]) for part in parts.values()))
    table.add_row("accuracy", *(_shown(part.scores.accuracy) for part in parts.values()))
    table.add_row("points", *(f"{part.num_points:,}" for part in parts.values()))
    return table


def _shown(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "-"
