"""The result of an evaluation, and its form as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from pointseg.evaluation.confusion import ConfusionMatrix
from pointseg.evaluation.report_tables import class_table, part_tables
from pointseg.evaluation.rules import MetricRule, Scores
from pointseg.evaluation.scored_data import ScoredData
from pointseg.files import written_whole

NONE_COLUMN = "(none)"  # predictions that are none of the classes


@dataclass(frozen=True, eq=False)
class Part:
    """Some of the points of an evaluation, such as a ring around the sensor, scored by themselves.

    Attributes
    ----------
    group : str
        What the part is one of, in a sentence.
    scores : Scores
        By the rule of the whole report.
    confusion : int64 [C, C + 1]
        As that of a report. Read only.
    """

    group: str
    scores: Scores
    confusion: np.ndarray

    @property
    def num_points(self) -> int:
        """Raw points scored."""
        return int(self.confusion.sum())

    @staticmethod
    def of(group: str, confusion: ConfusionMatrix, rule: MetricRule) -> Part:
        """The part with these counts, under ``rule``."""
        return Part(group, rule.score(confusion.counts), _frozen(confusion.counts))


@dataclass(frozen=True)
class SceneScore:
    """Scores of one scene by itself, by the rule of the whole report; nan without a point scored.

    Their mean is not the score of the scenes together.
    """

    scene_id: str
    mean_iou: float
    accuracy: float
    num_points: int
    """Raw points scored."""

    @staticmethod
    def of(scene_id: str, confusion: ConfusionMatrix, rule: MetricRule) -> SceneScore:
        """The scores of the scene with these counts."""
        if not confusion.num_points:
            return SceneScore(scene_id, math.nan, math.nan, 0)
        scores = rule.score(confusion.counts)
        return SceneScore(
            scene_id, float(scores.mean_iou), float(scores.accuracy), confusion.num_points
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; nan becomes None."""
        return {
            "scene_id": self.scene_id,
            "mean_iou": _number(self.mean_iou),
            "accuracy": _number(self.accuracy),
            "num_points": self.num_points,
        }

    @staticmethod
    def from_dict(stored: Mapping[str, Any]) -> SceneScore:
        """The scores that `to_dict` gave."""
        mean_iou, accuracy = (
            math.nan if stored[key] is None else float(stored[key])
            for key in ("mean_iou", "accuracy")
        )
        return SceneScore(stored["scene_id"], mean_iou, accuracy, int(stored["num_points"]))


