"""From a batch of voxels to logits of every voxel, and to one label for every raw point."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from pointseg.evaluation.tiling import Tiling, in_tiles

if TYPE_CHECKING:
    from pointseg.data import SegBatch
    from pointseg.sparse import SparseTensor


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Run a block with ``model`` in eval mode and no gradients; every module's mode comes back."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def voxel_logits(model: nn.Module, voxels: SparseTensor) -> Tensor:
    """The model's logits [N, C] in eval mode, in its dtype, on the device of ``voxels``.

    Raises
    ------
    ValueError
        If the model's output is not [N, C], or holds nan or infinity (a diverged model has no
        most likely class, and argmax would hide it).
    """
    with evaluation_mode(model):
        logits: Tensor = model(voxels)
    if logits.ndim != 2 or logits.shape[0] != voxels.num_voxels:
        raise ValueError(
            f"the model must return one row of logits per voxel, [{voxels.num_voxels}, C]; "
            f"got {tuple(logits.shape)}"
        )
    if not bool(torch.isfinite(logits).all()):
        raise ValueError(
            "the model's logits hold nan or infinity: it has diverged, or its input features do"
        )
    return logits


def predict_voxels(model: nn.Module, voxels: SparseTensor) -> Tensor:
    """The most likely class of every voxel.

    Returns
    -------
    int16 [N] on the device of ``voxels``; ties go to the lower class.

    Raises
    ------
    ValueError
        As `voxel_logits`.
    """
    if voxels.num_voxels == 0:
        return torch.zeros(0, dtype=torch.int16, device=voxels.feats.device)
    return voxel_logits(model, voxels).argmax(dim=1).to(torch.int16)


def predict_logits(model: nn.Module, voxels: SparseTensor, tiling: Tiling | None = None) -> Tensor:
    """Logits [N, C] on the host, computed on the model's device, where asked in tiles."""
    return _of_every_voxel(voxel_logits, model, voxels, tiling)


def predict_points(
    model: nn.Module, batch: SegBatch, tiling: Tiling | None = None
) -> list[np.ndarray]:
    """One prediction for every raw point of every scene of ``batch``.

    A point takes the label of the voxel it fell into (``batch.point_to_voxel``). The batch, or one
    tile of it after the other, is moved to the model's device. Besides the model's own memory this
    needs 2 bytes a point: labels are chosen per voxel and only labels are spread over the points.

    Returns
    -------
    list of int16 [P_i], one array of train ids per scene, points in the order of the file.
    """
    voxel_classes = _of_every_voxel(predict_voxels, model, batch.voxels, tiling)
    point_classes = voxel_classes[batch.point_to_voxel.cpu()]
    if point_classes.shape[0] != sum(batch.point_counts):
        raise ValueError(
            f"batch.point_counts adds up to {sum(batch.point_counts)} points, "
            f"batch.point_to_voxel has {point_classes.shape[0]}"
        )
    return [part.numpy() for part in torch.split(point_classes, list(batch.point_counts))]


def _of_every_voxel(
    function: Callable[[nn.Module, SparseTensor], Tensor],
    model: nn.Module,
    voxels: SparseTensor,
    tiling: Tiling | None,
) -> Tensor:
    """``function(model, voxels)`` on the model's device, brought to the host."""
    device = _device_of(model, default=voxels.feats.device)

    def on_device(part: SparseTensor) -> Tensor:
        return function(model, part.to(device)).cpu()

    return on_device(voxels) if tiling is None else in_tiles(on_device, voxels, tiling)


def _device_of(model: nn.Module, default: torch.device) -> torch.device:
    parameter = next(model.parameters(), None)
    return default if parameter is None else parameter.device
