"""Scoring a model on every raw point of every scene, under a named protocol."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from pointseg.evaluation.confusion import ConfusionMatrix
from pointseg.evaluation.protocol import SINGLE_PASS, Protocol
from pointseg.evaluation.report import SegReport
from pointseg.evaluation.rules import MetricRule
from pointseg.evaluation.voting import predict_scenes

if TYPE_CHECKING:
    from pointseg.data import LabelMap, SegBatch

TWICE = "scene {} comes twice; every scene counts once"

OnScene = Callable[[str, np.ndarray, "np.ndarray | None"], None]


def evaluate_single_pass(
    model: nn.Module,
    batches: Iterable[SegBatch],
    label_map: LabelMap,
    on_scene: OnScene | None = None,
    *,
    rule: MetricRule,
    split: str,
) -> SegReport:
    """Score ``model`` by one forward pass per scene, no augmentation, no voting; see `evaluate`."""
    return evaluate(model, batches, label_map, SINGLE_PASS, on_scene, rule=rule, split=split)


def evaluate(
    model: nn.Module,
    batches: Iterable[SegBatch],
    label_map: LabelMap,
    protocol: Protocol,
    on_scene: OnScene | None = None,
    *,
    rule: MetricRule,
    split: str,
) -> SegReport:
    """Score the predictions that ``model`` makes under ``protocol``.

    Every raw point of every scene counts once, through the voxels it fell into; voxel labels play
    no part, so mixed voxels cost what they cost.

    Parameters
    ----------
    model
        Maps a SparseTensor to voxel logits [N, C]. Its train/eval mode is restored afterwards.
    batches
        Batches with point labels; each scene in exactly as many of them as the protocol has views
        (`ViewedScenes`).
    label_map
        Classes of the labels and of the logits.
    protocol
        How predictions are made; the report names it.
    on_scene
        Called as ``on_scene(scene_id, predictions int16 [P], labels int64 [P] or None)`` after
        each scene, in order.
    rule
        The rule of the scenes' benchmark (`pointseg.evaluation.BENCHMARKS`).
    split
        What the scenes are called in the report.

    Raises
    ------
    ValueError
        If a scene comes twice, has no labels, or if there is no scene at all; and as
        `predict_scenes`.
    """
    counted = count_scenes(model, batches, label_map, protocol, on_scene)
    return report_of([counted], label_map, protocol, rule=rule, split=split)


@dataclass(frozen=True)
class SceneCounts:
    """The points of some scenes, counted by true and predicted class."""

    confusion: ConfusionMatrix
    scene_ids: tuple[str, ...]


def count_scenes(
    model: nn.Module,
    batches: Iterable[SegBatch],
    label_map: LabelMap,
    protocol: Protocol = SINGLE_PASS,
    on_scene: OnScene | None = None,
) -> SceneCounts:
    """What `evaluate` counts, also for no scene at all."""
    confusion = ConfusionMatrix(label_map.num_classes)
    scene_ids: dict[str, None] = {}
    for scene in predict_scenes(model, _labelled(batches), protocol):
        if scene.scene_id in scene_ids:
            raise ValueError(TWICE.format(scene.scene_id))
        scene_ids[scene.scene_id] = None
        confusion.update(scene.labels, scene.target)
        if on_scene is not None:
            on_scene(scene.scene_id, scene.labels, scene.target)
    return SceneCounts(confusion, tuple(scene_ids))


def report_of(
    parts: Sequence[SceneCounts],
    label_map: LabelMap,
    protocol: Protocol = SINGLE_PASS,
    *,
    rule: MetricRule,
    split: str,
) -> SegReport:
    """The report of scenes that were counted in several parts, their ids in turn from each part.

    ValueError where a scene is in two parts, or there is none.
    """
    confusion = ConfusionMatrix(label_map.num_classes)
    for part in parts:
        confusion.merge(part.confusion)
    turns = itertools.zip_longest(*(part.scene_ids for part in parts))
    scene_ids = [scene_id for turn in turns for scene_id in turn if scene_id is not None]
    if len(set(scene_ids)) < len(scene_ids):
        raise ValueError(TWICE.format(next(s for s in scene_ids if scene_ids.count(s) > 1)))
    if not scene_ids:
        raise ValueError("there is no scene to evaluate: batches is empty")
    return SegReport.of(confusion, label_map.names, protocol.name, rule, scene_ids, split)


def _labelled(batches: Iterable[SegBatch]) -> Iterator[SegBatch]:
    """The batches, each refused before the model sees it if there is nothing to score against."""
    for batch in batches:
        if batch.point_labels is None:
            raise ValueError(
                f"no labels to score against in {', '.join(batch.scene_ids)} (a test split?); "
                "export the predictions instead"
            )
        yield batch
