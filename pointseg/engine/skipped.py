"""Steps that are left out because a batch gave no usable gradient, and what is kept of them."""

from __future__ import annotations

import dataclasses
import pickle
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pointseg.data import SegBatch
from pointseg.engine.random_state import get_random_state
from pointseg.engine.step_numbers import scenes_of
from pointseg.files import written_whole
from pointseg.machine import release_freed_memory
from pointseg.sparse import SparseTensor, VoxelGrid

MAX_FILES = 10
"""Reproducers that each rank keeps of a run; later steps are logged only."""


class Outcome(IntEnum):
    """How the passes of a step ended on a rank."""

    DONE = 0
    NOT_FINITE = 1
    """Loss or gradient is nan or infinite."""
    OUT_OF_MEMORY = 2
    BROKEN = 3
    """Any other error, which no step is left out for."""

    @staticmethod
    def of(error: Exception | None) -> Outcome:
        """What is known before any number is read."""
        if error is None:
            return Outcome.DONE
        # On the host torch has no type of its own for it.
        is_memory = isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
            isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
        )
        return Outcome.OUT_OF_MEMORY if is_memory else Outcome.BROKEN


@dataclass(frozen=True)
class SkippedStep:
    """All that a step saw, to take it again: batches, random state, and where its weights are."""

    step: int
    """Optimiser steps done before it."""
    rank: int
    reason: str
    batches: tuple[SegBatch, ...]
    """Of this rank, on the host."""
    random_state: dict[str, Any]
    """At the beginning of the step, see :func:`pointseg.engine.random_state.set_random_state`."""
    checkpoint: str
    """The last checkpoint written before it; empty where there was none."""
    checkpoint_step: int
    """Steps done when that was written; the nearer to ``step``, the more alike the weights."""


def save_skipped_step(skipped: SkippedStep, folder: Path) -> Path | None:
    """Write ``step_000123_rank0.pt`` into ``folder``; None where the rank has enough there.

    The number is that of the step; one that is skipped again gets ``-2`` and so on.
    """
    stem = f"step_{skipped.step + 1:06d}_rank{skipped.rank}"
    present = {path.name for path in folder.glob(f"step_*_rank{skipped.rank}*.pt")}
    if len(present) >= MAX_FILES:
        return None
    names = (f"{stem}.pt", *(f"{stem}-{number}.pt" for number in range(2, MAX_FILES + 2)))
    path = folder / next(name for name in names if name not in present)
    raw = {field.name: getattr(skipped, field.name) for field in dataclasses.fields(skipped)}
    with written_whole(path) as temporary:
        torch.save({**raw, "batches": [_packed(batch) for batch in skipped.batches]}, temporary)
    return path


def load_skipped_step(path: Path) -> SkippedStep:
    """Read what :func:`save_skipped_step` wrote; no code from the file is run."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        raw = torch.load(path, map_location="cpu", weights_only=True)
        batches = tuple(_unpacked(batch) for batch in raw["batches"])
        return SkippedStep(**{**raw, "batches": batches})
    # What unpickling damaged files raises is not told.
    except (RuntimeError, EOFError, pickle.PickleError, LookupError, TypeError) as error:
        raise ValueError(f"{path}: not a readable skipped step ({error})") from error


def release_memory_of(error: BaseException, device: torch.device) -> None:
    """Let go of the tensors that the frames of ``error`` hold, and of freed memory."""
    traceback.clear_frames(error.__traceback__)
    if device.type == "cuda":
        torch.cuda.empty_cache()
    else:
        release_freed_memory()


@dataclass(frozen=True)
class StepStart:
    """What the passes of a step change, as it was before them."""

    buffers: tuple[tuple[Tensor, Tensor], ...]
    """Those of the model (statistics of norms, codes), each with its values."""
    random_state: dict[str, Any]

    @staticmethod
    def of(model: nn.Module) -> StepStart:
        buffers = tuple((buffer, buffer.clone()) for buffer in model.buffers())
        return StepStart(buffers, get_random_state())

    @torch.no_grad()
    def restore_buffers(self) -> None:
        for buffer, value in self.buffers:
            buffer.copy_(value)


def describe_failure(
    outcome: Outcome, batches: Sequence[SegBatch], error: Exception | None, problem: str
) -> str:
    """What went wrong on this rank, in which scenes."""
    what = problem or "loss or gradient is not finite"
    if outcome is Outcome.OUT_OF_MEMORY:
        what = f"out of memory ({str(error).strip().partition(chr(10))[0]})"
    scenes = f"(scenes {', '.join(scenes_of(batches))})"
    broken = _scenes_with_broken_features(batches)
    hint = f"; nan or infinity in the features of {', '.join(broken)}" if broken else ""
    return f"{what} {scenes}{hint}"


def _scenes_with_broken_features(batches: Sequence[SegBatch]) -> list[str]:
    found = []
    for batch in batches:
        broken = ~torch.isfinite(batch.voxels.feats).all(dim=1)
        scenes = batch.voxels.grid.coords[:, 0][broken].unique().tolist()
        found += [batch.scene_ids[scene] for scene in scenes]
    return found


def _packed(batch: SegBatch) -> dict[str, Any]:
    return {
        "coords": batch.voxels.grid.coords.cpu(),
        "feats": batch.voxels.feats.cpu(),
        "voxel_labels": batch.voxel_labels.cpu(),
        "point_to_voxel": batch.point_to_voxel.cpu(),
        "point_labels": None if batch.point_labels is None else batch.point_labels.cpu(),
        "point_counts": list(batch.point_counts),
        "scene_ids": list(batch.scene_ids),
    }


def _unpacked(raw: dict[str, Any]) -> SegBatch:
    coords: Tensor = raw["coords"]
    grid = VoxelGrid(coords, num_scenes=len(raw["scene_ids"]))
    return SegBatch(
        voxels=SparseTensor(raw["feats"], grid),
        voxel_labels=raw["voxel_labels"],
        point_to_voxel=raw["point_to_voxel"],
        point_labels=raw["point_labels"],
        point_counts=tuple(raw["point_counts"]),
        scene_ids=tuple(raw["scene_ids"]),
    )
