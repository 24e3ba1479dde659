"""The files of a folder or zip by name, read one at a time, and their faults as files."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

# What zipfile raises for bytes that are no zip, beside its own exception: it parses the structures
# as it goes, and passes on what its parts say.
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    OSError,
    EOFError,
    OverflowError,
    RuntimeError,
    ValueError,
)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_LITTER = (".ds_store", "thumbs.db", "desktop.ini")
_ZIP64_EXTRA = b"\x01\x00"


@dataclass(frozen=True)
class Member:
    """One file: its path within the submission, its size, and a function that reads it."""

    name: str
    num_bytes: int
    _read: Callable[[], bytes]

    def read(self) -> bytes:
        """The content; ValueError with the reason where it cannot be had."""
        try:
            return self._read()
        except _BROKEN as error:
            raise ValueError(f"cannot be read ({error})") from error

    @property
    def is_litter(self) -> bool:
        """Whether it is a file that macOS or Windows leaves in folders."""
        path = PurePosixPath(self.name)
        return (
            "__MACOSX" in path.parts or path.name.lower() in _LITTER or path.name.startswith("._")
        )


@dataclass(frozen=True)
class Members:
    """What a folder or zip holds.

    files     sorted by name; a name may come twice in a zip
    folders   names of the entries that a zip has for folders; None for a folder on disk
    problems  of files that no server would unpack
    notes     that concern the whole
    """

    files: tuple[Member, ...]
    folders: frozenset[str] | None
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@contextmanager
def open_members(path: Path) -> Iterator[Members]:
    """The files of a folder or zip.

    Raises FileNotFoundError where nothing is there, and ValueError for a file that is no zip, or
    one whose table of contents is broken.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        yield Members(
            tuple(
                Member(file.relative_to(path).as_posix(), file.stat().st_size, file.read_bytes)
                for file in files
            ),
            folders=None,
        )
        return
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there; pass a folder or a zip of label files")
    try:
        archive = zipfile.ZipFile(path)
    except _BROKEN as error:
        raise ValueError(
            f"{path} is neither a folder nor a whole zip ({error}); write it again"
        ) from error
    with archive:
        yield _of_archive(path, archive)


def shown(name: str) -> str:
    """A name as messages show it: one that is empty or would upset a terminal, in quotes."""
    return name if name and name.isprintable() else ascii(name)


def _of_archive(path: Path, archive: zipfile.ZipFile) -> Members:
    entries = sorted(archive.infolist(), key=lambda entry: entry.filename)
    # ZipInfo.is_dir stumbles over an empty name
    files = [entry for entry in entries if not entry.filename.endswith("/")]
    problems = [
        f"{shown(entry.filename)}: {problem}"
        for entry in entries
        if (problem := _entry_problem(entry))
    ]
    if path.suffix != ".zip":
        problems.append(f"{path.name}: a zip whose name does not end in .zip; rename it")
    notes: tuple[str, ...] = ()
    if len(entries) > 0xFFFF or any(_needs_zip64(entry) for entry in entries):
        notes = ("uses zip64 (large sizes or many files), which old programs cannot unpack",)
    return Members(
        tuple(Member(e.filename, e.file_size, partial(archive.read, e)) for e in files),
        frozenset(entry.filename for entry in entries if entry.filename.endswith("/")),
        tuple(problems),
        notes,
    )


def _entry_problem(entry: zipfile.ZipInfo) -> str | None:
    """Why a server could not, or would not, unpack an entry."""
    name = PurePosixPath(entry.filename)
    if not entry.filename:
        return "an entry without a name"
    if entry.filename != entry.orig_filename:
        return "its name holds a zero byte"
    if name.is_absolute() or ".." in name.parts or entry.filename[1:2] == ":":
        return "its name leads out of the folder it is unpacked to"
    if "\\" in entry.filename:
        return "its name has backslashes; folders are separated by /"
    if stat.S_ISLNK(entry.external_attr >> 16):
        return "is a symbolic link; put the file itself into the zip"
    if entry.flag_bits & 1:
        return "is encrypted; write the zip without a password"
    if entry.compress_type not in _METHODS:
        return (
            f"is compressed by method {entry.compress_type}; only stored and deflated files are "
            "read everywhere"
        )
    return None


def _needs_zip64(entry: zipfile.ZipInfo) -> bool:
    extra = entry.extra
    while len(extra) >= 4:
        if extra[:2] == _ZIP64_EXTRA:
            return True
        extra = extra[4 + int.from_bytes(extra[2:4], "little") :]
    return False
