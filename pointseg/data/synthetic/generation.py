"""Filling a folder with generated scenes: whose folder it is, whole files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pointseg.files import replace_text


def claim(folder: Path, name: str, manifest: Mapping[str, object], what: str) -> None:
    """Check that a folder is empty or holds scenes of the same kind, and mark it.

    Args:
        folder: where scenes are to be written; created where missing.
        name: of the file in it that records their origin.
        manifest: what that file holds; equal manifests give equal scenes.
        what: the scenes, for errors.

    Raises:
        ValueError: the folder holds something else, or scenes of another manifest.
    """
    path = folder / name
    wanted = json.dumps(manifest, indent=1)
    if path.is_file():
        if json.loads(path.read_text()) != json.loads(wanted):
            raise ValueError(
                f"{folder} holds {what} of another generator version, seed, format or resolution "
                f"(see {name} there); give another --out, or delete that folder first"
            )
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(
            f"{folder} is not empty and holds no {name}: it was not made by this command; "
            "give an --out that is empty or does not exist"
        )
    folder.mkdir(parents=True, exist_ok=True)
    replace_text(path, wanted)


def check_workers(workers: int) -> None:
    """ValueError for a number of processes below one."""
    if workers < 1:
        raise ValueError(f"workers: expected at least 1, got {workers}")
