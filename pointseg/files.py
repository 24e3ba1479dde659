"""Output files that are either whole or not there, and never replace others unasked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

_UNFINISHED = ".part"


def refuse_existing(paths: Iterable[Path], overwrite: bool) -> None:
    """Raise FileExistsError for the paths that are there already, unless ``overwrite``.

    Meant to be asked before a long computation, not after it.
    """
    existing = [] if overwrite else [path for path in paths if path.exists()]
    if existing:
        more = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        raise FileExistsError(
            f"{existing[0]}{more} would be overwritten; choose another --out or pass --overwrite"
        )


@contextmanager
def written_whole(path: Path, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary path in ``path``'s folder, renamed to ``path`` when the block ends well.

    The folder is made where it is missing. When the block raises, nothing is left behind.
    """
    path = Path(path)
    refuse_existing([path], overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_UNFINISHED}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_unfinished(folder: Path, name: str) -> None:
    """Remove the temporary files that `written_whole` left in ``folder`` when it was killed.

    Those of files called ``name``, which may be a pattern such as ``*.pt``. No other process may be
    writing them.
    """
    for path in folder.glob(f".{name}.*{_UNFINISHED}"):
        path.unlink()


@contextmanager
def folder_written_whole(path: Path) -> Iterator[Path]:
    """As `written_whole`, for a folder, which is never written over another one.

    Yields an empty folder beside ``path``.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path} is there already; remove it, or choose another folder")
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_UNFINISHED}")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
