"""The build: which compiler, what is compiled again, and with which instruction sets."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.helpers.kernels import native_build


def fake_nvcc(folder: Path) -> Path:
    path = folder / "nvcc"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_nvcc_of_cuda_home_comes_before_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_home = fake_nvcc(tmp_path / "home" / "bin")
    on_path = fake_nvcc(tmp_path / "path")
    monkeypatch.setenv("PATH", str(on_path.parent))
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "home"))
    assert native_build.find_nvcc() == at_home
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "empty"))
    assert native_build.find_nvcc() == on_path


@pytest.mark.parametrize(("choice", "wanted"), [("auto", True), ("0", False), ("1", True)])
def test_cuda_half_follows_the_variable(
    choice: str, wanted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvcc = fake_nvcc(tmp_path)
    monkeypatch.setattr(native_build, "find_nvcc", lambda: nvcc)
    monkeypatch.setenv("POINTSEG_CUDA", choice)
    assert native_build.cuda_wanted() == (nvcc if wanted else None)


def test_cuda_half_without_nvcc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_build, "find_nvcc", lambda: None)
    monkeypatch.setenv("POINTSEG_CUDA", "auto")
    assert native_build.cuda_wanted() is None
    monkeypatch.setenv("POINTSEG_CUDA", "1")
    with pytest.raises(native_build.BuildError, match="no nvcc was found"):
        native_build.cuda_wanted()


def test_unknown_cuda_choice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POINTSEG_CUDA", "yes")
    with pytest.raises(native_build.BuildError, match="POINTSEG_CUDA must be auto, 0 or 1"):
        native_build.cuda_wanted()


def make_object(folder: Path, *flags: str) -> native_build.Object:
    command = (os.environ.get("CXX", "g++"), *flags)
    return native_build.Object(folder / "unit.cpp", folder / "unit.o", command)


@pytest.fixture
def unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source and the header it includes, as if they were the project's."""
    monkeypatch.setattr(native_build, "ROOT", tmp_path)
    (tmp_path / "unit.h").write_text("inline int one() { return 1; }\n")
    (tmp_path / "unit.cpp").write_text('#include "unit.h"\nint two() { return 2 * one(); }\n')
    return tmp_path


def make_newer(path: Path, than: Path) -> None:
    later = than.stat().st_mtime_ns + 10**9
    os.utime(path, ns=(later, later))


def test_object_is_compiled_once(unit: Path) -> None:
    item = make_object(unit)
    assert native_build.out_of_date(item)
    native_build.compile_object(item)
    assert not native_build.out_of_date(item)


@pytest.mark.parametrize("changed", ["unit.cpp", "unit.h"])
def test_object_is_compiled_again_when_what_it_read_changes(unit: Path, changed: str) -> None:
    item = make_object(unit)
    native_build.compile_object(item)
    make_newer(unit / changed, than=item.path)
    assert native_build.out_of_date(item)


def test_object_is_compiled_again_with_other_flags(unit: Path) -> None:
    native_build.compile_object(make_object(unit))
    assert native_build.out_of_date(make_object(unit, "-O1"))


def test_compiler_error_names_the_file(unit: Path) -> None:
    (unit / "unit.cpp").write_text("int two() { return nothing; }\n")
    item = make_object(unit)
    with pytest.raises(native_build.BuildError, match=r"(?s)unit\.cpp does not compile.*nothing"):
        native_build.compile_object(item)
    assert native_build.out_of_date(item)


def test_x86_sources_are_compiled_per_instruction_set() -> None:
    objects = native_build.cpu_objects(Path("include"))
    ranks = [item.rank for item in objects]
    assert ranks == sorted(ranks), "the linker must meet lower instruction sets first"
    per_source = {item.source for item in objects if item.rank}
    for source in per_source:
        names = [flag for item in objects if item.source == source for flag in item.command]
        isas = [flag.partition("=")[2] for flag in names if flag.startswith("-DPOINTSEG_ISA=")]
        if source.name.endswith("_bf16.cpp"):
            assert isas == ["avx512_bf16"]
            continue
        assert isas == (["baseline", "avx2", "avx512"] if native_build.is_x86() else ["baseline"])
        assert source.name.endswith("_isa.cpp")
