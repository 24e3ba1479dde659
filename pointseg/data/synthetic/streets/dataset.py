"""Generating a whole data set of synthetic streets, in parallel and resumably."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pointseg.data.processes import in_processes
from pointseg.data.semantickitti import SPLITS
from pointseg.data.synthetic.generation import check_workers, claim
from pointseg.data.synthetic.raycasting import load_open3d
from pointseg.data.synthetic.streets.scanner import StreetScanner
from pointseg.data.synthetic.streets.sensor import LidarSettings
from pointseg.data.synthetic.streets.street import build_street, plan_street
from pointseg.data.synthetic.streets.writer import (
    calib_text,
    poses_text,
    scan_paths,
    times_text,
    write_sweep,
)
from pointseg.files import replace_text

GENERATOR_VERSION = 1
"""Raised whenever the same seed gives other bytes."""

MANIFEST = "synthetic_streets.json"

TRAINING, VALIDATION, TEST = (tuple(map(int, SPLITS[s])) for s in ("train", "val", "test"))
"""Numbers of the sequences of SemanticKITTI's splits; those of the last have no labels."""

# A worker that takes a job builds the street first, which takes about a second and grows with its
# length: jobs of so many scans, or of an eighth of a longer drive.
_SCANS_PER_JOB = 25
_MAX_SCANS = 1000


@dataclass(frozen=True)
class StreetSet:
    """Which streets to make: sequences per split, scans per sequence, seed and resolution.

    Raises:
        ValueError: a count is negative or larger than the split has numbers.
    """

    train: int = 10
    val: int = 1
    test: int = 0
    scans: int = 20
    seed: int = 0
    lidar: LidarSettings = field(default_factory=LidarSettings)

    def __post_init__(self) -> None:
        for name, numbers in (("train", TRAINING), ("val", VALIDATION), ("test", TEST)):
            count = getattr(self, name)
            if not 0 <= count <= len(numbers):
                raise ValueError(f"{name}: expected 0..{len(numbers)} sequences, got {count}")
        if not 1 <= self.scans <= _MAX_SCANS:
            raise ValueError(f"scans: expected 1..{_MAX_SCANS} a sequence, got {self.scans}")
        if self.seed < 0:
            raise ValueError(f"seed: expected a number >= 0, got {self.seed}")

    @property
    def sequences(self) -> tuple[int, ...]:
        """Numbers of the sequences of all splits."""
        return (*TRAINING[: self.train], *VALIDATION[: self.val], *TEST[: self.test])

    @property
    def num_scans(self) -> int:
        """Scans of all sequences together."""
        return len(self.sequences) * self.scans

    def manifest(self) -> dict[str, object]:
        """What a folder of streets records of its origin; equal manifests give equal streets."""
        return {
            "generator": "pointseg synthetic streets",
            "version": GENERATOR_VERSION,
            "seed": self.seed,
            "scans": self.scans,
            "lidar": asdict(self.lidar),
        }


def sequence_folder(root: Path, number: int) -> Path:
    """Where SemanticKITTI keeps a sequence."""
    return root / "dataset" / "sequences" / f"{number:02d}"


def _unfinished(root: Path, number: int) -> Path:
    folder = sequence_folder(root, number)
    return folder.with_name(f".{folder.name}.partial")


def synthesize_streets(
    root: str | os.PathLike[str],
    streets: StreetSet | None = None,
    workers: int = 1,
    on_scan: Callable[[int, int], None] | None = None,
) -> int:
    """Make the scans that ``root`` does not hold yet.

    A sequence's folder is complete or absent: its scans gather in a hidden folder beside it, where
    an interrupted run goes on.

    Args:
        root: folder in SemanticKITTI's layout; created where missing.
        streets: which streets; the defaults of :class:`StreetSet` where None.
        workers: processes; the files do not depend on their number.
        on_scan: called as scans are written, with (scans done, scans wanted).

    Returns:
        How many scans were generated (the others were there).

    Raises:
        ValueError: ``root`` holds something else, or streets of another version, seed, number of
            scans or resolution.
        ImportError: open3d is missing.
    """
    streets = streets or StreetSet()
    check_workers(workers)
    folder = Path(root)
    claim(folder, MANIFEST, streets.manifest(), "synthetic streets")
    wanted = [n for n in streets.sequences if not sequence_folder(folder, n).is_dir()]
    jobs = [job for number in wanted for job in _jobs(folder, streets, number)]
    if jobs:
        load_open3d()
    pending = Counter(number for _, _, number, _ in jobs)
    for number in wanted:
        if number not in pending:
            _finish(folder, streets, number)
    made, total = 0, streets.num_scans
    kept = total - sum(len(indices) for *_, indices in jobs)
    for number, count in in_processes(_generate, jobs, workers):
        made += count
        pending[number] -= 1
        if not pending[number]:
            _finish(folder, streets, number)
        if on_scan is not None:
            on_scan(kept + made, total)
    return made


def _jobs(
    root: Path, streets: StreetSet, number: int
) -> list[tuple[Path, StreetSet, int, tuple[int, ...]]]:
    """The scans that a sequence lacks, in portions."""
    folder = _unfinished(root, number)
    missing = [
        index
        for index in range(streets.scans)
        if not all(p.is_file() for p in scan_paths(folder, index, number not in TEST).values())
    ]
    step = max(_SCANS_PER_JOB, streets.scans // 8)
    return [
        (root, streets, number, tuple(missing[i : i + step])) for i in range(0, len(missing), step)
    ]


def _generate(
    root: Path, streets: StreetSet, number: int, indices: tuple[int, ...]
) -> tuple[int, int]:
    """Generate some scans of one sequence; returns its number and their count."""
    street = build_street(streets.seed, number, streets.scans)
    scanner = StreetScanner(street, streets.seed, number, streets.lidar)
    for index in indices:
        write_sweep(_unfinished(root, number), index, scanner.scan(index), number not in TEST)
    return number, len(indices)


def _finish(root: Path, streets: StreetSet, number: int) -> None:
    """Add calibration, times and poses to a sequence's scans and give its folder its name."""
    folder = _unfinished(root, number)
    drive = plan_street(streets.seed, number, streets.scans).drive
    replace_text(folder / "calib.txt", calib_text())
    replace_text(folder / "times.txt", times_text(drive.times_s))
    replace_text(folder / "poses.txt", poses_text(drive.poses))
    for left_over in folder.rglob(".*.part"):
        left_over.unlink()
    os.replace(folder, sequence_folder(root, number))
