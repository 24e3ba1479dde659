"""What a scene can be coloured by: each `Field` is one way, with its values and its legend."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pointseg.evaluation.confusion import ConfusionMatrix
from pointseg.evaluation.rules import MetricRule, Scores
from pointseg.visualization.colors import (
    CORRECT_COLOR,
    IGNORED_COLOR,
    WRONG_COLOR,
    category_colors,
    rgb_hex,
    value_range,
)

if TYPE_CHECKING:
    from pointseg.data import LabelMap, PointCloud
    from pointseg.evaluation.choices import StageChoice

CORRECT, WRONG, UNSCORED = 0, 1, 2
# Integer arrays with more distinct values than a legend can list are drawn on a colour scale.
MAX_CATEGORIES = 64
BUILT_IN = ("rgb", "label", "prediction", "error", "height")


@dataclass(frozen=True)
class Category:
    """One row of a legend: ``count`` is over all points of the scene, shown or not."""

    name: str
    color: str
    count: int
    iou: float | None = None


@dataclass(frozen=True, eq=False)
class Field:
    """Values that a view can be coloured by.

    kind "color":       values uint8 [P, 3].
    kind "category":    values uint8 or uint16 [P], rows of ``categories``.
    kind "continuous":  values float32 [P]; ``limits`` are the ends of the colour scale.
    """

    key: str
    title: str
    kind: str
    values: np.ndarray
    categories: tuple[Category, ...] = ()
    limits: tuple[float, float] = (0.0, 1.0)
    unit: str = ""
    group: str = ""
    """Fields of one group are offered together."""


@dataclass(frozen=True, eq=False)
class SceneFields:
    """All fields of a scene, and its scores where it has both labels and predictions."""

    fields: tuple[Field, ...]
    scores: Scores | None

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(field.key for field in self.fields)

    def default_views(self) -> tuple[str, ...]:
        """What is shown side by side unless asked otherwise."""
        for views in (("label", "prediction"), ("rgb", "prediction"), ("rgb", "label")):
            if set(views) <= set(self.keys):
                return views
        return next((key,) for key in (*BUILT_IN, *self.keys) if key in self.keys)


def scene_fields(
    cloud: PointCloud,
    label_map: LabelMap,
    predictions: np.ndarray | None = None,
    arrays: Mapping[str, np.ndarray] | None = None,
    floor_m: float = 0.0,
    rule: MetricRule | None = None,
    choices: Mapping[str, StageChoice] | None = None,
) -> SceneFields:
    """The fields of a cloud: rgb, label, prediction, error, height, then ``arrays`` in order, then
    the chosen entries and the entropies of ``choices``.

    predictions: integer [P] train ids; numbers that are no class are shown as "none".
    arrays: [P] of any real dtype (booleans and integers of few values become categories), or
    uint8 [P, 3] colours. Raises ValueError or TypeError naming the array that does not fit.
    rule: the benchmark's rule that predictions are scored by; without one there are no scores.
    choices: what each stage of a model chose; its fields are "<stage>/entry" and
    "<stage>/entropy".
    """
    fields: list[Field] = []
    scores = None
    if cloud.color is not None:
        fields.append(Field("rgb", "RGB", "color", np.asarray(cloud.color, dtype=np.uint8)))
    labels = None if cloud.labels is None else _class_ids(cloud.labels, cloud, "labels", label_map)
    predicted = None
    if predictions is not None:
        predicted = _class_ids(predictions, cloud, "predictions", label_map)
    if labels is not None and predicted is not None and rule is not None:
        matrix = ConfusionMatrix(label_map.num_classes)
        matrix.update(predicted, labels)
        scores = rule.score(matrix.counts)
    if labels is not None:
        fields.append(_class_field("label", labels, label_map, "ignored", scores))
    if predicted is not None:
        fields.append(_class_field("prediction", predicted, label_map, "none", scores))
    if labels is not None and predicted is not None:
        fields.append(_error_field(labels, predicted))
    height = np.asarray(cloud.xyz_m[:, 2] - floor_m, dtype=np.float32)
    fields.append(
        Field("height", "height", "continuous", height, limits=value_range(height), unit="m")
    )
    for name, values in (arrays or {}).items():
        if name in BUILT_IN:
            raise ValueError(
                f"arrays: the name {name!r} is taken by a built-in view; choose another name"
            )
        fields.append(array_field(name, np.asarray(values), cloud))
    fields += choice_fields(choices or {}, cloud)
    return SceneFields(_with_distinct_keys(fields), scores)


def array_field(name: str, values: np.ndarray, cloud: PointCloud) -> Field:
    """The field of any per-point array: colours, categories or a colour scale, by its dtype."""
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim not in (1, 2) or len(values) != cloud.num_points:
        raise ValueError(
            f"array {name!r}: expected one value for each of the {cloud.num_points:,} points of "
            f"{cloud.scene_id}, got shape {list(values.shape)}"
        )
    if values.ndim == 2:
        if values.shape[1] != 3 or values.dtype != np.uint8:
            raise ValueError(
                f"array {name!r}: expected shape [P], or uint8 [P, 3] colours; got {values.dtype} "
                f"{list(values.shape)}; pass its columns one by one"
            )
        return Field(name, name, "color", values)
    if values.dtype.kind not in "biuf":
        raise TypeError(f"array {name!r}: expected real numbers or booleans, got {values.dtype}")
    if values.dtype.kind != "f":
        distinct, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
        if len(distinct) <= MAX_CATEGORIES:
            rows = zip(distinct.tolist(), category_colors(len(distinct)), counts, strict=True)
            categories = tuple(Category(str(value), color, int(n)) for value, color, n in rows)
            return Field(name, name, "category", codes.astype(np.uint8), categories)
    scaled = values.astype(np.float32)
    return Field(name, name, "continuous", scaled, limits=value_range(scaled))


def choice_fields(choices: Mapping[str, StageChoice], cloud: PointCloud) -> list[Field]:
    """Chosen entry, then entropy, of every stage. ValueError for a stage that does not fit."""
    for stage, choice in choices.items():
        if choice.num_points != cloud.num_points:
            raise ValueError(
                f"choices: {stage} has {choice.num_points:,} rows, but {cloud.scene_id} has "
                f"{cloud.num_points:,} points"
            )
    entries = [_entry_field(stage, choice) for stage, choice in choices.items()]
    return entries + [
        Field(
            f"{stage}/entropy",
            f"{stage} entropy",
            "continuous",
            np.asarray(choice.entropy, dtype=np.float32),
            # The same for every stage and scene: no entropy at all to that of an even choice.
            limits=(0.0, math.log(choice.num_entries) if choice.num_entries > 1 else 1.0),
            unit="nat",
            group="choice entropy",
        )
        for stage, choice in choices.items()
    ]


def _entry_field(stage: str, choice: StageChoice) -> Field:
    counts = np.bincount(choice.entry, minlength=choice.num_entries)
    colors = category_colors(choice.num_entries)
    categories = tuple(
        Category(f"{d}: {region}", colors[d], int(counts[d]))
        for d, region in enumerate(choice.regions)
    )
    return Field(
        f"{stage}/entry",
        f"{stage} entry",
        "category",
        choice.entry,
        categories,
        group="chosen entry",
    )


def _with_distinct_keys(fields: list[Field]) -> tuple[Field, ...]:
    twice = [key for key, n in Counter(field.key for field in fields).items() if n > 1]
    if twice:
        raise ValueError(f"arrays: the name {twice[0]!r} is taken by a choice; choose another name")
    return tuple(fields)


def _class_ids(values: Any, cloud: PointCloud, what: str, label_map: LabelMap) -> np.ndarray:
    """int64 [P] with -1 for everything that is not a class."""
    ids = np.asarray(values)
    if ids.dtype.kind not in "iu":
        raise TypeError(f"{what}: expected integer train ids, got {ids.dtype}")
    if ids.shape != (cloud.num_points,):
        raise ValueError(
            f"{what}: expected one id for each of the {cloud.num_points:,} points of "
            f"{cloud.scene_id}, got shape {list(ids.shape)}"
        )
    known = (ids >= 0) & (ids < label_map.num_classes)
    return np.where(known, ids, -1).astype(np.int64)


def _class_field(
    key: str,
    ids: np.ndarray,
    label_map: LabelMap,
    rest: str,
    scores: Scores | None,
) -> Field:
    num_classes = label_map.num_classes
    codes = np.where(ids < 0, num_classes, ids)
    counts = np.bincount(codes, minlength=num_classes + 1)
    categories = [
        Category(name, rgb_hex(label_map.palette[c]), int(counts[c]), _iou(scores, c))
        for c, name in enumerate(label_map.names)
    ]
    categories.append(Category(rest, IGNORED_COLOR, int(counts[num_classes])))
    dtype = np.uint8 if num_classes < 256 else np.uint16
    return Field(key, key, "category", codes.astype(dtype), tuple(categories))


def _error_field(labels: np.ndarray, predicted: np.ndarray) -> Field:
    codes = np.where(labels < 0, UNSCORED, np.where(labels == predicted, CORRECT, WRONG))
    counts = np.bincount(codes, minlength=3)
    rows = (("correct", CORRECT_COLOR), ("wrong", WRONG_COLOR), ("ignored", IGNORED_COLOR))
    categories = tuple(
        Category(name, color, int(counts[code])) for code, (name, color) in enumerate(rows)
    )
    return Field("error", "error", "category", codes.astype(np.uint8), categories)


def _iou(scores: Scores | None, train_id: int) -> float | None:
    if scores is None or not np.isfinite(scores.iou[train_id]):
        return None
    return float(scores.iou[train_id])
