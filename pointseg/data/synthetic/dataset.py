"""Generating a whole data set of synthetic rooms, in parallel and resumably."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pointseg.data.processes import in_processes
from pointseg.data.synthetic.camera import ScanSettings
from pointseg.data.synthetic.generation import check_workers, claim
from pointseg.data.synthetic.raycasting import load_open3d
from pointseg.data.synthetic.rooms import furnish
from pointseg.data.synthetic.scanner import Scan, scan_room
from pointseg.data.synthetic.writer import scene_files, write_meta, write_scene

GENERATOR_VERSION = 1
"""Raised whenever the same seed gives other bytes."""

MANIFEST = "synthetic_rooms.json"
FIRST_VALIDATION_ROOM = 4998
"""Index of the first validation room: the same rooms whatever the number of training rooms."""

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class RoomSet:
    """Which rooms to make: counts per split, the seed, and the scan's resolution.

    Raises:
        ValueError: a count is negative or larger than the scene ids can number.
    """

    train: int = 200
    val: int = 24
    seed: int = 0
    settings: ScanSettings = field(default_factory=ScanSettings)

    def __post_init__(self) -> None:
        if not 0 <= self.train <= FIRST_VALIDATION_ROOM:
            raise ValueError(f"train: expected 0..{FIRST_VALIDATION_ROOM} rooms, got {self.train}")
        limit = 10_000 - FIRST_VALIDATION_ROOM
        if not 0 <= self.val <= limit:
            raise ValueError(f"val: expected 0..{limit} rooms, got {self.val}")
        if self.seed < 0:
            raise ValueError(f"seed: expected a number >= 0, got {self.seed}")

    def scene_ids(self) -> dict[str, list[str]]:
        """Scene ids by split; ``test`` is empty."""
        first = FIRST_VALIDATION_ROOM
        return {
            "train": [scene_id(index) for index in range(self.train)],
            "val": [scene_id(index) for index in range(first, first + self.val)],
            "test": [],
        }

    def indices(self) -> list[int]:
        """Room indices of both splits."""
        first = FIRST_VALIDATION_ROOM
        return [*range(self.train), *range(first, first + self.val)]


@dataclass(frozen=True)
class RoomFormat:
    """How rooms are made and how they lie on disk.

    generator  what the manifest calls it, and its version: raised with every change of the bytes
    settings   how densely its rooms are scanned unless said otherwise
    folder     the folder of a room by its index, relative to the root
    generate   makes a room: (its folder, seed, index, settings) -> number of points; a function of
               a module, so that other processes can call it
    finish     writes what belongs to the whole set: (root, rooms)
    """

    generator: str
    version: int
    settings: ScanSettings
    folder: Callable[[int], Path]
    generate: Callable[[Path, int, int, ScanSettings], int]
    finish: Callable[[Path, RoomSet], None] | None = None

    def manifest(self, rooms: RoomSet) -> dict[str, object]:
        """What a folder of rooms records of its origin; equal manifests give equal rooms."""
        return {
            "generator": self.generator,
            "version": self.version,
            "seed": rooms.seed,
            "settings": asdict(rooms.settings),
        }


def scene_id(index: int) -> str:
    """ScanNet's form of a scene's name."""
    return f"scene{index:04d}_00"


def generate_scan(seed: int, index: int, settings: ScanSettings | None = None) -> Scan:
    """Furnish and scan room ``index`` of a seed; the same arrays every time.

    Raises:
        ImportError: open3d is missing; the message says what to install.
    """
    return scan_room(furnish(seed, index), seed, index, settings)


def generate_room(folder: Path, seed: int, index: int, settings: ScanSettings) -> int:
    """Generate one room and write its folder; returns the number of vertices."""
    scan = generate_scan(seed, index, settings)
    write_scene(folder, scene_files(folder.name, scan, settings.num_views))
    return len(scan.xyz_m)


SCANNET_ROOMS = RoomFormat(
    "pointseg synthetic rooms",
    GENERATOR_VERSION,
    ScanSettings(),
    folder=lambda index: Path("scans", scene_id(index)),
    generate=generate_room,
    finish=lambda root, rooms: write_meta(root, rooms.scene_ids()),
)
"""ScanNet's layout, with split lists and label table."""


def synthesize_rooms(
    root: str | os.PathLike[str],
    rooms: RoomSet | None = None,
    workers: int = 1,
    on_room: Callable[[int, int], None] | None = None,
    form: RoomFormat = SCANNET_ROOMS,
) -> int:
    """Make the rooms that ``root`` does not hold yet, then what belongs to the whole set.

    Args:
        root: folder to fill; created where missing.
        rooms: which rooms; the defaults of :class:`RoomSet` and of the format where None.
        workers: processes; the files do not depend on their number.
        on_room: called after each room with (rooms done, rooms wanted).
        form: what rooms, and in which layout.

    Returns:
        How many rooms were generated (the others were there).

    Raises:
        ValueError: ``root`` holds something else, or rooms of another format, version, seed or
            resolution.
        ImportError: open3d is missing.
    """
    rooms = rooms or RoomSet(settings=form.settings)
    check_workers(workers)
    folder = Path(root)
    claim(folder, MANIFEST, form.manifest(rooms), "synthetic rooms")
    for partial in folder.glob("*/.*.partial"):
        shutil.rmtree(partial)
    indices = rooms.indices()
    missing = [i for i in indices if not (folder / form.folder(i)).is_dir()]
    if missing:
        load_open3d()
    done = len(indices) - len(missing)
    jobs = [(folder / form.folder(i), rooms.seed, i, rooms.settings) for i in missing]
    for _ in in_processes(form.generate, jobs, workers):
        done += 1
        if on_room is not None:
            on_room(done, len(indices))
    if form.finish is not None:
        form.finish(folder, rooms)
    return len(missing)
