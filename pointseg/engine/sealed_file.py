"""Torch files that say whether they are whole: a digest of their bytes stands at their end.

torch.save writes a zip archive, and torch.load does not look at its checksums: a flipped bit in
a weight goes unnoticed. So the archive's comment, which every reader of zip files skips, holds a
seal: a line of JSON with the step of the run and the SHA-256 of that and of all bytes before. The
file stays one that torch.load takes as it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import torch

from pointseg.files import written_whole

_END_SIGNATURE = b"PK\x05\x06"  # of the record that ends a zip archive
_END_SIZE = 22
_TAIL = 4096  # more than that record and a seal take
_CHUNK = 2**20


class NotSaved(OSError):
    """A file that could not be written; the message names it, its size and the free space."""


class Damaged(ValueError):
    """A file that is not what was written; the message says how that shows."""


@dataclass(frozen=True)
class Seal:
    """What the end of a file says about it."""

    step: int
    sha256: str
    """Of all bytes before the length of the archive's comment, a length of 0 and the step's digits.
    """
    size: int
    """Bytes that come before the length of the comment."""


@contextmanager
def sealed_file(value: Any, path: Path, step: int) -> Iterator[Path]:
    """Write ``value`` to ``path`` whole or not at all, with a seal.

    The block is given the file when it is on disk under a temporary name beside ``path``; the name
    is taken when the block ends well. Raises NotSaved where it cannot be written; nothing is left
    behind then, and what ``path`` was before stays.
    """
    size = 0
    try:
        with written_whole(path, overwrite=True) as temporary:
            with open(temporary, "wb") as stream:
                writer = _Writer(stream)
                torch.save(value, cast(IO[bytes], writer))
                size = writer.size
                if writer.error is not None:
                    raise writer.error
                _append_seal(stream, writer.sha256, step)
                stream.flush()
                os.fsync(stream.fileno())
            yield temporary
    except NotSaved:
        raise
    except OSError as error:
        raise not_saved(path, size, error) from error
    sync_directory(path.parent)


def not_saved(path: Path, size: int, error: OSError) -> NotSaved:
    """What to raise where ``size`` bytes could not be written to ``path``."""
    folder = next(folder for folder in path.absolute().parents if folder.is_dir())
    return NotSaved(
        f"{path} could not be written ({error.strerror or error}): it takes {size:,} bytes, "
        f"{shutil.disk_usage(folder).free:,} are free there; what was there before is unchanged"
    )


def load_sealed(stream: BinaryIO, map_location: str | torch.device = "cpu") -> tuple[Any, bool]:
    """The value in an open file, read without running code from it, and whether it is sealed.

    Raises Damaged for a broken seal and for whatever torch cannot read. Of a file without a seal
    the checksums of the archive are compared.
    """
    is_sealed = check_seal(stream)
    try:
        if not is_sealed:
            stream.seek(0)
            _check_entries(stream)
        stream.seek(0)
        return torch.load(stream, map_location=map_location, weights_only=True), is_sealed
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to mean
        raise Damaged(str(error).partition("\n")[0] or type(error).__name__) from error


def check_seal(stream: BinaryIO) -> bool:
    """Compare a file with its seal; False where it has none. Raises Damaged."""
    seal = read_seal(stream)
    if seal is None:
        return False
    stream.seek(0)
    sha256 = hashlib.sha256()
    left = seal.size
    while left > 0:
        chunk = stream.read(min(_CHUNK, left))
        if not chunk:
            break
        sha256.update(chunk)
        left -= len(chunk)
    sha256.update(b"\0\0" + str(seal.step).encode())
    if sha256.hexdigest() != seal.sha256:
        raise Damaged("its bytes are not those that were written: the SHA-256 differs")
    return True


def read_seal(stream: BinaryIO) -> Seal | None:
    """The seal of an open file, which is not compared with its bytes; None where it has none.

    Raises Damaged for the end of a sealed file that is cut off or garbled.
    """
    file_size = stream.seek(0, os.SEEK_END)
    start = max(file_size - _TAIL, 0)
    stream.seek(start)
    tail = stream.read()
    at = tail.rfind(_END_SIGNATURE)
    if at < 0 or len(tail) < at + _END_SIZE:
        return None
    comment = tail[at + _END_SIZE :]
    length = int.from_bytes(tail[at + _END_SIZE - 2 : at + _END_SIZE], "little")
    if length != len(comment):
        raise Damaged(f"its end is cut off or garbled ({len(comment)} of {length} bytes)")
    if not comment:
        return None
    try:
        facts = json.loads(comment)
        return Seal(int(facts["step"]), str(facts["sha256"]), start + at + _END_SIZE - 2)
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged("its seal is garbled") from error


def sync_directory(directory: Path) -> None:
    """Bring the names in a folder to disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Writer:
    """The stream that torch writes to: counts and digests its bytes.

    After an error it only counts. torch's writer cannot be left half-way, and so the size that
    would have been needed is known.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.size = 0
        self.sha256 = hashlib.sha256()
        self.error: OSError | None = None
        self._stream = stream

    def write(self, data: Any) -> int:
        count = len(data)
        self.size += count
        if self.error is None:
            try:
                self._stream.write(data)
            except OSError as error:
                self.error = error
            self.sha256.update(data)
        return count

    def flush(self) -> None:
        """Asked for by torch at its end; the file is flushed once the seal is in it."""


def _append_seal(stream: BinaryIO, sha256: hashlib._Hash, step: int) -> None:
    sha256.update(str(step).encode())
    facts = {"step": step, "sha256": sha256.hexdigest()}
    encoded = json.dumps(facts, separators=(",", ":")).encode()
    stream.seek(-2, os.SEEK_END)  # the length of the comment, 0 until now
    stream.write(len(encoded).to_bytes(2, "little") + encoded)


def _check_entries(stream: BinaryIO) -> None:
    """Compare the entries of an archive with the checksums in its directory."""
    if zipfile.is_zipfile(stream):
        with zipfile.ZipFile(stream) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise Damaged(f"the checksum of its entry {damaged} differs")
