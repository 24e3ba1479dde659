"""How many points each scene of a split has: what submissions are checked against."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from pointseg.data.cache import SceneCache
from pointseg.data.scannet import ScanNetReader, SceneFiles, read_split


class SizedScenes(Protocol):
    """What is asked of a dataset's reader."""

    def listed(self, split: str) -> tuple[str, ...]:
        """The ids of a split, those that are not on disk among them."""

    def num_points(self, scene_id: str) -> int:
        """Points of a scene; FileNotFoundError where it is not on disk."""


def scene_sizes(reader: SizedScenes, split: str) -> dict[str, int | None]:
    """Scene id -> its points, for every scene listed in ``split``; None where it is not there."""
    return {scene_id: _size(reader, scene_id) for scene_id in reader.listed(split)}


def _size(reader: SizedScenes, scene_id: str) -> int | None:
    try:
        return reader.num_points(scene_id)
    except FileNotFoundError:  # the caller says what an absent scene means
        return None


class ScanNetSizes:
    """Sizes of scenes in ScanNet's layout, or prepared from it."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self._reader = ScanNetReader(root)
        self._cache = SceneCache(root)

    def listed(self, split: str) -> tuple[str, ...]:
        return read_split(self.root, split)

    def num_points(self, scene_id: str) -> int:
        if self._cache.read_index() is not None:
            return self._cache.load(scene_id).num_points
        folder = self._reader.find_scene(scene_id)
        if folder is None:
            raise FileNotFoundError(f"{self.root}: no scene {scene_id}")
        return num_mesh_vertices(SceneFiles.of(folder).mesh)


def num_mesh_vertices(path: Path) -> int:
    """The number of vertices that a ply file's header states; the rest is not read."""
    with path.open("rb") as file:
        for line in iter(lambda: file.readline(1024), b""):
            words = line.split()
            if words[:2] == [b"element", b"vertex"] and len(words) == 3 and words[2].isdigit():
                return int(words[2])
            if words == [b"end_header"]:
                break
    raise ValueError(f"{path}: no 'element vertex <count>' in its header; download the scene again")
