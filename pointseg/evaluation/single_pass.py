"""Scoring a model by one forward pass per scene, on every raw point."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from pointseg.evaluation.confusion import ConfusionMatrix
from pointseg.evaluation.inference import predict_points
from pointseg.evaluation.report import SegReport
from pointseg.evaluation.rules import MetricRule

if TYPE_CHECKING:
    from pointseg.data import LabelMap, SegBatch

PROTOCOL = "single pass, raw points"

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
    """Score ``model`` over ``batches``: one forward pass per scene, no augmentation, no voting.

    Every raw point of every scene counts once, through the voxel it fell into; voxel labels play
    no part, so mixed voxels cost what they cost.

    Parameters
    ----------
    model
        Maps a SparseTensor to voxel logits [N, C]. Its train/eval mode is restored afterwards.
    batches
        Batches with point labels; each scene in exactly one of them.
    label_map
        Classes of the labels and of the logits.
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
        If a scene comes twice, has no labels, or if there is no scene at all.
    """
    confusion = ConfusionMatrix(label_map.num_classes)
    scene_ids: list[str] = []
    seen: set[str] = set()
    for batch in batches:
        targets = _targets(batch)
        for scene_id, pred, target in zip(
            batch.scene_ids, predict_points(model, batch), targets, strict=True
        ):
            if scene_id in seen:
                raise ValueError(f"scene {scene_id} comes twice; every scene counts once")
            seen.add(scene_id)
            scene_ids.append(scene_id)
            confusion.update(pred, target)
            if on_scene is not None:
                on_scene(scene_id, pred, target)
    if not scene_ids:
        raise ValueError("there is no scene to evaluate: batches is empty")
    return SegReport.of(confusion, label_map.names, PROTOCOL, rule, scene_ids, split)


def _targets(batch: SegBatch) -> list[np.ndarray]:
    if batch.point_labels is None:
        raise ValueError(
            f"no labels to score against in {', '.join(batch.scene_ids)} (a test split?); "
            "export the predictions instead"
        )
    labels = batch.point_labels.cpu().numpy()
    return np.split(labels, np.cumsum(batch.point_counts)[:-1])
