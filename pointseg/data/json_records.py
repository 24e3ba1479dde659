"""Tables in json: a list of records, read one at a time, since some are larger than a gigabyte."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TextIO

_CHUNK: Final = 1 << 22  # characters read at once
_LONGEST: Final = 1 << 16  # characters of a record
_OPENING: Final = re.compile(r"\s*\[\s*")
_NEXT: Final = re.compile(r"\s*([,\]])\s*")


def read_records(path: Path, fields: Mapping[str, type], remedy: str) -> Iterator[dict[str, Any]]:
    """The records of a table, each of which has ``fields`` of those types and maybe others.

    A record has at most 64 thousand characters. A byte order mark and any line ends are accepted.
    A missing file is a FileNotFoundError; anything else that is wrong a ValueError with path,
    record (from 0), field and ``remedy``.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {remedy}")
    number = 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            for record in _elements(file):
                _check(record, fields)
                yield record
                number += 1
    except ValueError as error:  # also of decoding text
        raise ValueError(f"{path}: record {number}: {error}; {remedy}") from error


def _check(record: Any, fields: Mapping[str, type]) -> None:
    if type(record) is not dict:
        raise ValueError(f"expected an object, got {record!r:.60}")
    for field, kind in fields.items():
        if field not in record:
            raise ValueError(f"no field {field!r}")
        if type(record[field]) is not kind:  # not isinstance: a bool is no int here
            raise ValueError(f"{field!r} must be {kind.__name__}, got {record[field]!r:.60}")


def _elements(file: TextIO) -> Iterator[Any]:
    """The elements of a json list, of which no more than a few are in memory at a time."""
    decode = json.JSONDecoder().raw_decode
    text = file.read(_CHUNK)
    opening = _OPENING.match(text)
    if opening is None:
        raise ValueError("not valid json: expected a list of records")
    at = opening.end()
    closed = text.startswith("]", at)
    at += closed
    while not closed:
        if len(text) - at < _LONGEST:
            text, at = text[at:] + file.read(_CHUNK), 0
        try:
            element, at = decode(text, at)
        except json.JSONDecodeError as error:
            raise ValueError(f"not valid json ({error.msg})") from error
        except RecursionError as error:
            raise ValueError("not valid json (nested too deep)") from error
        separator = _NEXT.match(text, at)
        if separator is None:
            raise ValueError("not valid json (cut off, or no comma after it)")
        yield element
        at, closed = separator.end(), separator[1] == "]"
    if text[at:].strip() or file.read(1):
        raise ValueError("not valid json (text after the list)")
