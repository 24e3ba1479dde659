"""Class scores of a scene as a file: ``<scene>.scores.npy``, float16 [P, C].

Row p is the softmax over the C classes of raw point p, in the order of the scene's file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pointseg.files import written_whole

SCORES_SUFFIX = ".scores.npy"


def scores_path(folder: Path, scene_id: str) -> Path:
    """The file that `write_scores` writes for a scene."""
    return Path(folder) / f"{scene_id}{SCORES_SUFFIX}"


def write_scores(folder: Path, scene_id: str, scores: np.ndarray, overwrite: bool = False) -> Path:
    """Write the scores of a scene; returns the path.

    Raises
    ------
    TypeError
        If they are not float16 [P, C].
    FileExistsError
        If the file is there and ``overwrite`` is not set.
    """
    if scores.dtype != np.float16 or scores.ndim != 2:
        raise TypeError(
            f"scores of {scene_id}: expected float16 [P, C], got {scores.dtype} "
            f"{list(scores.shape)}"
        )
    path = scores_path(folder, scene_id)
    with written_whole(path, overwrite) as temporary, temporary.open("wb") as file:
        np.save(file, scores, allow_pickle=False)
    return path
