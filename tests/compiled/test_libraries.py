"""The compiled libraries: what they need of torch and of the system, and what they hold."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from tests.compiled.libraries import (
    CPU_LIBRARY,
    CUDA_LIBRARY,
    MACHINE_CODE,
    PTX,
    cuda_torch_symbols,
    fat_binaries,
    needs_binutils,
    needs_checkout_build,
    needs_cuda_library,
    output_of,
    undefined_symbols,
)
from tests.helpers.kernels import ROOT, native_build

TORCH = Path(torch.__file__).parent
LIBRARIES = [
    pytest.param(CPU_LIBRARY, "libtorch_cpu.so", id="cpu", marks=needs_checkout_build),
    pytest.param(CUDA_LIBRARY, "libtorch.so", id="cuda", marks=needs_cuda_library),
]
MAX_CUDA_MIB = 40


@needs_binutils
@pytest.mark.parametrize(("library", "_"), LIBRARIES)
def test_library_keeps_to_the_stable_abi(library: Path, _: str) -> None:
    symbols = undefined_symbols(library)
    assert not [name for name in symbols if name.startswith(("Py", "_Py"))]
    assert not [name for name in symbols if re.match(r"_ZN?K?(2at|3c10|5torch|6caffe2)", name)]
    assert [name for name in symbols if name.startswith(("aoti_torch_", "torch_"))]


@needs_binutils
@pytest.mark.parametrize(("library", "torch_library"), LIBRARIES)
def test_needs_torch_and_what_every_system_has(library: Path, torch_library: str) -> None:
    dynamic = output_of("readelf", "--dynamic", "--wide", str(library))
    needed = set(re.findall(r"NEEDED.*\[(.+)\]", dynamic))
    assert torch_library in needed
    system = r"(libstdc\+\+|libgcc_s|libm|libc|libdl|librt|libpthread|ld-linux[\w-]*)\.so\.\d+"
    assert not [name for name in needed - {torch_library} if not re.fullmatch(system, name)]
    assert not re.search(r"RPATH|RUNPATH", dynamic)


def missing_here(library: Path, torch_library: str) -> set[str]:
    """Symbols of `library` that the loader would not find on this machine."""
    # Looks where the loader does: in torch's library, and in all that it needs.
    found = ctypes.CDLL(str(TORCH / "lib" / torch_library))
    return {name for name in undefined_symbols(library) if not hasattr(found, name)}


@needs_binutils
@needs_checkout_build
def test_cpu_torch_has_all_that_the_cpu_library_calls() -> None:
    assert missing_here(CPU_LIBRARY, "libtorch_cpu.so") == set()


@needs_binutils
@needs_cuda_library
def test_what_only_a_cuda_torch_has_is_listed() -> None:
    listed = {symbol.name for symbol in cuda_torch_symbols()}
    assert missing_here(CUDA_LIBRARY, "libtorch.so") <= listed
    assert listed <= set(undefined_symbols(CUDA_LIBRARY)), "the list names what nothing calls"
    assert torch.version.cuda or listed <= missing_here(CUDA_LIBRARY, "libtorch.so")


@pytest.mark.parametrize("symbol", cuda_torch_symbols(), ids=lambda symbol: symbol.name)
def test_listed_symbol_is_declared_by_torch(symbol: object) -> None:
    name, header, release = symbol  # type: ignore[misc]
    assert re.search(rf"\b{name}\b", (TORCH / "include" / header).read_text())
    assert tuple(map(int, release.split("."))) <= (2, 10)


@needs_cuda_library
def test_cuda_library_is_small_enough_to_ship() -> None:
    assert CUDA_LIBRARY.stat().st_size <= MAX_CUDA_MIB * 2**20


@needs_cuda_library
def test_every_cuda_source_has_code_for_every_gpu() -> None:
    wanted = {(MACHINE_CODE, int(arch)) for arch in native_build.CUDA_ARCHS}
    wanted.add((PTX, int(native_build.CUDA_PTX)))
    sources = sorted((ROOT / "csrc" / "kernels" / "cuda").glob("*.cu"))
    complete = [held for held in fat_binaries(CUDA_LIBRARY) if held == wanted]
    assert len(complete) == len(sources)


@needs_checkout_build
@needs_binutils
@pytest.mark.skipif(not native_build.is_x86(), reason="not an x86-64 machine")
def test_wide_registers_stay_in_their_namespace() -> None:
    """Shared code must run everywhere: only a set's own namespace may use its registers."""
    listing = output_of(
        *("objdump", "--disassemble", "--demangle", "--no-show-raw-insn", str(CPU_LIBRARY))
    )
    function, strays = "", set()
    for line in listing.splitlines():
        if header := re.match(r"[0-9a-f]+ <(.*)>:$", line):
            function = header.group(1)
        elif ("%zmm" in line and "avx512" not in function) or (
            "%ymm" in line and not re.search("avx512|avx2", function)
        ):
            strays.add(function)
    assert not strays


@needs_checkout_build
def test_wheel_serves_every_python(tmp_path: Path) -> None:
    environment = {**os.environ, "POINTSEG_CUDA": "0"}
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build", "-b", str(tmp_path / "build")]
        + ["bdist_wheel", "-d", str(tmp_path), "-b", str(tmp_path / "wheel")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    assert re.fullmatch(r"pointseg-[\d.]+-py3-none-linux_\w+\.whl", wheel.name)
    names = zipfile.ZipFile(wheel).namelist()
    assert "pointseg/_C.so" in names
    assert "pointseg/ops/__init__.py" in names
    assert not [name for name in names if name.startswith(("tests/", "csrc/", "tools/"))]
