"""The result of an evaluation, and its forms: terminal table, JSON, heat map."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from pointseg.evaluation.confusion import ConfusionMatrix
from pointseg.evaluation.rules import MetricRule
from pointseg.files import written_whole

NONE_COLUMN = "(none)"  # predictions that are none of the classes


@dataclass(frozen=True, eq=False)
class SegReport:
    """Scores of a semantic segmentation, with all it takes to read them.

    Attributes
    ----------
    protocol, rule : str
        How predictions were made and over which points; which benchmark's rule scored them.
    rule_statement : str
        The rule in one sentence.
    names : tuple of str [C]
    iou, class_accuracy : float64 [C]
        nan for classes that the rule has no value for.
    mean_iou, accuracy, mean_accuracy : float
    num_classes_in_mean : int
        How many of the classes ``mean_iou`` averages.
    confusion : int64 [C, C + 1]
        Rows true, columns predicted, the last one "none of the classes". Read only.
    scene_ids : tuple of str
    num_scenes, num_points, num_ignored : int
        Scenes scored, raw points scored, and raw points left out for want of a true class.
    """

    protocol: str
    rule: str
    rule_statement: str
    names: tuple[str, ...]
    iou: np.ndarray
    class_accuracy: np.ndarray
    mean_iou: float
    accuracy: float
    mean_accuracy: float
    num_classes_in_mean: int
    confusion: np.ndarray
    scene_ids: tuple[str, ...]
    num_points: int
    num_ignored: int

    @property
    def num_scenes(self) -> int:
        return len(self.scene_ids)

    @staticmethod
    def of(
        confusion: ConfusionMatrix,
        names: Sequence[str],
        protocol: str,
        rule: MetricRule,
        scene_ids: Sequence[str],
    ) -> SegReport:
        """The report of ``confusion`` under ``rule``."""
        if len(names) != confusion.num_classes:
            raise ValueError(
                f"names must name the {confusion.num_classes} classes, got {len(names)} names"
            )
        scores = rule.score(confusion.counts)
        counts = confusion.counts.copy()
        counts.setflags(write=False)
        return SegReport(
            protocol=protocol,
            rule=rule.name,
            rule_statement=rule.statement,
            names=tuple(names),
            iou=scores.iou,
            class_accuracy=scores.class_accuracy,
            mean_iou=scores.mean_iou,
            accuracy=scores.accuracy,
            mean_accuracy=scores.mean_accuracy,
            num_classes_in_mean=scores.num_classes_in_mean,
            confusion=counts,
            scene_ids=tuple(scene_ids),
            num_points=confusion.num_points,
            num_ignored=confusion.num_ignored,
        )

    @property
    def headline(self) -> str:
        """One line: ``mIoU 0.712 (single pass, raw points)``."""
        return f"mIoU {self.mean_iou:.3f} ({self.protocol})"

    @property
    def mean_statement(self) -> str:
        """What the mean averages: ``mean over 17 of 20 classes``, and which are missing."""
        absent = [name for name, iou in zip(self.names, self.iou, strict=True) if math.isnan(iou)]
        statement = f"mean over {self.num_classes_in_mean} of {len(self.names)} classes"
        return f"{statement} (absent: {', '.join(absent)})" if absent else statement

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists for JSON; nan becomes None."""
        rows = zip(self.names, self.iou, self.class_accuracy, self.confusion, strict=True)
        return {
            "protocol": self.protocol,
            "rule": self.rule,
            "rule_statement": self.rule_statement,
            "mean_iou": _number(self.mean_iou),
            "num_classes_in_mean": self.num_classes_in_mean,
            "accuracy": _number(self.accuracy),
            "mean_accuracy": _number(self.mean_accuracy),
            "num_scenes": self.num_scenes,
            "num_points": self.num_points,
            "num_ignored": self.num_ignored,
            "classes": [
                {
                    "name": name,
                    "iou": _number(iou),
                    "accuracy": _number(accuracy),
                    "num_points": int(row.sum()),
                }
                for name, iou, accuracy, row in rows
            ],
            "confusion": self.confusion.tolist(),
            "confusion_columns": [*self.names, NONE_COLUMN],
            "scene_ids": list(self.scene_ids),
        }

    def table(self) -> Table:
        """A table for the terminal (rich)."""
        table = Table(
            title=f"{self.protocol}\n{self.num_scenes} scenes, {self.num_points:,} points "
            f"({self.num_ignored:,} without a class left out)",
            caption=f"{self.rule}: {self.rule_statement}. Here: {self.mean_statement}.",
            min_width=76,
        )
        table.add_column("class")
        for header in ("IoU", "accuracy", "points", "predicted"):
            table.add_column(header, justify="right")
        predicted = self.confusion[:, :-1].sum(axis=0)
        for index, name in enumerate(self.names):
            table.add_row(
                name,
                _shown(self.iou[index]),
                _shown(self.class_accuracy[index]),
                f"{int(self.confusion[index].sum()):,}",
                f"{int(predicted[index]):,}",
            )
        table.add_section()
        table.add_row("mean", _shown(self.mean_iou), _shown(self.mean_accuracy), "", "")
        table.add_row("all points", "", _shown(self.accuracy), f"{self.num_points:,}", "")
        return table


