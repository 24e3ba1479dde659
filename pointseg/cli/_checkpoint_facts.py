"""What a checkpoint says about itself, for `pointseg info`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from pointseg.engine.checkpoint import LAST_NAME, Checkpoint, load_checkpoint
from pointseg.engine.checkpoint_folder import find_checkpoint
from pointseg.engine.fingerprint import Fingerprint


def checkpoint_facts(path: Path) -> dict[str, Any]:
    """Facts of a checkpoint, or of a run directory's last one, as plain values by name.

    Raises ValueError and FileNotFoundError as `find_checkpoint` and `load_checkpoint`.
    """
    path = find_checkpoint(path.expanduser(), prefer=LAST_NAME)
    checkpoint = load_checkpoint(path)
    identity = Fingerprint.of(checkpoint)
    best = checkpoint.best_metric
    return {
        "checkpoint": str(path),
        "size": f"{path.stat().st_size:,} bytes",
        "format": f"{checkpoint.format_version}, written by pointseg {identity.pointseg}",
        "versions": checkpoint.versions,
        "configuration": checkpoint.config.get("name"),
        "step": f"{checkpoint.step} of {checkpoint.config.get('train', {}).get('steps', '?')}",
        "position": f"scene {checkpoint.index_in_epoch} of epoch {checkpoint.epoch}",
        "evaluated at step": checkpoint.evaluated_step or None,
        "metrics": checkpoint.metrics,
        "best": None if best is None else f"{checkpoint.best_metric_name} {best:.4f}",
        "model": identity.model,
        "model options": identity.model_options,
        **_sizes(checkpoint),
        "classes": list(identity.classes),
        "label map": checkpoint.label_map.get("name"),
        "features": list(identity.features),
        "input channels": identity.in_channels,
        "voxel size": f"{identity.voxel_size_m} m",
    }


def _sizes(checkpoint: Checkpoint) -> dict[str, str]:
    """Entries, numbers and bytes of each part that has tensors."""
    parts = {
        "weights": checkpoint.model,
        "moving average": checkpoint.average,
        "optimizer": checkpoint.optimizer,
    }
    sizes = {}
    for name, part in parts.items():
        tensors = _tensors(part)
        if tensors:
            sizes[name] = (
                f"{len(tensors):,} tensors, {sum(t.numel() for t in tensors):,} numbers, "
                f"{sum(t.numel() * t.element_size() for t in tensors):,} bytes"
            )
    return sizes


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    inner = value.values() if isinstance(value, dict) else value
    if isinstance(inner, (str, bytes)) or not hasattr(inner, "__iter__"):
        return []
    return [tensor for item in inner for tensor in _tensors(item)]
