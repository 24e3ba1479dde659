"""Checking a folder or zip of ScanNet label files before it is handed in.

The benchmark wants one ``sceneXXXX_YY.txt`` per scan, without folders: one nyu40 id of the 20
classes per line, one line per vertex of ``sceneXXXX_YY_vh_clean_2.ply``, in the mesh's order.
Files of choices (``<scene>.choices.npz``) that lie beside them in a folder are checked, too.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np

from pointseg.data.catalog import SceneReader
from pointseg.evaluation.choice_files import CHOICES_SUFFIX, read_choices
from pointseg.evaluation.choices import check_rows

_COMPANIONS = (".npy", ".ply", ".html")  # other forms of the same labels, fine in a folder


@dataclass(frozen=True)
class SubmissionCheck:
    """What a check found.

    Attributes
    ----------
    num_scenes, num_points : int
        Label files that are right, and the vertices they label.
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
    path: Path, num_vertices: Mapping[str, int | None], allowed_ids: Sequence[int]
) -> SubmissionCheck:
    """Compare a folder or a zip of label files with the scenes that it must label.

    Parameters
    ----------
    path
        Folder or zip file.
    num_vertices
        Scene id -> vertices of its mesh, for every scene of the split; None where the mesh is not
        at hand, which is reported as a problem: the count cannot be compared then.
    allowed_ids
        The raw ids of the classes (`LabelMap.raw_ids`). Any other id, 0 included, would count as
        missed in the benchmark's evaluation.

    Raises
    ------
    FileNotFoundError
        If ``path`` does not exist.
    ValueError
        If it is neither a folder nor a readable zip, or ``num_vertices`` is empty.
    """
    path = Path(path)
    if not num_vertices:
        raise ValueError("num_vertices names no scene: there is nothing to check against")
    allowed = np.unique(np.asarray(allowed_ids, dtype=np.int64))
    is_folder = path.is_dir()
    problems: list[str] = []
    right: set[str] = set()
    seen: Counter[str] = Counter()
    num_companions = 0
    with _members(path) as members:
        for name, read in members:
            scene_id, suffix = Path(name).stem, Path(name).suffix
            chooser = name.removesuffix(CHOICES_SUFFIX)
            if is_folder and suffix in _COMPANIONS and scene_id in num_vertices:
                num_companions += 1
            elif is_folder and chooser != name and chooser in num_vertices:
                num_companions += 1
                problems.extend(_choice_problems(name, read, num_vertices[chooser]))
            elif name != f"{scene_id}.txt" or scene_id not in num_vertices:
                problems.append(f"{name}: {_why_unexpected(name, num_vertices)}")
            else:
                seen[scene_id] += 1
                found = _label_problems(read, num_vertices[scene_id], allowed)
                problems.extend(f"{name}: {problem}" for problem in found)
                if not found:
                    right.add(scene_id)
    problems.extend(f"{scene}.txt: comes {n} times" for scene, n in seen.items() if n > 1)
    problems.extend(f"{scene}.txt: missing" for scene in num_vertices if scene not in seen)
    notes = (
        (f"{num_companions} other files of these scenes (npy, ply, html, npz): not for the zip",)
        if num_companions
        else ()
    )
    return SubmissionCheck(
        num_scenes=len(right),
        num_points=sum(num_vertices[scene] or 0 for scene in right),
        problems=tuple(problems),
        notes=notes,
    )


def split_point_counts(reader: SceneReader, split: str) -> dict[str, int | None]:
    """Points of every scene that ``split`` lists; None for scenes that are not there."""
    return {
        scene_id: reader.num_points(scene_id) if reader.has(scene_id) else None
        for scene_id in reader.listed(split)
    }


@contextmanager
def _members(path: Path) -> Iterator[Iterator[tuple[str, Callable[[], bytes]]]]:
    """Yield (name within ``path``, function that reads it) of every file, by name.

    Members are read one at a time, so a check holds one label file in memory.
    """
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        yield ((file.relative_to(path).as_posix(), file.read_bytes) for file in files)
    elif not path.exists():
        raise FileNotFoundError(f"{path} is not there; pass a folder or a zip of label files")
    else:
        try:
            archive = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise ValueError(f"{path} is neither a folder nor a zip: {error}") from error
        with archive:
            entries = sorted(archive.infolist(), key=lambda entry: entry.filename)
            yield (
                (entry.filename, partial(archive.read, entry))
                for entry in entries
                if not entry.is_dir()
            )


def _why_unexpected(name: str, num_vertices: Mapping[str, int | None]) -> str:
    path = Path(name)
    if path.parent != Path("."):
        return "lies in a folder; label files must lie at the top"
    if path.suffix != ".txt":
        return "unexpected: label files are named <scene>.txt"
    close = [scene for scene in num_vertices if scene.lower() == path.stem.strip().lower()]
    if close:
        return f"unexpected: the name must be exactly {close[0]}.txt"
    return "unexpected: no such scene in the split"


def _label_problems(
    read: Callable[[], bytes], num_vertices: int | None, allowed: np.ndarray
) -> list[str]:
    """Everything wrong with one label file."""
    try:
        lines = read().decode("ascii").splitlines()
    except (OSError, zipfile.BadZipFile, UnicodeDecodeError, NotImplementedError) as error:
        return [f"cannot be read as text ({error})"]
    problems = []
    if num_vertices is None:
        problems.append("the scene's mesh is missing, so its lines cannot be counted against it")
    elif len(lines) != num_vertices:
        problems.append(f"{len(lines)} lines, but the mesh has {num_vertices} vertices")
    ids, bad_lines = _parsed(lines)
    if bad_lines:
        first = bad_lines[0]
        problems.append(
            f"{len(bad_lines)} lines are not one integer, the first is line {first + 1}: "
            f"{lines[first][:40]!r}"
        )
    wrong = ~np.isin(ids, allowed)
    wrong[bad_lines] = False
    if wrong.any():
        values, counts = np.unique(ids[wrong], return_counts=True)
        listed = ", ".join(f"{v} ({n}x)" for v, n in list(zip(values, counts, strict=True))[:10])
        more = f" and {len(values) - 10} other ids" if len(values) > 10 else ""
        problems.append(
            f"ids that are no class of the benchmark: {listed}{more}, "
            f"the first in line {int(np.flatnonzero(wrong)[0]) + 1}"
        )
    return problems


def _choice_problems(name: str, read: Callable[[], bytes], num_vertices: int | None) -> list[str]:
    """Everything wrong with a file of choices that lies beside the labels."""
    try:
        choices = read_choices(BytesIO(read()), name)
        if num_vertices is not None:
            check_rows(choices, num_vertices)
    except ValueError as error:
        return [str(error) if str(error).startswith(name) else f"{name}: {error}"]
    return []


def _parsed(lines: list[str]) -> tuple[np.ndarray, list[int]]:
    """Ids int64 [lines] (0 where there is none) and the indices of lines that are no integer."""
    ids = np.zeros(len(lines), dtype=np.int64)
    bad_lines = []
    known: dict[str, int | None] = {}  # a file has a few different lines, each many times over
    for index, line in enumerate(lines):
        if line not in known:
            known[line] = _integer(line)
        value = known[line]
        if value is None:
            bad_lines.append(index)
        else:
            ids[index] = value
    return ids, bad_lines


def _integer(line: str) -> int | None:
    text = line.strip()
    digits = text[1:] if text[:1] in "+-" else text
    # a number of more digits than this is no label, and would not fit the array either
    return int(text) if digits.isdecimal() and len(digits) < 18 else None
