"""Small text files of numbers, a record a line, none of which may be cut off."""

from __future__ import annotations

from pathlib import Path


def read_lines(path: Path, remedy: str) -> list[str]:
    """The lines of a text file, without empty ones at its end.

    A byte order mark and any line ends are accepted. A missing file is a FileNotFoundError; one
    that is no text, or whose last line has no end, a ValueError with path and ``remedy``.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {remedy}")
    try:
        # utf-8-sig: some editors put a byte order mark in front.
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file ({error}); {remedy}") from error
    if text and not text.endswith("\n"):  # a number that is cut off is still a number
        raise ValueError(f"{path}: the last line has no end: the file is cut off; {remedy}")
    return text.rstrip().splitlines()


def to_number(word: str) -> float:
    """A number as files have it; ValueError also for ``1_0``, which Python alone takes for 10."""
    if "_" in word:
        raise ValueError(f"could not convert string to float: {word!r}")
    return float(word)
