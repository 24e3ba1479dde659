"""The checkpoints of a run: which are kept, under which names, and which one to go on from.

``last.pt`` is the newest state and ``best.pt`` the best one. ``step_00001200.pt`` is an earlier
``last.pt``, kept so that a damaged one has a predecessor. A state with two names is one file with
two hard links where the file system has them, otherwise a copy.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from pointseg.engine.checkpoint import (
    BEST_NAME,
    CHECKPOINT_DIR,
    LAST_NAME,
    Checkpoint,
    load_checkpoint,
    written_checkpoint,
)
from pointseg.engine.sealed_file import check_seal, not_saved, read_seal, sync_directory
from pointseg.files import written_whole

logger = logging.getLogger(__name__)

_STEP_NAME = re.compile(r"step_(\d{8,})\.pt")
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)


@dataclass(frozen=True)
class CheckpointFolder:
    """Saves the states of a run, one after the other, and removes those that are not kept."""

    path: Path
    keep: int = 1
    """Step checkpoints before the last one."""
    keep_every: int = 0
    """Multiples of this many steps are kept for ever; 0: none."""

    def save(self, checkpoint: Checkpoint, is_best: bool = False) -> None:
        """Make this state the last one and, where ``is_best``, the best one.

        A process killed at any moment leaves whole checkpoints under all names. Raises NotSaved;
        every state that was there before is still there then.
        """
        last = self.path / LAST_NAME
        step = checkpoint.step
        with written_checkpoint(checkpoint, last) as written:
            if is_best:
                _name_too(written, self.path / BEST_NAME)
            if self._is_milestone(step):
                _name_too(written, step_path(self.path, step))
            self._keep_predecessor(last, step)
        self._remove_others(step)

    def _keep_predecessor(self, last: Path, step: int) -> None:
        previous = read_step(last)
        if previous is None or previous == step:
            return
        if self.keep > 0 or self._is_milestone(previous):
            target = step_path(self.path, previous)
            try:
                _link(last, target)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                # The new state takes its name at once; until then `find_checkpoint` finds this one.
                os.replace(last, target)

    def _is_milestone(self, step: int) -> bool:
        return bool(self.keep_every) and step % self.keep_every == 0

    def _remove_others(self, step: int) -> None:
        """Remove all but the newest before ``step``, and those of later steps, which come again."""
        others = [s for s in step_checkpoints(self.path) if not self._is_milestone(s)]
        kept = sorted(s for s in others if s < step)[-self.keep :] if self.keep else []
        for other in set(others) - set(kept):
            step_path(self.path, other).unlink()


def step_path(folder: Path, step: int) -> Path:
    """Where the state after ``step`` steps is kept when it is no longer the last one."""
    return folder / f"step_{step:08d}.pt"


def step_checkpoints(folder: Path) -> dict[int, Path]:
    """The step checkpoints in a folder by their step, in rising order."""
    matches = ((_STEP_NAME.fullmatch(path.name), path) for path in folder.glob("step_*.pt"))
    return dict(sorted((int(match[1]), path) for match, path in matches if match))


def find_checkpoint(path: Path, prefer: str = LAST_NAME) -> Path:
    """The checkpoint that ``path`` means: itself if a file, or of a run directory ``prefer`` or
    else another one.

    Where ``last.pt`` is wanted and damaged or missing, it is the newest sound one of the others,
    with a warning; ``best.pt`` has no substitute but where it is missing. Raises FileNotFoundError
    where there is none, ValueError where all are damaged.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such run directory or checkpoint")
    folder = path / CHECKPOINT_DIR
    if prefer == BEST_NAME and (folder / BEST_NAME).is_file():
        return folder / BEST_NAME
    damaged: list[str] = []
    for candidate in _by_age(folder):
        damage = find_damage(candidate)
        if damage is None:
            for line in damaged:
                logger.warning("%s: using %s instead", line, candidate)
            return candidate
        damaged.append(f"{candidate} is damaged ({damage})")
    if damaged:
        raise ValueError(f"{path}: no sound checkpoint in this run: {'; '.join(damaged)}")
    raise FileNotFoundError(
        f"{path}: no checkpoint in this run (looked for {CHECKPOINT_DIR}/{prefer})"
    )


def find_damage(path: Path) -> str | None:
    """What is wrong with a checkpoint's file; None where all its bytes are as they were written."""
    try:
        with open(path, "rb") as stream:
            is_sealed = check_seal(stream)
        if not is_sealed:
            load_checkpoint(path)
    except (ValueError, OSError) as error:  # OSError: the disk cannot read it
        return str(error)
    return None


def read_step(path: Path) -> int | None:
    """The step of a checkpoint, without reading its weights where it is sealed; None where it is
    missing or unreadable.
    """
    if not path.is_file():
        return None
    try:
        with open(path, "rb") as stream:
            seal = read_seal(stream)
        return load_checkpoint(path).step if seal is None else seal.step
    except ValueError:
        return None


def _by_age(folder: Path) -> list[Path]:
    """The last checkpoint, then the others, newest first."""
    last, best = folder / LAST_NAME, folder / BEST_NAME
    others = [(step, path) for step, path in step_checkpoints(folder).items()]
    if best.is_file():
        step = read_step(best)
        others.append((-1 if step is None else step, best))
    newest_first = [path for _, path in sorted(others, reverse=True)]
    return [last, *newest_first] if last.is_file() else newest_first


def _name_too(source: Path, target: Path) -> None:
    """Give a file a second name; another file of that name is replaced."""
    try:
        try:
            _link(source, target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            _copy(source, target)
    except OSError as error:
        raise not_saved(target, source.stat().st_size, error) from error


def _link(source: Path, target: Path) -> None:
    with written_whole(target, overwrite=True) as temporary:
        os.link(source, temporary)
    sync_directory(target.parent)


def _copy(source: Path, target: Path) -> None:
    with (
        written_whole(target, overwrite=True) as temporary,
        open(source, "rb") as original,
        open(temporary, "wb") as stream,
    ):
        shutil.copyfileobj(original, stream)
        stream.flush()
        os.fsync(stream.fileno())
    sync_directory(target.parent)
