"""Scoring a model on every raw point of every scene, under a named protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from pointseg.evaluation.confusion import ConfusionMatrix
from pointseg.evaluation.protocol import SINGLE_PASS, Protocol
from pointseg.evaluation.report import SceneScore, SegReport
from pointseg.evaluation.rules import MetricRule
from pointseg.evaluation.voting import predict_scenes

if TYPE_CHECKING:
    from pointseg.data import LabelMap, SegBatch

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
    confusion = ConfusionMatrix(label_map.num_classes)
    scores: dict[str, SceneScore] = {}
    for scene in predict_scenes(model, _labelled(batches), protocol):
        if scene.scene_id in scores:
            raise ValueError(f"scene {scene.scene_id} comes twice; every scene counts once")
        own = ConfusionMatrix(label_map.num_classes)
        own.update(scene.labels, scene.target)
        scores[scene.scene_id] = SceneScore.of(scene.scene_id, own, rule)
        confusion.merge(own)
        if on_scene is not None:
            on_scene(scene.scene_id, scene.labels, scene.target)
    if not scores:
        raise ValueError("there is no scene to evaluate: batches is empty")
    report = SegReport.of(confusion, label_map.names, protocol.name, rule, list(scores), split)
    return report.with_scenes(list(scores.values()))


def _labelled(batches: Iterable[SegBatch]) -> Iterator[SegBatch]:
    """The batches, each refused before the model sees it if there is nothing to score against."""
    for batch in batches:
        if batch.point_labels is None:
            raise ValueError(
                f"no labels to score against in {', '.join(batch.scene_ids)} (a test split?); "
                "export the predictions instead"
            )
        yield batch
