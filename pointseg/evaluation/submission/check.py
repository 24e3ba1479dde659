"""Checking a folder or zip of labels before it is handed in: every problem is listed.

Files of choices (``<scene>.choices.npz``) and other forms of the same labels, which lie at the top
of a folder of exported labels, are no part of a submission; the choices are checked, too.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pointseg.data.labels import LabelMap
from pointseg.evaluation.choice_files import CHOICES_SUFFIX, read_choices
from pointseg.evaluation.choices import check_rows
from pointseg.evaluation.submission.encodings import UNREADABLE
from pointseg.evaluation.submission.formats import ExtraFile, SubmissionFormat, folders_of
from pointseg.evaluation.submission.members import Member, Members, open_members, shown
from pointseg.evaluation.submission.names import NameAdvice, wrapping_folder

_COMPANIONS = (".npy", ".npz", ".ply", ".html")
# A label takes a few bytes; a file of far more is not read at all, so that none fills the memory.
_MAX_BYTES_PER_POINT = 64
_MAX_POINTS = 10_000_000  # where the number of points is unknown
_MAX_EXTRA_BYTES = 1 << 20
_SHOWN = 10


@dataclass(frozen=True)
class SubmissionCheck:
    """What a check found.

    Attributes
    ----------
    num_scenes, num_points : int
        Scenes whose labels are right, and the points they label.
    problems : tuple of str
        Everything that keeps the submission from being complete and right, file by file.
    notes : tuple of str
        Things worth knowing that are no fault.
    """

    num_scenes: int
    num_points: int
    problems: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.problems


def check_submission(
    path: Path,
    num_points: Mapping[str, int | None],
    submission_format: SubmissionFormat,
    label_map: LabelMap,
    split: str,
) -> SubmissionCheck:
    """Compare a folder or a zip of label files with the scenes that it must label.

    Parameters
    ----------
    path
        Folder or zip file.
    num_points
        Scene id -> its points, for every scene of the split; None where the scene is not at hand,
        which is reported as a problem: the count cannot be compared then.
    submission_format
        What the benchmark takes (``BENCHMARKS[...].submission``).
    label_map
        The classes. Of its ids, those in `SubmissionFormat.tolerated_ids` are a note and all that
        are no class's a problem.
    split
        Named in the paths of some formats.

    Raises
    ------
    FileNotFoundError
        If ``path`` does not exist.
    ValueError
        If it is neither a folder nor a readable zip, or ``num_points`` is empty or has ids that the
        format does not know.
    """
    if not num_points:
        raise ValueError("num_points names no scene: there is nothing to check against")
    with open_members(path) as members:
        return _Check(num_points, submission_format, label_map, split).of(members)


@dataclass
class _Check:
    """One check under way: what was found so far."""

    num_points: Mapping[str, int | None]
    format: SubmissionFormat
    label_map: LabelMap
    split: str
    problems: list[str] = field(default_factory=list)
    notes: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    tolerated: Counter[int] = field(default_factory=Counter)
    right: set[str] = field(default_factory=set)

    def of(self, members: Members) -> SubmissionCheck:
        scenes = self.format.members_of(self.num_points, self.split)
        extras = self.format.extras_of(self.split)
        expected = [*scenes, *extras]
        on_disk = members.folders is None
        self.problems += members.problems
        files = [file for file in members.files if not self._is_aside(file, on_disk)]
        wrapper = wrapping_folder([file.name for file in files], expected)
        if not files:
            self.problems.append("there is no file in it")
        if wrapper:
            self.problems.append(
                f"everything lies in the folder {shown(wrapper)}; zip what is in the folder, not "
                "the folder itself"
            )
        times = Counter(file.name.removeprefix(wrapper) for file in files)
        self._check_files(files, wrapper, scenes, extras)
        self._check_names(times, scenes, extras)
        if members.folders is not None and self.format.folder_entries:
            self._check_folders(scenes, {f.removeprefix(wrapper) for f in members.folders})
        return SubmissionCheck(
            num_scenes=len(self.right),
            num_points=sum(self.num_points[scene] or 0 for scene in self.right),
            problems=tuple(self.problems),
            notes=(*members.notes, *self._all_notes()),
        )

    def _check_files(
        self,
        files: Iterable[Member],
        wrapper: str,
        scenes: Mapping[str, str],
        extras: Mapping[str, ExtraFile],
    ) -> None:
        """Names and content, file by file."""
        advice = NameAdvice([*scenes, *extras])
        for file in files:
            name = file.name.removeprefix(wrapper)
            if name in scenes:
                self._check_labels(file, name, scenes[name])
            elif name in extras:
                self._check_extra(file, name, extras[name])
            else:
                self._report(file.name, [self._label_file(name) or advice.why_unexpected(name)])

    def _label_file(self, name: str) -> str | None:
        """What to say of a file that is no submission's but one of ``export-preds --out``."""
        stem, _, suffix = name.rpartition(".")
        if suffix not in ("txt", "npy") or stem not in self.num_points:
            return None
        return (
            "a label file of `export-preds --out`; --submission writes what the server of "
            f"{self.format.name} takes"
        )

    def _check_names(
        self, times: Mapping[str, int], scenes: Mapping[str, str], extras: Mapping[str, ExtraFile]
    ) -> None:
        """Files that come more than once, and those that do not come."""
        for name, count in times.items():
            if count > 1:
                self._report(name, [f"comes {count} times"])
                self.right.discard(scenes.get(name, ""))
        required = [*scenes, *(m for m, extra in extras.items() if extra.default is not None)]
        self.problems += [f"{name}: missing" for name in required if name not in times]

    def _is_aside(self, file: Member, on_disk: bool) -> bool:
        """Whether a file is one that lies beside submissions: noted or refused here, then left."""
        if file.is_litter:
            what = "left by the operating system"
            if on_disk:
                self.notes[f"{what}: not for the zip"].append(file.name)
            else:
                self._report(file.name, [f"{what}; remove it (zip -d)"])
            return True
        scene_id = file.name.partition(".")[0]
        if not (on_disk and file.name.endswith(_COMPANIONS) and scene_id in self.num_points):
            return False
        self.notes["other forms of these labels: not for the zip"].append(file.name)
        if file.name == f"{scene_id}{CHOICES_SUFFIX}":
            self.problems += _choice_problems(file, self.num_points[scene_id])
        return True

    def _check_labels(self, file: Member, name: str, scene_id: str) -> None:
        expected = self.num_points[scene_id]
        limit = _MAX_BYTES_PER_POINT * (_MAX_POINTS if expected is None else expected + 1)
        try:
            decoded = self.format.encoding.decode(_read(file, limit))
        except ValueError as error:
            self._report(name, [str(error)])
            return
        problems = list(decoded.problems)
        if expected is None:
            problems.append("the scene itself is missing, so its labels cannot be counted")
        elif len(decoded.ids) != expected:
            problems.append(f"{len(decoded.ids)} labels, but the scene has {expected} points")
        tolerated = self.format.tolerated_ids(self.label_map)
        problems += id_problems(decoded.ids, (*self.label_map.raw_ids, *tolerated))
        self._report(name, problems)
        for note in decoded.notes:
            self.notes[note].append(name)
        self.tolerated.update(_counts(decoded.ids[np.isin(decoded.ids, tolerated)]))
        if not problems:
            self.right.add(scene_id)

    def _check_extra(self, file: Member, name: str, extra: ExtraFile) -> None:
        try:
            problems = extra.problems(_read(file, _MAX_EXTRA_BYTES))
        except ValueError as error:
            problems = [str(error)]
        self._report(name, problems)

    def _check_folders(self, scenes: Iterable[str], entries: set[str]) -> None:
        missing = [folder for folder in folders_of(scenes) if folder not in entries]
        if missing:
            self.problems.append(
                f"no entries for the folders {_listed(missing)}: {self.format.name}'s server looks "
                "for them; write the zip with `pointseg export-preds --submission` or `zip -r`"
            )

    def _report(self, name: str, problems: Iterable[str]) -> None:
        self.problems += [f"{shown(name)}: {problem}" for problem in problems]

    def _all_notes(self) -> list[str]:
        notes = [
            f"{_listed([shown(name) for name in names])}: {note}"
            for note, names in self.notes.items()
        ]
        ids = {id: n for id, n in sorted(self.tolerated.items()) if id != self.label_map.unlabelled}
        if ids:
            listed = _listed([f"{id} ({n}x)" for id, n in ids.items()])
            notes.append(f"ids that the server takes for another class's or ignores: {listed}")
        if unlabelled := self.tolerated[self.label_map.unlabelled]:
            notes.append(f"{unlabelled} points are unlabelled, which counts as missed")
        return notes


