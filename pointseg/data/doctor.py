"""Looking at all of a dataset before it costs a training: what is missing, broken or odd.

Every scene is read as training would read it. What its reader refuses is a problem, what it repairs
or warns about a note; neither stops the rest.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import pickle
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from pointseg.data.cache import SceneCache, hash_file
from pointseg.data.catalog import ALL, DatasetSpec, SceneReader
from pointseg.data.clouds import check_units
from pointseg.data.labels import IGNORE_INDEX, LabelMap
from pointseg.data.prepare import message_of, progress_of, workers_for
from pointseg.data.processes import in_processes, unpickled
from pointseg.data.registry import find_spec, open_reader
from pointseg.data.types import PointCloud

_PACKAGE_LOGGER = "pointseg"


@dataclass(frozen=True)
class SceneFindings:
    """What reading one scene showed.

    num_points    0 where it cannot be read
    class_counts  points of each class, the last entry those without one; None without labels
    hashes        BLAKE2b of each source file, by name
    content       BLAKE2b of the points' coordinates, to find scenes that are there twice
    """

    scene_id: str
    num_points: int = 0
    class_counts: tuple[int, ...] | None = None
    hashes: Mapping[str, str] = field(default_factory=dict)
    content: str | None = None
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SplitFindings:
    """How many scenes of a split are there; ``expected`` in the complete release, None: unknown."""

    name: str
    present: int
    listed: int
    expected: int | None


@dataclass(frozen=True)
class DatasetFindings:
    """What :func:`examine` found; ``problems`` and ``notes`` over all scenes and splits."""

    dataset: str
    root: Path
    label_map: LabelMap
    splits: tuple[SplitFindings, ...]
    scenes: tuple[SceneFindings, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def num_points(self) -> int:
        return sum(scene.num_points for scene in self.scenes)

    @property
    def class_counts(self) -> tuple[int, ...]:
        """Points of each class over all scenes with labels, the last entry those without one."""
        total = np.zeros(self.label_map.num_classes + 1, dtype=np.int64)
        for scene in self.scenes:
            if scene.class_counts is not None:
                total += scene.class_counts
        return tuple(total.tolist())

    def summary(self) -> str:
        broken = sum(bool(scene.problems) for scene in self.scenes)
        return (
            f"{self.root}: {len(self.scenes)} scenes, {self.num_points:,} points, "
            f"{broken} scenes with problems; {len(self.problems)} problems, {len(self.notes)} notes"
        )

    def tables(self) -> list[Table]:
        """Splits and classes, for the terminal."""
        splits = Table(title=f"{self.dataset}: {self.root}", min_width=48)
        classes = Table(title="points of each class", min_width=48)
        for table, headers in (
            (splits, ("split", "scenes", "listed", "complete")),
            (classes, ("class", "points", "share", "scenes")),
        ):
            table.add_column(headers[0])
            for header in headers[1:]:
                table.add_column(header, justify="right")
        for split in self.splits:
            numbers = (split.present, split.listed, split.expected)
            splits.add_row(split.name, *("-" if n is None else f"{n:,}" for n in numbers))
        counts, total = self.class_counts, max(1, sum(self.class_counts))
        for index, name in enumerate((*self.label_map.names, "(no class)")):
            among = sum(bool(s.class_counts and s.class_counts[index]) for s in self.scenes)
            share = f"{100 * counts[index] / total:.3f} %"
            classes.add_row(name, f"{counts[index]:,}", share, f"{among:,}")
        return [splits, classes]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        names = (*self.label_map.names, "(no class)")
        return {
            "dataset": self.dataset,
            "root": str(self.root),
            "num_scenes": len(self.scenes),
            "num_points": self.num_points,
            "splits": {
                s.name: {"present": s.present, "listed": s.listed, "complete": s.expected}
                for s in self.splits
            },
            "classes": dict(zip(names, self.class_counts, strict=True)),
            "problems": list(self.problems),
            "notes": list(self.notes),
            "scenes": [
                {
                    "scene_id": s.scene_id,
                    "num_points": s.num_points,
                    "classes": None if s.class_counts is None else list(s.class_counts),
                    "hashes": dict(s.hashes),
                    "problems": list(s.problems),
                    "notes": list(s.notes),
                }
                for s in self.scenes
            ],
        }


def examine(
    dataset: str,
    root: Path | str | None = None,
    split: str = ALL,
    *,
    options: Mapping[str, Any] | None = None,
    require_all: bool = False,
    workers: int | None = None,
    show_progress: bool = True,
) -> DatasetFindings:
    """Read every scene of a split that is on disk, and compare the whole with what it should be.

    With ``require_all``, scenes of the split that are missing are a problem: those of its list, and
    those that the complete release has besides.

    Raises only where there is nothing to look at: an unknown dataset, split or option (ValueError),
    a root that is not there (FileNotFoundError). A list or a table that is broken is a problem, and
    what can be found without it is read.
    """
    spec, reader = find_spec(dataset), open_reader(dataset, root, options)
    scene_ids, list_problems = _scenes_of(spec, reader, split)
    job = functools.partial(_examine_scene, pickle.dumps((reader, spec.label_map)))
    scenes = []
    with progress_of("checking scenes", len(scene_ids), show_progress) as advance:
        jobs = [(scene_id,) for scene_id in scene_ids]
        for findings in in_processes(job, jobs, workers_for(len(jobs), workers)):
            scenes.append(findings)
            advance()
    order = {scene_id: index for index, scene_id in enumerate(scene_ids)}
    scenes.sort(key=lambda scene: order[scene.scene_id])
    splits, split_problems, split_notes = _examine_splits(spec, reader)
    notes = [*split_notes, *_duplicates(scenes), *_absent_classes(scenes, spec.label_map)]
    stored = _prepared_problems(reader.root / spec.prepared_in, scene_ids, workers)
    problems = [*list_problems, *split_problems, *stored]
    if require_all:
        asked = splits if split == ALL else [_look_at(spec, reader, s) for s in split.split("+")]
        problems += _missing_scenes(asked)
    if not scene_ids:
        problems.append(f"{reader.root}: no scene of split {split!r} is there")
    return DatasetFindings(
        dataset=dataset,
        root=reader.root,
        label_map=spec.label_map,
        splits=splits,
        scenes=tuple(scenes),
        problems=(*problems, *(p for scene in scenes for p in scene.problems)),
        notes=(*notes, *(n for scene in scenes for n in scene.notes)),
    )


# -- one scene ------------------------------------------------------------------------------------


class _Warnings(logging.Handler):
    """Keeps what the readers log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def _examine_scene(pickled: bytes, scene_id: str) -> SceneFindings:
    """Runs in a worker process."""
    reader, label_map = unpickled(pickled)
    logger, handler = logging.getLogger(_PACKAGE_LOGGER), _Warnings()
    propagates = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        return _findings(reader, label_map, scene_id, handler.messages)
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates


def _findings(
    reader: SceneReader, label_map: LabelMap, scene_id: str, warnings: list[str]
) -> SceneFindings:
    hashes: dict[str, str] = {}
    try:
        for name, path in sorted(reader.source_files(scene_id).items()):
            if path.is_file():  # where it is needed and is not there, the reader says so
                hashes[name] = hash_file(path)
        cloud = reader.read_scene(scene_id).own()
    except Exception as error:  # a check must outlive a fault of a reader, too, and name it
        text = message_of(error, scene_id)
        return SceneFindings(scene_id, hashes=hashes, problems=(text,), notes=tuple(warnings))
    counts = None
    problems = [f"{scene_id}: {text}" for text in _odd_values(cloud, label_map)]
    if cloud.labels is not None and not problems:
        by_label = np.bincount(cloud.labels + 1, minlength=label_map.num_classes + 1)
        counts = (*by_label[1:].tolist(), int(by_label[0]))
    return SceneFindings(
        scene_id,
        num_points=cloud.num_points,
        class_counts=counts,
        hashes=hashes,
        content=hashlib.blake2b(cloud.xyz_m.tobytes(), digest_size=16).hexdigest(),
        problems=tuple(problems),
        notes=(*warnings, *(f"{scene_id}: {text}" for text in _notes(cloud))),
    )


def _notes(cloud: PointCloud) -> Iterator[str]:
    """What may be as it should, and is worth a look."""
    yield from check_units(cloud)
    if cloud.labels is not None and (cloud.labels == IGNORE_INDEX).all():
        yield "it has labels, but no point has a class; the file of labels may be lost"


def _odd_values(cloud: PointCloud, label_map: LabelMap) -> Iterator[str]:
    """What no reader should let through; found in prepared scenes, whose readers check nothing."""
    arrays = {"xyz_m": cloud.xyz_m, "normal": cloud.normal, **cloud.extras}
    for name, array in arrays.items():
        if array is not None and array.dtype.kind == "f" and not np.isfinite(array).all():
            yield f"{name} has {int((~np.isfinite(array)).sum())} values that are not finite"
    if cloud.labels is not None:
        bad = (cloud.labels < IGNORE_INDEX) | (cloud.labels >= label_map.num_classes)
        if bad.any():
            yield f"{int(bad.sum())} labels are no class, such as {cloud.labels[bad][0]}"
    if cloud.instances is not None and (cloud.instances < 0).any():
        yield f"{int((cloud.instances < 0).sum())} instance ids are negative"


