"""Writing a submission scene by scene: a folder or a zip that is either whole or not there."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np

from pointseg.data.labels import LabelMap
from pointseg.evaluation.submission.check import id_problems
from pointseg.evaluation.submission.formats import SubmissionFormat, folders_of
from pointseg.files import folder_written_whole, written_whole

_OTHER_ARCHIVES = (".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")
_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip can hold: the same labels give the same bytes
_UNIX = 3


class _Sink(Protocol):
    def put(self, name: str, data: bytes) -> None: ...
    def put_folder(self, name: str) -> None: ...


class SubmissionWriter:
    """Takes the labels of each scene once, in any order; made by `written_submission`."""

    def __init__(
        self,
        sink: _Sink,
        members: Mapping[str, str],
        submission_format: SubmissionFormat,
        label_map: LabelMap,
        num_points: Mapping[str, int | None],
    ) -> None:
        self._sink = sink
        self._waiting = {scene_id: member for member, scene_id in members.items()}
        self._format = submission_format
        self._label_map = label_map
        self._num_points = num_points
        self._allowed = (*label_map.raw_ids, *submission_format.tolerated_ids(label_map))

    @property
    def missing(self) -> tuple[str, ...]:
        """Scenes without labels so far."""
        return tuple(self._waiting)

    def add(self, scene_id: str, predictions: np.ndarray) -> None:
        """Write the train ids [P] of a scene, points in the order of its file.

        Raises ValueError for a scene that is not of the submission or came before, a wrong number
        of labels, and labels that the server would not take (such as -1 for nuScenes).
        """
        if scene_id not in self._waiting:
            known = scene_id in self._num_points
            raise ValueError(f"{scene_id}: {'comes twice' if known else 'not in this submission'}")
        predictions = np.asarray(predictions)
        expected = self._num_points[scene_id]
        if predictions.ndim != 1 or (expected is not None and len(predictions) != expected):
            raise ValueError(
                f"{scene_id} has {expected} points; got labels of shape {predictions.shape}"
            )
        raw_ids = self._label_map.to_raw(predictions)
        problems = id_problems(raw_ids, self._allowed)
        if problems:
            raise ValueError(f"{scene_id}: {problems[0]}; every point needs a class")
        self._sink.put(self._waiting[scene_id], self._format.encoding.encode(raw_ids))
        del self._waiting[scene_id]


@contextmanager
def written_submission(
    path: Path,
    num_points: Mapping[str, int | None],
    submission_format: SubmissionFormat,
    label_map: LabelMap,
    split: str,
    extra_files: Mapping[str, bytes] | None = None,
    overwrite: bool = False,
) -> Iterator[SubmissionWriter]:
    """A `SubmissionWriter` for ``path``, which appears when the block ends with every scene added.

    Scenes go out as they are added, one in memory at a time. The bytes of a zip depend on nothing
    but labels and the order of scenes. When the block raises, or scenes are missing (ValueError),
    nothing is left behind.

    Parameters
    ----------
    path
        A zip where it ends in ``.zip``, else a folder.
    num_points
        Scene id -> its points (None: not checked), for every scene to be handed in.
    extra_files
        File name, such as ``description.txt`` -> content, in place of the format's default.
    overwrite
        Whether an earlier zip may be replaced. An earlier folder never is.

    Raises
    ------
    ValueError
        For a scene id, split or extra file that the format does not know, before anything is
        written.
    FileExistsError
        If ``path`` is there.
    """
    path = Path(path)
    is_zip = path.suffix == ".zip"
    if path.suffix.lower() in (*_OTHER_ARCHIVES, ".zip") and not is_zip:
        raise ValueError(f"{path}: servers take zips; let the name end in .zip, or pass a folder")
    members = submission_format.members_of(num_points, split)
    if not members:
        raise ValueError("num_points names no scene: there is nothing to hand in")
    extras = _extra_contents(submission_format, split, extra_files or {})
    whole = written_whole(path, overwrite) if is_zip else folder_written_whole(path)
    with whole as temporary, _opened(temporary, is_zip) as sink:
        if submission_format.folder_entries:
            for folder in folders_of(members):
                sink.put_folder(folder)
        for name, data in extras.items():
            sink.put(name, data)
        writer = SubmissionWriter(sink, members, submission_format, label_map, num_points)
        yield writer
        if writer.missing:
            raise ValueError(
                f"{path}: {len(writer.missing)} of {len(members)} scenes have no labels (first: "
                f"{writer.missing[0]}); nothing was written"
            )


def _extra_contents(
    submission_format: SubmissionFormat, split: str, brought: Mapping[str, bytes]
) -> dict[str, bytes]:
    """Path -> content of the files beside the labels, sorted."""
    extras = submission_format.extras_of(split)
    by_name = {member.rpartition("/")[2]: member for member in extras}
    contents = {m: extra.default for m, extra in extras.items() if extra.default is not None}
    for name, data in brought.items():
        if name not in by_name:
            known = ", ".join(by_name) or "none"
            raise ValueError(
                f"{name}: no file of a submission to {submission_format.name} (it takes: {known})"
            )
        problems = extras[by_name[name]].problems(data)
        if problems:
            raise ValueError(f"{name}: {'; '.join(problems)}")
        contents[by_name[name]] = data
    return dict(sorted(contents.items()))


@contextmanager
def _opened(path: Path, is_zip: bool) -> Iterator[_Sink]:
    if not is_zip:
        yield _FolderSink(path)
        return
    with zipfile.ZipFile(path, "w") as archive:
        yield _ZipSink(archive)


class _FolderSink:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, data: bytes) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def put_folder(self, name: str) -> None:
        (self._folder / name).mkdir()


class _ZipSink:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def put(self, name: str, data: bytes) -> None:
        entry = _entry(name, 0o100644)
        entry.compress_type = zipfile.ZIP_DEFLATED
        self._archive.writestr(entry, data)

    def put_folder(self, name: str) -> None:
        entry = _entry(name, 0o040755)
        entry.external_attr |= 0x10  # a directory, as MS-DOS marks it
        self._archive.writestr(entry, b"")


def _entry(name: str, mode: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _DATE)
    entry.create_system = _UNIX  # whatever system it is written on
    entry.external_attr = mode << 16
    return entry