def id_problems(ids: NDArray[np.integer], allowed: Iterable[int]) -> list[str]:
    """What is wrong with the ids [L] of a scene; labels that could not be read are left out."""
    wrong = ~np.isin(ids, list(allowed)) & (ids != UNREADABLE)
    if not wrong.any():
        return []
    listed = _listed([f"{value} ({n}x)" for value, n in _counts(ids[wrong]).items()])
    first = int(np.flatnonzero(wrong)[0]) + 1
    return [f"ids that are no class of the benchmark: {listed}, the first is label {first}"]


def _counts(ids: NDArray[np.integer]) -> dict[int, int]:
    values, counts = np.unique(ids, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _listed(items: list[str]) -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + more


def _read(file: Member, limit: int) -> bytes:
    if file.num_bytes > limit:
        raise ValueError(f"{file.num_bytes} bytes are far too many; it was not read")
    return file.read()


def _choice_problems(file: Member, num_points: int | None) -> list[str]:
    """Everything wrong with a file of choices that lies beside the labels."""
    try:
        choices = read_choices(BytesIO(file.read()), file.name)
        if num_points is not None:
            check_rows(choices, num_points)
    except ValueError as error:
        text = str(error)
        return [text if text.startswith(file.name) else f"{file.name}: {text}"]
    return []
