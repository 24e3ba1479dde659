"""Lines appended to a file, by a program that goes on when the disk is full."""

from __future__ import annotations

from pathlib import Path


class RowFile:
    """Appends lines; what cannot be written waits and comes before the next one.

    A write that took only a part of a line is gone on with where it stopped, so that no line is
    torn for good but by the end of the process.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stream = open(path, "ab", buffering=0)  # noqa: SIM115  closed by close()
        self._waiting = b""

    @property
    def num_waiting(self) -> int:
        """Bytes that are not written yet."""
        return len(self._waiting)

    def append(self, line: str) -> OSError | None:
        """Write a line and all that waits; the error where that was not possible."""
        self._waiting += line.encode() + b"\n"
        return self._write()

    def close(self) -> OSError | None:
        """Try once more and close the file; the error where that was not possible."""
        error = self._write()
        self._stream.close()
        return error

    def _write(self) -> OSError | None:
        try:
            while self._waiting:
                self._waiting = self._waiting[self._stream.write(self._waiting) :]
        except OSError as error:
            return error
        return None