@dataclass(frozen=True, eq=False)
class SegReport:
    """Scores of a semantic segmentation, with all it takes to read them.

    Attributes
    ----------
    protocol, rule : str
        How predictions were made and over which points; which benchmark's rule scored them.
    rule_statement : str
        The rule in one sentence.
    split : str
        Which scenes were scored.
    names : tuple of str [C]
    scores : Scores
    confusion : int64 [C, C + 1]
        Rows true, columns predicted, the last one "none of the classes". Read only.
    scene_ids : tuple of str
    num_scenes, num_points, num_ignored : int
        Scenes scored, raw points scored, and raw points left out for want of a true class.
    parts : mapping of str to Part
        Subsets of the points by name; they may overlap, and need not make up the whole.
    data : ScoredData or None
        Where the scenes come from, where that is known.
    scenes : tuple of SceneScore
        Each scene by itself, in the order of ``scene_ids``; empty where that was not counted.
    """

    protocol: str
    rule: str
    rule_statement: str
    split: str
    names: tuple[str, ...]
    scores: Scores
    confusion: np.ndarray
    scene_ids: tuple[str, ...]
    num_ignored: int
    parts: Mapping[str, Part] = field(default_factory=dict)
    data: ScoredData | None = None
    scenes: tuple[SceneScore, ...] = ()

    @property
    def num_scenes(self) -> int:
        return len(self.scene_ids)

    @property
    def num_points(self) -> int:
        return int(self.confusion.sum())

    @property
    def iou(self) -> np.ndarray:
        """float64 [C]; nan for classes that the rule has no value for."""
        return self.scores.iou

    @property
    def class_accuracy(self) -> np.ndarray:
        """float64 [C]; nan for classes that the rule has no value for."""
        return self.scores.class_accuracy

    @property
    def mean_iou(self) -> float:
        return self.scores.mean_iou

    @property
    def accuracy(self) -> float:
        return self.scores.accuracy

    @property
    def mean_accuracy(self) -> float:
        return self.scores.mean_accuracy

    @property
    def num_classes_in_mean(self) -> int:
        """How many of the classes ``mean_iou`` averages."""
        return self.scores.num_classes_in_mean

    @staticmethod
    def of(
        confusion: ConfusionMatrix,
        names: Sequence[str],
        protocol: str,
        rule: MetricRule,
        scene_ids: Sequence[str],
        split: str,
    ) -> SegReport:
        """The report of ``confusion`` under ``rule``."""
        if len(names) != confusion.num_classes:
            raise ValueError(
                f"names must name the {confusion.num_classes} classes, got {len(names)} names"
            )
        return SegReport(
            protocol=protocol,
            rule=rule.name,
            rule_statement=rule.statement,
            split=split,
            names=tuple(names),
            scores=rule.score(confusion.counts),
            confusion=_frozen(confusion.counts),
            scene_ids=tuple(scene_ids),
            num_ignored=confusion.num_ignored,
        )

    def with_parts(self, parts: Mapping[str, Part]) -> SegReport:
        """The report with these parts."""
        return dataclasses.replace(self, parts=dict(parts))

    def with_data(self, data: ScoredData | None) -> SegReport:
        """The report, saying that its scenes are these."""
        return dataclasses.replace(self, data=data)

    @property
    def scenes_statement(self) -> str:
        """Such as ``split val of scannet: 6 of 312 scenes``."""
        if self.data is None:
            return f"split {self.split}: {self.num_scenes} scenes"
        release = self.data.num_scenes_in_release
        counted = "" if release in (None, self.num_scenes) else f" of {release}"
        return f"split {self.split} of {self.data.title}: {self.num_scenes}{counted} scenes"

    def with_scenes(self, scenes: Sequence[SceneScore]) -> SegReport:
        """The report with scores of each scene."""
        return dataclasses.replace(self, scenes=tuple(scenes))

    @property
    def headline(self) -> str:
        """One line: ``mIoU 0.712 (single pass, raw points)``."""
        return f"mIoU {self.mean_iou:.3f} ({self.protocol})"

    @property
    def mean_statement(self) -> str:
        """What the mean averages: ``mean over 17 of 20 classes``, and which nobody saw."""
        seen = self.confusion.sum(axis=1) + self.confusion[:, :-1].sum(axis=0) > 0
        absent = [name for name, is_seen in zip(self.names, seen, strict=True) if not is_seen]
        statement = f"mean over {self.num_classes_in_mean} of {len(self.names)} classes"
        if not absent:
            return statement
        counted = "" if np.isnan(self.iou[~seen]).all() else ", counted as 0"
        return f"{statement} (absent{counted}: {', '.join(absent)})"

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists for JSON; nan becomes None."""
        return {
            "protocol": self.protocol,
            "rule": self.rule,
            "rule_statement": self.rule_statement,
            "split": self.split,
            "data": None if self.data is None else self.data.to_dict(),
            "num_scenes": self.num_scenes,
            "num_ignored": self.num_ignored,
            **_scored(self.names, self.scores, self.confusion),
            "confusion_columns": [*self.names, NONE_COLUMN],
            "parts": {
                name: {
                    "group": part.group,
                    **_scored(self.names, part.scores, part.confusion),
                }
                for name, part in self.parts.items()
            },
            "scene_ids": list(self.scene_ids),
            "scenes": [scene.to_dict() for scene in self.scenes],
        }

    def table(self) -> Table:
        """A table of the classes for the terminal (rich)."""
        return class_table(self)

    def part_tables(self) -> list[Table]:
        """A table for every group of parts, classes down, parts across (rich)."""
        return part_tables(self)


def write_json(
    report: SegReport, path: Path, context: Mapping[str, Any] | None = None, overwrite: bool = False
) -> None:
    """Write ``report`` to ``path``; ``context`` (checkpoint, ...) comes before its keys."""
    with written_whole(path, overwrite) as temporary:
        text = json.dumps({**(context or {}), **report.to_dict()}, indent=1, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path, find_rule: Callable[[str], MetricRule]) -> SegReport:
    """The report that `write_json` wrote: counts from the file, scores made of them again.

    Parameters
    ----------
    find_rule
        The rule with the name that is in the file.

    Raises
    ------
    ValueError
        If the file is no report, or one without split or data, as older versions wrote.
    """
    try:
        stored = json.loads(Path(path).read_text(encoding="utf-8"))
        rule = find_rule(stored["rule"])
        report = SegReport.of(
            ConfusionMatrix.of(stored["confusion"], stored["num_ignored"]),
            [row["name"] for row in stored["classes"]],
            stored["protocol"],
            rule,
            stored["scene_ids"],
            stored["split"],
        )
        parts = {
            name: Part.of(part["group"], ConfusionMatrix.of(part["confusion"]), rule)
            for name, part in stored["parts"].items()
        }
        data = None if stored["data"] is None else ScoredData.from_dict(stored["data"])
        scenes = [SceneScore.from_dict(scene) for scene in stored.get("scenes", ())]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        missing = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(
            f"{path}: not a report of this version ({missing}); write it again with "
            "`pointseg evaluate --out`"
        ) from error
    return report.with_parts(parts).with_data(data).with_scenes(scenes)


def _scored(names: Sequence[str], scores: Scores, confusion: np.ndarray) -> dict[str, Any]:
    rows = zip(names, scores.iou, scores.class_accuracy, confusion, strict=True)
    return {
        "mean_iou": _number(scores.mean_iou),
        "num_classes_in_mean": scores.num_classes_in_mean,
        "accuracy": _number(scores.accuracy),
        "mean_accuracy": _number(scores.mean_accuracy),
        "further": {name: _number(value) for name, value in scores.further.items()},
        "num_points": int(confusion.sum()),
        "classes": [
            {
                "name": name,
                "iou": _number(iou),
                "accuracy": _number(accuracy),
                "num_points": int(row.sum()),
            }
            for name, iou, accuracy, row in rows
        ],
        "confusion": confusion.tolist(),
    }


def _frozen(counts: np.ndarray) -> np.ndarray:
    copy = counts.copy()
    copy.setflags(write=False)
    return copy


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
