"""Checkpoints: written whole or not at all, read without running code from the file."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pointseg.data.labels import LabelMap

FORMAT_VERSION = 1
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
    """The best validation mIoU so far."""
    metrics: dict[str, float] = field(default_factory=dict)
    """The last validation metrics."""
    versions: dict[str, str] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write ``path`` atomically: to a file beside it, flushed to disk, then renamed over it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as stream:
            torch.save(_shallow_dict(checkpoint), stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_directory(path.parent)


def load_checkpoint(path: Path, map_location: str | torch.device = "cpu") -> Checkpoint:
    """Read a checkpoint; ValueError names the file where it is damaged, foreign, or of a newer
    format.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint")
    try:
        raw = torch.load(path, map_location=map_location, weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"{path}: not a readable checkpoint ({str(error).splitlines()[0]}); "
            f"another one of the run may be beside it ({LAST_NAME}, {BEST_NAME})"
        ) from error
    if not isinstance(raw, dict) or "format_version" not in raw:
        raise ValueError(f"{path}: not a checkpoint of pointseg (it has no format version)")
    if raw["format_version"] != FORMAT_VERSION:
        raise ValueError(
            f"{path}: checkpoint format {raw['format_version']}, this version reads "
            f"{FORMAT_VERSION}: use the version of pointseg that wrote it"
        )
    known = {f.name for f in fields(Checkpoint)}
    missing = {"model", "config", "label_map", "in_channels"} - raw.keys()
    if missing:
        raise ValueError(f"{path}: checkpoint without {', '.join(sorted(missing))}")
    return Checkpoint(**{key: value for key, value in raw.items() if key in known})


def find_checkpoint(path: Path, prefer: str = LAST_NAME) -> Path:
    """The checkpoint that ``path`` means: itself if a file, or of a run directory ``prefer`` or
    else the other one.
    """
    if path.is_file():
        return path
    other = BEST_NAME if prefer == LAST_NAME else LAST_NAME
    candidates = [path / CHECKPOINT_DIR / name for name in (prefer, other)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    if path.is_dir():
        raise FileNotFoundError(
            f"{path}: no checkpoint in this run (looked for {CHECKPOINT_DIR}/{prefer})"
        )
    raise FileNotFoundError(f"{path}: no such run directory or checkpoint")


def load_weights(model: nn.Module, weights: dict[str, Any], source: str) -> None:
    """Load a state dict; a ValueError that names ``source`` lists what does not fit."""
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(
            f"{source} was written by another model than the configuration describes: {error}"
        ) from error


def _shallow_dict(checkpoint: Checkpoint) -> dict[str, Any]:
    # dataclasses.asdict would copy every tensor.
    return {f.name: getattr(checkpoint, f.name) for f in fields(checkpoint)}


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
