"""What a dataset is: a reader of its files, its classes, its splits and its benchmark."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pointseg.data.labels import LabelMap
from pointseg.data.types import PointCloud

ALL = "all"
"""The split of all scenes that are on disk."""


class SceneReader(Protocol):
    """The raw scenes below one root, by id.

    Made as ``reader(root, settings)``, which opens nothing; it can be sent to another process.
    A scene id is also the name of its label files: no path separators. A broken or missing file is
    a ValueError or FileNotFoundError that names the file and the remedy.
    """

    @property
    def root(self) -> Path: ...

    @property
    def settings(self) -> Any:
        """A frozen dataclass of plain values: what the reader makes of the files."""

    def listed(self, split: str) -> tuple[str, ...]:
        """The ids of a split in its order: of the official list, which may name scenes that are not
        on disk; where there is no list (and for :data:`ALL`), of what is on disk. ValueError for an
        unknown split, naming the known ones.
        """

    def has(self, scene_id: str) -> bool:
        """Whether the scene is on disk, be it complete or not."""

    def num_points(self, scene_id: str) -> int:
        """Points of a scene, without parsing them where the format allows that."""

    def source_files(self, scene_id: str) -> Mapping[str, Path]:
        """The files on disk that decide what :meth:`read_scene` returns, by name."""

    def read_scene(self, scene_id: str) -> PointCloud:
        """The scene, points in the order of its files; ``labels`` None where it has none."""


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset that can be opened by name.

    reader       makes the reader of a root
    settings     frozen dataclass of the reader's settings, all with defaults: ``data.options``
    label_map    its classes
    splits       names of its splits; ``a+b`` joins two
    benchmark    whose rule scores it and whose submissions it takes: a key of
                 ``pointseg.evaluation.BENCHMARKS``
    marks        glob patterns below a root, one of which is there where it holds raw scenes
    layout       of a root, for errors
    remedy       how to get the data, for errors; empty: by download
    prepared     whether scenes are parsed once and stored as arrays, or read from their files each
                 time, which are as fast
    prepared_in  folder of the root for those arrays; datasets of the same files have one each
    listed_as_found  whether splits have no lists: they are what is on disk, so that ``expected``
                 alone tells what is missing
    expected     scenes of each split in the complete release, for checks
    sensor_at_origin
                 whether the origin of every scene is the sensor that saw it
    """

    reader: Callable[[Path, Any], SceneReader]
    settings: type[Any]
    label_map: LabelMap
    splits: tuple[str, ...]
    benchmark: str
    marks: tuple[str, ...]
    layout: str
    remedy: str = ""
    prepared: bool = True
    prepared_in: str = "prepared"
    listed_as_found: bool = False
    expected: Mapping[str, int] | None = None
    sensor_at_origin: bool = False

    def num_in_release(self, split: str) -> int | None:
        """Scenes of a split (``a+b`` joins two) in the complete release; None: unknown."""
        counts = [(self.expected or {}).get(part) for part in split.split("+")]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    def is_raw(self, root: Path) -> bool:
        """Whether ``root`` holds raw scenes of this dataset."""
        return any(next(root.glob(mark), None) is not None for mark in self.marks)

    def open(self, root: Path, options: Mapping[str, Any] | None = None) -> SceneReader:
        """The reader of ``root``; an unknown or wrong option is a ValueError that names it."""
        return self.reader(root, build_settings(self.settings, options or {}))


def check_bool(name: str, value: object) -> None:
    """ValueError unless a setting is true or false: ``'false'`` would count as true."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, got {value!r}")


def build_settings(settings: type[Any], options: Mapping[str, Any]) -> Any:
    """``settings(**options)``, unknown names refused with the nearest valid one."""
    valid = [f.name for f in dataclasses.fields(settings)]
    for name in options:
        if name not in valid:
            close = difflib.get_close_matches(name, valid, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"no option {name!r}{hint} (valid: {', '.join(valid) or 'none'})")
    return settings(**options)
