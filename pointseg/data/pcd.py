"""The PCD format of the Point Cloud Library: ascii, binary and binary_compressed."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_REQUIRED = ("FIELDS", "SIZE", "TYPE", "POINTS", "DATA")
_KINDS = {"I": "i", "U": "u", "F": "f"}
_ENCODINGS = ("ascii", "binary", "binary_compressed")
_MAX_HEADER_BYTES = 1 << 16


@dataclass(frozen=True)
class _Header:
    dtype: np.dtype[Any]
    num_points: int
    encoding: str
    num_bytes: int  # where the data begins


def read_pcd(path: Path) -> NDArray[Any]:
    """A structured array [P] with the file's fields; fields of COUNT > 1 are sub-arrays.

    A broken or cut-off file is a ValueError with the path and what was expected.
    """
    content = path.read_bytes()
    header = _parse_header(content, path)
    body = memoryview(content)[header.num_bytes :]
    if header.encoding == "ascii":
        return _read_ascii(body, header, path)
    if header.encoding == "binary":
        return _read_binary(body, header, path)
    return _read_compressed(body, header, path)


def _parse_header(content: bytes, path: Path) -> _Header:
    entries: dict[str, list[str]] = {}
    position = 0
    while "DATA" not in entries:
        end = content.find(b"\n", position, _MAX_HEADER_BYTES)
        if end < 0:
            raise ValueError(f"{path}: not a PCD file, or cut off: no DATA line in its header")
        words = content[position:end].decode("latin-1").split()
        position = end + 1
        if words and not words[0].startswith("#"):
            entries[words[0].upper()] = words[1:]
    missing = [key for key in _REQUIRED if not entries.get(key)]
    if missing:
        raise ValueError(f"{path}: broken PCD header: {', '.join(missing)} missing or empty")
    names = entries["FIELDS"]
    counts = entries.get("COUNT", ["1"] * len(names))
    if not len(names) == len(entries["SIZE"]) == len(entries["TYPE"]) == len(counts):
        raise ValueError(f"{path}: broken PCD header: FIELDS, SIZE, TYPE, COUNT differ in length")
    try:
        fields: list[Any] = []
        for i, (name, size, kind, count) in enumerate(
            zip(names, entries["SIZE"], entries["TYPE"], counts, strict=True)
        ):
            scalar = np.dtype(f"<{_KINDS[kind.upper()]}{int(size)}")
            # "_" is padding and may come several times.
            unique = f"_{i}" if name == "_" else name
            fields.append((unique, scalar) if int(count) == 1 else (unique, scalar, int(count)))
        dtype = np.dtype(fields)
        num_points = int(entries["POINTS"][0])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: broken PCD header ({error})") from error
    encoding = entries["DATA"][0].lower()
    if encoding not in _ENCODINGS:
        raise ValueError(f"{path}: DATA is {encoding!r}, expected one of {', '.join(_ENCODINGS)}")
    if num_points < 0:
        raise ValueError(f"{path}: broken PCD header: POINTS is {num_points}")
    return _Header(dtype, num_points, encoding, position)


def _cut_off(path: Path, what: str) -> ValueError:
    return ValueError(f"{path}: cut off or broken: {what}; export or copy the file again")


def _read_ascii(body: memoryview, header: _Header, path: Path) -> NDArray[Any]:
    lines = [line for line in bytes(body).decode("latin-1").splitlines() if line.strip()]
    if len(lines) != header.num_points:
        raise _cut_off(path, f"{len(lines)} lines of data, the header says {header.num_points}")
    names = header.dtype.names or ()
    if not lines:
        return np.empty(0, header.dtype)
    # Column by column: "nan" and 32-bit packed colours are both valid, so no dtype fits all.
    width = sum(int(np.prod(header.dtype[name].shape, dtype=int)) for name in names)
    rows = [line.split() for line in lines]
    wrong = next((i for i, row in enumerate(rows) if len(row) != width), None)
    if wrong is not None:
        found = len(rows[wrong])
        raise _cut_off(path, f"data line {wrong + 1} has {found} values, expected {width}")
    text = np.array(rows)
    out = np.empty(header.num_points, header.dtype)
    start = 0
    try:
        for name in names:
            base, shape = header.dtype[name].base, header.dtype[name].shape
            size = int(np.prod(shape, dtype=int))
            column = text[:, start : start + size]
            # Through float64, as some writers put "1.0" into integer fields.
            values = column.astype(np.float64 if base.itemsize < 8 or base.kind == "f" else base)
            out[name] = values.astype(base).reshape(header.num_points, *shape)
            start += size
    except ValueError as error:
        raise _cut_off(path, str(error)) from error
    return out


def _read_binary(body: memoryview, header: _Header, path: Path) -> NDArray[Any]:
    expected = header.num_points * header.dtype.itemsize
    if len(body) < expected:
        raise _cut_off(path, f"{len(body)} bytes of data, the header asks for {expected}")
    return np.frombuffer(body[:expected], dtype=header.dtype).copy()


def _read_compressed(body: memoryview, header: _Header, path: Path) -> NDArray[Any]:
    if len(body) < 8:
        raise _cut_off(path, "the sizes of the compressed data are missing")
    compressed_size, size = struct.unpack("<II", body[:8])
    expected = header.num_points * header.dtype.itemsize
    if size != expected:
        raise _cut_off(path, f"{size} bytes when unpacked, the header asks for {expected}")
    if len(body) < 8 + compressed_size:
        found = len(body) - 8
        raise _cut_off(path, f"{found} bytes of compressed data, expected {compressed_size}")
    if expected == 0:
        return np.empty(header.num_points, header.dtype)
    try:
        unpacked = lzf_decompress(bytes(body[8 : 8 + compressed_size]), size)
    except ValueError as error:
        raise _cut_off(path, str(error)) from error
    # Compressed files hold one field after another, not point after point.
    out = np.empty(header.num_points, header.dtype)
    start = 0
    for name in header.dtype.names or ():
        field = header.dtype[name]
        stop = start + header.num_points * field.itemsize
        column = np.frombuffer(unpacked[start:stop], dtype=field.base)
        out[name] = column.reshape(header.num_points, *field.shape)
        start = stop
    return out


def lzf_decompress(data: bytes, size: int) -> bytes:
    """Unpack LZF data (Marc Lehmann's liblzf format) of known size; ValueError if it is damaged.

    A control byte below 32 is followed by that many plus one literal bytes. Otherwise its upper
    three bits (7: plus the next byte) plus 2 are a length, and its lower five with the next byte,
    plus 1, the distance back to what is repeated; the two may overlap.
    """
    out = bytearray()
    position, end = 0, len(data)
    try:
        while position < end:
            control = data[position]
            position += 1
            if control < 32:
                stop = position + control + 1
                if stop > end:
                    raise ValueError("compressed data ends inside a literal run")
                out += data[position:stop]
                position = stop
                continue
            length = control >> 5
            if length == 7:
                length += data[position]
                position += 1
            length += 2
            distance = ((control & 31) << 8 | data[position]) + 1
            position += 1
            start = len(out) - distance
            if start < 0:
                raise ValueError("compressed data refers to what is before its beginning")
            if distance >= length:
                out += out[start : start + length]
            else:
                pattern = bytes(out[start:])
                out += (pattern * (length // distance + 1))[:length]
            if len(out) > size:
                break
    except IndexError as error:
        raise ValueError("compressed data ends inside a back reference") from error
    if len(out) != size:
        raise ValueError(f"compressed data unpacks to {len(out)} bytes, expected {size}")
    return bytes(out)
