"""Choices of a scene as a file: ``<scene>.choices.npz``.

For every stage ``S`` of the model with codebook blocks it has three arrays:

    S/entry     uint8 [P]    chosen entry of each raw point
    S/entropy   float32 [P]  entropy of the choice in nats, 0..ln D
    S/regions   str [D]      what each entry looks at

Points are in the order of the scene's file. ``numpy.load`` reads it without pickle.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pointseg.evaluation.choices import MAX_ENTRIES, StageChoice
from pointseg.files import written_whole

CHOICES_SUFFIX = ".choices.npz"


def choices_path(folder: Path, scene_id: str) -> Path:
    """The file that `write_choices` writes for a scene."""
    return Path(folder) / f"{scene_id}{CHOICES_SUFFIX}"


def write_choices(
    folder: Path, scene_id: str, choices: Mapping[str, StageChoice], overwrite: bool = False
) -> Path:
    """Write the choices of a scene, compressed; returns the path.

    Raises
    ------
    ValueError
        If there is no stage, or stages have different numbers of points.
    FileExistsError
        If the file is there and ``overwrite`` is not set.
    """
    path = choices_path(folder, scene_id)
    if len({choice.num_points for choice in choices.values()}) != 1:
        sizes = {stage: choice.num_points for stage, choice in choices.items()}
        raise ValueError(f"choices of {scene_id}: expected stages of equal length, got {sizes}")
    arrays: dict[str, np.ndarray] = {}
    for stage, choice in choices.items():
        arrays[f"{stage}/entry"] = choice.entry
        arrays[f"{stage}/entropy"] = choice.entropy
        arrays[f"{stage}/regions"] = np.array(choice.regions, dtype=np.str_)
    with written_whole(path, overwrite) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return path


def read_choices(source: Path | BinaryIO, name: str | None = None) -> dict[str, StageChoice]:
    """Stages of a choices file in their order, stage -> `StageChoice`.

    ``name`` is what messages call the file. Raises ValueError for anything that `write_choices`
    would not have written.
    """
    name = name or str(source)
    try:
        with np.load(source, allow_pickle=False) as file:
            arrays = dict(file)
    except (OSError, EOFError, ValueError, TypeError, zipfile.BadZipFile) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{name}: not a readable npz of choices ({error})") from error
    stages = dict.fromkeys(key.rpartition("/")[0] for key in arrays)
    expected = {f"{stage}/{kind}" for stage in stages for kind in ("entry", "entropy", "regions")}
    if not stages or set(arrays) != expected:
        odd = sorted(set(arrays) ^ expected)
        raise ValueError(
            f"{name}: expected <stage>/entry, <stage>/entropy and <stage>/regions of each stage; "
            f"missing or unknown: {', '.join(odd[:3]) or 'every stage'}; write it again with "
            "`pointseg export-preds --choices`"
        )
    return {stage: _checked(arrays, stage, name) for stage in stages}


def _checked(arrays: Mapping[str, np.ndarray], stage: str, name: str) -> StageChoice:
    entry, entropy, regions = (
        arrays[f"{stage}/{kind}"] for kind in ("entry", "entropy", "regions")
    )
    if entry.dtype != np.uint8 or entry.ndim != 1:
        raise ValueError(f"{name}: {stage}/entry: expected uint8 [P], got {_what(entry)}")
    if entropy.dtype != np.float32 or entropy.shape != entry.shape:
        raise ValueError(
            f"{name}: {stage}/entropy: expected float32 [{len(entry)}], got {_what(entropy)}"
        )
    if regions.dtype.kind != "U" or regions.ndim != 1 or not 1 <= len(regions) <= MAX_ENTRIES:
        raise ValueError(f"{name}: {stage}/regions: expected text [D], got {_what(regions)}")
    if entry.size and int(entry.max()) >= len(regions):
        raise ValueError(
            f"{name}: {stage}/entry: expected 0..{len(regions) - 1}, got {int(entry.max())}"
        )
    if not np.isfinite(entropy).all():
        raise ValueError(f"{name}: {stage}/entropy holds nan or infinity")
    return StageChoice(entry, entropy, tuple(regions.tolist()))


def _what(array: np.ndarray) -> str:
    return f"{array.dtype} {list(array.shape)}"
