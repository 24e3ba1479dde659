"""Training scenes that cannot be read: left out, up to a limit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from numpy.typing import NDArray

from pointseg.data import BrokenScene, SceneDataset


class BrokenScenes:
    """The distinct scenes that this process could not read so far, and how many it may."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._messages: dict[str, str] = {}

    def all(self) -> tuple[BrokenScene, ...]:
        """In the order in which they were found."""
        return tuple(BrokenScene(name, text) for name, text in self._messages.items())

    def add(self, broken: Iterable[BrokenScene]) -> dict[str, str]:
        """Count scenes; those not counted before come back as scene id -> message.

        A ValueError lists all of them beyond the limit.
        """
        new: dict[str, str] = {}
        for scene in broken:
            if scene.scene_id not in self._messages:
                self._messages[scene.scene_id] = new[scene.scene_id] = scene.message
        if len(self._messages) > self.limit:
            raise ValueError(
                f"{len(self._messages)} training scenes cannot be read, "
                f"data.max_broken_scenes = {self.limit}:\n"
                + "\n".join(f"  {name}: {text}" for name, text in self._messages.items())
            )
        return new

    def numbers(self) -> dict[str, float]:
        """For the log: their number, where some are allowed."""
        return {"broken_scenes": float(len(self._messages))} if self.limit else {}


def readable_labels(scenes: SceneDataset, limit: int) -> Iterator[NDArray | None]:
    """The labels of all scenes; up to ``limit`` that cannot be read are left out."""
    broken = BrokenScenes(limit)
    for index in range(len(scenes)):
        cloud = scenes.cloud_or_broken(index) if limit else scenes.point_cloud(index)
        if isinstance(cloud, BrokenScene):
            broken.add([cloud])
        else:
            yield cloud.own().labels


def scene_sizes(scenes: SceneDataset, limit: int) -> list[int]:
    """The points of every scene, which are not read for it; 0 for up to ``limit`` broken ones."""
    broken = BrokenScenes(limit)
    return [_size(scenes, index, broken) for index in range(len(scenes))]


def _size(scenes: SceneDataset, index: int, broken: BrokenScenes) -> int:
    try:
        return scenes.num_points(index)
    except (ValueError, OSError) as error:
        if not broken.limit:
            raise
        broken.add([BrokenScene(scenes.scene_ids[index], str(error))])
        return 0
