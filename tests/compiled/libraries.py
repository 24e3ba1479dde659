"""What a compiled library holds and needs, read without loading it."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.helpers.kernels import ROOT

CPU_LIBRARY = ROOT / "pointseg" / "_C.so"
CUDA_LIBRARY = ROOT / "pointseg" / "_C_cuda.so"

needs_checkout_build = pytest.mark.skipif(
    not CPU_LIBRARY.is_file(), reason="the libraries are not built in this checkout"
)
needs_cuda_library = pytest.mark.skipif(
    not CUDA_LIBRARY.is_file(), reason="the CUDA library is not built (no nvcc)"
)
needs_binutils = pytest.mark.skipif(
    not all(map(shutil.which, ("nm", "objdump", "readelf"))), reason="binutils are not installed"
)


def output_of(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def undefined_symbols(library: Path) -> list[str]:
    """Names that must be found when the library is loaded; weak ones need not be."""
    lines = [line.split() for line in output_of("nm", "-D", "-u", str(library)).splitlines()]
    return [name.partition("@")[0] for kind, name in lines if kind == "U"]


class TorchSymbol(NamedTuple):
    """A function that only a CUDA build of torch has."""

    name: str
    header: str
    release: str


def cuda_torch_symbols() -> list[TorchSymbol]:
    text = (ROOT / "csrc" / "cuda_torch_symbols.txt").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [TorchSymbol(*line.split()) for line in lines]


FAT_BINARY = 0xBA55ED50
PTX, MACHINE_CODE = 1, 2


def fat_binaries(library: Path) -> Iterator[set[tuple[int, int]]]:
    """For every CUDA object in the library: the (kind, architecture) of what it holds.

    A fat binary is a header (magic, version, its size, the size of what follows) and entries, each
    with a header of its own: kind, size of the header, size of the code, and at byte 28 the
    architecture.
    """
    content = library.read_bytes()
    magic = struct.pack("<IH", FAT_BINARY, 1)
    start = content.find(magic)
    while start >= 0:
        header, size = struct.unpack_from("<HQ", content, start + 6)
        entry, end = start + header, start + header + size
        found = set()
        while entry < end:
            kind, _, header, size = struct.unpack_from("<HHIQ", content, entry)
            (arch,) = struct.unpack_from("<I", content, entry + 28)
            found.add((kind, arch))
            entry += header + size
        yield found
        start = content.find(magic, end)
