"""How often a checkpoint may fail to be written before the run ends."""

from __future__ import annotations

from pointseg.engine.sealed_file import NotSaved


class FailedSaves:
    """Counts the steps in a row whose state could not be saved; saves of one step count once."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._steps: set[int] = set()

    def add(self, step: int, error: NotSaved) -> str:
        """The warning for a failed save after ``step`` steps; at the limit NotSaved instead."""
        self._steps.add(step)
        count = len(self._steps)
        if count >= self.limit:
            raise NotSaved(
                f"{error}. {count} saves in a row have failed (train.max_failed_saves): make room "
                "and go on from the last checkpoint with --resume"
            ) from error
        return f"{error}. Trying again at the next save ({count} of {self.limit} failed in a row)"

    def clear(self) -> None:
        """A save has succeeded."""
        self._steps.clear()