def write_json(
    report: SegReport, path: Path, context: Mapping[str, Any] | None = None, overwrite: bool = False
) -> None:
    """Write ``report`` to ``path``; ``context`` (checkpoint, split, ...) comes before its keys."""
    with written_whole(path, overwrite) as temporary:
        text = json.dumps({**(context or {}), **report.to_dict()}, indent=1, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def write_heatmap(report: SegReport, path: Path, overwrite: bool = False) -> None:
    """Write the row-normalised confusion matrix as one HTML file that works offline.

    A row is a true class and adds up to 100 %; rows of classes without a point are left blank.
    """
    figure = _heatmap(report)
    with written_whole(path, overwrite) as temporary:
        figure.write_html(temporary, include_plotlyjs=True, include_mathjax=False)


def _heatmap(report: SegReport) -> Any:
    import plotly.graph_objects as go  # slow to import, needed only here

    counts = report.confusion
    totals = counts.sum(axis=1, keepdims=True)
    share = np.where(totals > 0, 100.0 * counts / np.maximum(totals, 1), np.nan)
    columns = list(report.names)
    if counts[:, -1].any():
        columns.append(NONE_COLUMN)
    share, counts = share[:, : len(columns)], counts[:, : len(columns)]
    figure = go.Figure(
        go.Heatmap(
            # lists, not arrays: the file stays readable, and None leaves a cell blank
            z=[[_number(value) for value in row] for row in share],
            x=columns,
            y=list(report.names),
            customdata=counts.tolist(),
            text=[["" if not value >= 0.5 else f"{value:.0f}" for value in row] for row in share],
            texttemplate="%{text}",
            hovertemplate=(
                "true %{y}<br>predicted %{x}<br>%{z:.2f} % of the class"
                "<br>%{customdata} points<extra></extra>"
            ),
            colorscale="Blues",
            zmin=0,
            zmax=100,
            colorbar={"title": {"text": "% of true class"}},
        )
    )
    side = 320 + 34 * len(columns)
    figure.update_layout(
        title={
            "text": f"{report.headline}<br><sub>{report.rule}, {report.mean_statement}; "
            f"{report.num_scenes} scenes, {report.num_points:,} points</sub>"
        },
        xaxis={"title": {"text": "predicted"}, "tickangle": -45, "constrain": "domain"},
        yaxis={"title": {"text": "true"}, "autorange": "reversed"},
        width=side + 80,
        height=side,
        template="plotly_white",
    )
    return figure


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _shown(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "-"
