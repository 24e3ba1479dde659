"""From batches to one prediction per scene: by a single view, or by the sum over all views.

The votes of a point are the logits of the voxels that it fell into, one of each view, summed in
float32 in the order of the views. They are kept on the host: 4 bytes per raw point and class of the
scenes in work, besides as many per voxel of the view that is added. What the model needs is that of
one view, or of one tile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from pointseg.data import SegBatch, collate
from pointseg.evaluation.inference import predict_logits, predict_points
from pointseg.evaluation.protocol import SINGLE_PASS, Protocol
from pointseg.evaluation.views import voxelized_views

if TYPE_CHECKING:
    from pointseg.data import PointCloud

_CHUNK_POINTS = 1 << 18  # bounds the temporary rows of logits, whatever the scene


@dataclass(frozen=True, eq=False)
class ScenePrediction:
    """One label for every raw point of a scene.

    Attributes
    ----------
    labels : int16 [P]
        Train ids, points in the order of the file, without ``context``.
    target : int64 [P] or None
        The true ones, where the scene has them.
    """

    scene_id: str
    labels: np.ndarray
    target: np.ndarray | None


@dataclass(frozen=True, eq=False)
class SceneVotes:
    """What all views of a scene say about its raw points.

    Attributes
    ----------
    logits : float32 [P, C]
        Sums over the views.
    num_views : int
    target : int64 [P] or None
    """

    scene_id: str
    logits: np.ndarray
    num_views: int
    target: np.ndarray | None

    def labels(self) -> np.ndarray:
        """int16 [P], the class with the largest sum; ties go to the lower class."""
        return self.logits.argmax(axis=1).astype(np.int16)

    def scores(self) -> np.ndarray:
        """float16 [P, C], softmax of the mean over the views."""
        scores = torch.softmax(torch.from_numpy(self.logits) / self.num_views, dim=1)
        return scores.half().numpy()


def predict_scenes(
    model: nn.Module, batches: Iterable[SegBatch], protocol: Protocol = SINGLE_PASS
) -> Iterator[ScenePrediction]:
    """The prediction of every scene, as soon as its last view has come.

    Parameters
    ----------
    batches
        Every scene as many times as ``protocol.views`` has views, in their order, such as
        `ViewedScenes` gives them.

    Raises
    ------
    ValueError
        If a scene has too few views in the end, or as `predict_points`.
    """
    if len(protocol.views) > 1:
        for votes in vote_scenes(model, batches, protocol):
            yield ScenePrediction(votes.scene_id, votes.labels(), votes.target)
        return
    for batch in batches:  # labels are spread over the points instead of logits
        predictions = predict_points(model, batch, protocol.tiling)
        for scene_id, labels, target in zip(
            batch.scene_ids, predictions, _targets(batch), strict=True
        ):
            yield ScenePrediction(scene_id, labels, target)


def vote_scenes(
    model: nn.Module, batches: Iterable[SegBatch], protocol: Protocol = SINGLE_PASS
) -> Iterator[SceneVotes]:
    """As `predict_scenes`, with the sums of the logits."""
    num_views = len(protocol.views)
    waiting: dict[str, tuple[Tensor, int]] = {}  # sums so far, and of how many views
    for batch in batches:
        logits = predict_logits(model, batch.voxels, protocol.tiling).float()
        rows = torch.split(batch.point_to_voxel.cpu(), list(batch.point_counts))
        for scene_id, own, target in zip(batch.scene_ids, rows, _targets(batch), strict=True):
            sums, seen = waiting.pop(scene_id, (None, 0))
            if sums is None:
                sums = torch.zeros(len(own), logits.shape[1])
            _add_rows(sums, logits, own)
            if seen + 1 < num_views:
                waiting[scene_id] = sums, seen + 1
            else:
                yield SceneVotes(scene_id, sums.numpy(), num_views, target)
    if waiting:
        scene_id, (_, seen) = next(iter(waiting.items()))
        raise ValueError(
            f"scene {scene_id} came in {seen} of {num_views} views; give every scene in every view "
            "of the protocol (ViewedScenes)"
        )


def predict_cloud(
    model: nn.Module,
    cloud: PointCloud,
    voxel_size_m: float,
    features: Sequence[str],
    protocol: Protocol = SINGLE_PASS,
) -> np.ndarray:
    """int16 [P] train ids of a cloud's own points; voxel size and features are the model's."""
    (scene,) = predict_scenes(model, _batches(cloud, voxel_size_m, features, protocol), protocol)
    return scene.labels


def vote_cloud(
    model: nn.Module,
    cloud: PointCloud,
    voxel_size_m: float,
    features: Sequence[str],
    protocol: Protocol = SINGLE_PASS,
) -> SceneVotes:
    """As `predict_cloud`, with the sums of the logits."""
    (votes,) = vote_scenes(model, _batches(cloud, voxel_size_m, features, protocol), protocol)
    return votes


def _batches(
    cloud: PointCloud, voxel_size_m: float, features: Sequence[str], protocol: Protocol
) -> Iterator[SegBatch]:
    for scene in voxelized_views(cloud, protocol.views, voxel_size_m, features):
        yield collate([scene])


def _add_rows(sums: Tensor, values: Tensor, rows: Tensor) -> None:
    """``sums += values[rows]`` a part at a time."""
    for part, own in zip(sums.split(_CHUNK_POINTS), rows.split(_CHUNK_POINTS), strict=True):
        part += values[own]


def _targets(batch: SegBatch) -> list[np.ndarray] | list[None]:
    if batch.point_labels is None:
        return [None] * batch.num_scenes
    labels = batch.point_labels.cpu().numpy()
    return np.split(labels, np.cumsum(batch.point_counts)[:-1])
