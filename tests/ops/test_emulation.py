"""Emulated GPU threads show what is wrong with kernels: see misuse.cu, one fault a kernel."""

from __future__ import annotations

import ctypes
import os
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.kernels import ROOT, native_build

pytestmark = pytest.mark.cpu_kernels  # they need no operator of ours

SIZE = 64
REFUSED = {
    "HalfAWarpVotes": "the others wait for lanes that do not come",
    "OneWarpWaitsForTheBlock": "32 wait for the block, 32 have returned",
    "LanesWaitAtDifferentBarriers": "32 wait for the block, 0 have returned",
    "WriteBehindSharedMemory": "a write beside the shared memory",
    "WriteBeforeSharedMemory": "a write beside the shared memory",
    "CopyToAnOddAddress": "thread .*: copy_async: .* not a multiple of 16",
    "CopyFromAnOddAddress": "thread .*: copy_async: .* not a multiple of 16",
}
ORDER_MATTERS = (
    "CopyWithoutWait",
    "CopyReadOneGroupEarly",
    "SharedMemoryReadBeforeWritten",
    "NeighborReadWithoutBarrier",
    "BlocksWriteTheSameElement",
)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    path = tmp_path_factory.mktemp("misuse") / "misuse.so"
    compiler = shlex.split(os.environ.get("CXX", "g++"))
    sources = (
        Path(__file__).with_name("misuse.cu"),
        native_build.CSRC / "kernels" / "emulated" / "block.cpp",
    )
    subprocess.run(
        [*compiler, *native_build.EMULATED_FLAGS, "-I", str(native_build.CSRC), "-shared"]
        + [*map(str, sources), "-o", str(path)],
        check=True,
        cwd=ROOT,
    )
    return ctypes.CDLL(str(path))


def run(library: ctypes.CDLL, kernel: str) -> np.ndarray:
    """The kernel's output; RuntimeError with what the emulation said."""
    out = np.zeros(SIZE, np.int32)
    said = ctypes.create_string_buffer(1000)
    pointer = out.ctypes.data_as(ctypes.c_void_p)
    if library.run(kernel.encode(), pointer, said, ctypes.c_int64(len(said))):
        raise RuntimeError(said.value.decode())
    return out


@pytest.mark.parametrize("order", ["ascending", "descending"])
def test_sound_kernel_runs(
    library: ctypes.CDLL, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POINTSEG_EMULATED_ORDER", order)
    assert np.array_equal(run(library, "Nothing"), np.roll(np.arange(SIZE), -1))
    with pytest.raises(RuntimeError, match="no such kernel"):
        run(library, "no kernel")


@pytest.mark.parametrize("order", ["ascending", "descending"])
@pytest.mark.parametrize("kernel", REFUSED)
def test_misuse_is_refused(
    library: ctypes.CDLL, kernel: str, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POINTSEG_EMULATED_ORDER", order)
    with pytest.raises(RuntimeError, match=f"emulated GPU: .*{REFUSED[kernel]}"):
        run(library, kernel)
    # What was refused leaves the emulation usable.
    assert np.array_equal(run(library, "Nothing"), np.roll(np.arange(SIZE), -1))


@pytest.mark.parametrize("kernel", ORDER_MATTERS)
def test_race_gives_other_bits_in_the_other_order(
    library: ctypes.CDLL, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for order in ("ascending", "descending"):
        monkeypatch.setenv("POINTSEG_EMULATED_ORDER", order)
        found.append(run(library, kernel))
    assert not np.array_equal(*found)


@pytest.mark.parametrize("kernel", [name for name in ORDER_MATTERS if name.startswith("Copy")])
def test_copies_arrive_as_late_as_they_may(library: ctypes.CDLL, kernel: str) -> None:
    """They would be zeros."""
    assert (run(library, kernel) != 0).all()
