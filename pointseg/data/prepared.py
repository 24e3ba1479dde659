"""Prepared scenes as a reader: a folder of them stands on its own, without the raw files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pointseg.data.cache import SceneCache
from pointseg.data.catalog import ALL
from pointseg.data.types import PointCloud


class PreparedReader:
    """The scenes of a :class:`SceneCache`, memory-mapped; a ``SceneReader``.

    Splits are those that were recorded when the scenes were prepared.
    """

    def __init__(self, folder: Path | str) -> None:
        self.cache = SceneCache(folder)

    @property
    def root(self) -> Path:
        return self.cache.folder

    @property
    def dataset(self) -> str:
        """The data set that the scenes were prepared from."""
        return str(self._index()["dataset"])

    @property
    def settings(self) -> dict[str, Any]:
        """Those that the scenes were prepared with, by name."""
        return dict(self._index()["settings"])

    def listed(self, split: str) -> tuple[str, ...]:
        if split == ALL:
            return self.cache.scene_ids()
        splits = self._index()["splits"]
        if split not in splits:
            raise ValueError(
                f"split must be one of {', '.join((*splits, ALL))}, got {split!r} ({self.root} "
                "has no list of it)"
            )
        return tuple(splits[split])

    def has(self, scene_id: str) -> bool:
        return (self.root / scene_id / "scene.json").is_file()

    def num_points(self, scene_id: str) -> int:
        return self.cache.num_points(scene_id)

    def source_files(self, scene_id: str) -> dict[str, Path]:
        return self.cache.files(scene_id)

    def read_scene(self, scene_id: str) -> PointCloud:
        return self.cache.load(scene_id)

    def _index(self) -> dict[str, Any]:
        index = self.cache.read_index()
        if index is None:
            raise FileNotFoundError(f"{self.root}: no prepared scenes (prepared.json)")
        return index
