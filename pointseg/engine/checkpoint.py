"""Checkpoints: written whole or not at all, read without running code from the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pointseg.data.labels import LabelMap
from pointseg.engine.sealed_file import Damaged, load_sealed, sealed_file

FORMAT_VERSION = 2
"""1: torch files; 2: sealed, with a fingerprint and the name of the best metric."""
_SEALED_SINCE = 2
LAST_NAME = "last.pt"
BEST_NAME = "best.pt"
CHECKPOINT_DIR = "checkpoints"


@dataclass(frozen=True)
class Checkpoint:
    """All it takes to go on with a run, or to use its model.

    Every value is a tensor or a plain Python value, and no tensor's size depends on a batch: model
    and average hold parameters and normalisation statistics, the optimiser holds its moments.
    """

    model: dict[str, Any]
    config: dict[str, Any]
    label_map: dict[str, Any]
    in_channels: int
    step: int = 0
    """Optimiser steps done; the schedule is a function of it."""
    optimizer: dict[str, Any] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)
    """Of the loss, where gradients are float16."""
    average: dict[str, Any] | None = None
    """Exponential moving average of the model, where the run keeps one."""
    epoch: int = 0
    index_in_epoch: int = 0
    """Position in the stream of training scenes: the next scene to see."""
    random_state: dict[str, Any] = field(default_factory=dict)
    """Of rank 0, or the only process."""
    other_random_states: list[dict[str, Any]] = field(default_factory=list)
    """Of ranks 1 and on."""
    skipped_steps: int = 0
    """Steps that were left out, none of which counts as a step."""
    skipped_in_a_row: int = 0
    """Those since the last step that was done."""
    evaluated_step: int = 0
    """The last step after which the model was evaluated."""
    best_metric: float | None = None
    """The best value so far of what ``best_metric_name`` names."""
    best_metric_name: str = "mean_iou"
    metrics: dict[str, float] = field(default_factory=dict)
    """The last validation metrics."""
    versions: dict[str, str] = field(default_factory=dict)
    """Of Python and the packages that wrote it."""
    fingerprint: dict[str, Any] = field(default_factory=dict)
    """What weights depend on, see `pointseg.engine.fingerprint`."""
    format_version: int = FORMAT_VERSION


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write ``path`` atomically: to a file beside it, flushed to disk, then renamed over it.

    NotSaved, an OSError, names the file, its size and the free space; nothing is left behind then.
    """
    with written_checkpoint(checkpoint, path):
        pass


@contextmanager
def written_checkpoint(checkpoint: Checkpoint, path: Path) -> Iterator[Path]:
    """As `save_checkpoint`; the block is given the new file, which is on disk by then and has not
    yet taken the name ``path``.
    """
    # dataclasses.asdict would copy every tensor.
    content = {f.name: getattr(checkpoint, f.name) for f in fields(checkpoint)}
    with sealed_file(content, path, checkpoint.step) as temporary:
        yield temporary


def load_checkpoint(path: Path, map_location: str | torch.device = "cpu") -> Checkpoint:
    """Read a checkpoint of this format or an older one.

    ValueError names the file where it is damaged, be it by a single bit, foreign, or of a newer
    format.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint")
    try:
        with open(path, "rb") as stream:
            raw, is_sealed = load_sealed(stream, map_location)
    except Damaged as error:
        raise ValueError(
            f"{path}: not a readable checkpoint ({error}); "
            f"another one of the run may be beside it ({LAST_NAME}, {BEST_NAME}, step_*.pt)"
        ) from error
    if not isinstance(raw, dict) or "format_version" not in raw:
        raise ValueError(f"{path}: not a checkpoint of pointseg (it has no format version)")
    version = raw["format_version"]
    if version not in range(1, FORMAT_VERSION + 1):
        raise ValueError(
            f"{path}: checkpoint format {version}, this version reads 1 to {FORMAT_VERSION}: "
            "use the version of pointseg that wrote it"
        )
    if version >= _SEALED_SINCE and not is_sealed:
        raise ValueError(f"{path}: not a readable checkpoint (its seal is cut off)")
    known = {f.name for f in fields(Checkpoint)}
    missing = {"model", "config", "label_map", "in_channels"} - raw.keys()
    if missing:
        raise ValueError(f"{path}: checkpoint without {', '.join(sorted(missing))}")
    return Checkpoint(**{key: value for key, value in raw.items() if key in known})


def pack_label_map(label_map: LabelMap) -> dict[str, Any]:
    """A label map as plain values, for checkpoints and JSON."""
    return {
        "name": label_map.name,
        "names": list(label_map.names),
        "raw_ids": [int(raw_id) for raw_id in label_map.raw_ids],
        "palette": np.asarray(label_map.palette).tolist(),
        "unlabelled": label_map.unlabelled,
    }


def unpack_label_map(packed: dict[str, Any]) -> LabelMap:
    """The label map that :func:`pack_label_map` was given."""
    return LabelMap(
        name=packed["name"],
        names=tuple(packed["names"]),
        raw_ids=tuple(packed["raw_ids"]),
        palette=np.array(packed["palette"], dtype=np.uint8),
        unlabelled=packed.get("unlabelled", 0),
    )