# -- the whole ------------------------------------------------------------------------------------


def _scenes_of(spec: DatasetSpec, reader: SceneReader, split: str) -> tuple[list[str], list[str]]:
    """The scenes of a split that are on disk, and what is wrong with its lists."""
    found: dict[str, None] = {}
    problems = []
    for part in split.split("+"):
        try:
            listed = reader.listed(part)
        except (ValueError, OSError) as error:
            if part not in (*spec.splits, ALL):
                raise
            problems.append(f"split {part!r}: {error}")
            listed = _in_any_split(spec, reader) if part == ALL else ()
        found.update(dict.fromkeys(listed))
    return [scene_id for scene_id in found if reader.has(scene_id)], problems


def _in_any_split(spec: DatasetSpec, reader: SceneReader) -> tuple[str, ...]:
    """The scenes of all splits that can be listed; why the others cannot is told elsewhere."""
    found: list[str] = []
    for name in spec.splits:
        with contextlib.suppress(ValueError, OSError):
            found += reader.listed(name)
    return tuple(found)


def _examine_splits(
    spec: DatasetSpec, reader: SceneReader
) -> tuple[tuple[SplitFindings, ...], list[str], list[str]]:
    findings, problems, notes, incomplete = [], [], [], []
    for name in spec.splits:
        try:
            split = _look_at(spec, reader, name)
        except (ValueError, FileNotFoundError) as error:
            notes.append(f"split {name!r}: {error}")
            continue
        findings.append(split)
        twice = split.listed - len(set(reader.listed(name)))
        if twice:
            problems.append(f"split {name!r}: {twice} scenes come twice")
        if split.expected is not None and split.present < split.expected:
            incomplete.append(f"{name} ({split.present:,} of {split.expected:,})")
        if split.expected is not None and split.listed > split.expected:
            problems.append(
                f"split {name!r}: {split.listed} scenes, but the release has {split.expected}; a "
                "folder too many, or another list"
            )
    if incomplete:
        notes.append(f"not the complete release: {', '.join(incomplete)}")
    return tuple(findings), problems, notes


def _look_at(spec: DatasetSpec, reader: SceneReader, name: str) -> SplitFindings:
    listed = reader.listed(name)
    present = sum(reader.has(scene_id) for scene_id in listed)
    return SplitFindings(name, present, len(listed), spec.num_in_release(name))


def _missing_scenes(splits: Iterable[SplitFindings]) -> Iterator[str]:
    """A problem for every split that is not complete."""
    for split in splits:
        complete = max(split.listed, split.expected or 0)
        if split.present < complete:
            missing = complete - split.present
            yield f"split {split.name!r}: {missing:,} of {complete:,} scenes are missing"


def _duplicates(scenes: Sequence[SceneFindings]) -> list[str]:
    by_content: dict[str, list[str]] = defaultdict(list)
    for scene in scenes:
        if scene.content is not None:
            by_content[scene.content].append(scene.scene_id)
    return [
        f"the same points are in {', '.join(scene_ids)}"
        for scene_ids in by_content.values()
        if len(scene_ids) > 1
    ]


def _absent_classes(scenes: Sequence[SceneFindings], label_map: LabelMap) -> list[str]:
    labelled = [scene.class_counts for scene in scenes if scene.class_counts is not None]
    if not labelled:
        return ["no scene has labels"] if scenes else []
    total = np.sum(labelled, axis=0)
    absent = [name for name, n in zip(label_map.names, total[:-1], strict=True) if n == 0]
    return [f"no point of class {', '.join(absent)}"] if absent else []


def _prepared_problems(folder: Path, scene_ids: Sequence[str], workers: int | None) -> list[str]:
    """Damage of the prepared scenes beside raw ones."""
    prepared = set(SceneCache(folder).scene_ids())
    jobs = [(folder, scene_id) for scene_id in scene_ids if scene_id in prepared]
    found = in_processes(_damage, jobs, workers_for(len(jobs), workers))
    return sorted(problem for problem in found if problem is not None)


def _damage(folder: Path, scene_id: str) -> str | None:
    """Runs in a worker process."""
    try:
        SceneCache(folder).verify(scene_id)
    except (ValueError, OSError) as error:
        return str(error)
    return None
