"""How many points each scene of a split has: what submissions are checked against."""

from __future__ import annotations

from pointseg.data.catalog import SceneReader
from pointseg.data.registry import listed_scenes


def split_point_counts(reader: SceneReader, split: str) -> dict[str, int | None]:
    """Points of every scene that ``split`` lists; None for scenes that are not there."""
    return {
        scene_id: _num_points(reader, scene_id) for scene_id in listed_scenes(reader.listed, split)
    }


def _num_points(reader: SceneReader, scene_id: str) -> int | None:
    if not reader.has(scene_id):
        return None
    try:
        return reader.num_points(scene_id)
    except FileNotFoundError:  # a folder without the scene's file; the check lists all such scenes
        return None
