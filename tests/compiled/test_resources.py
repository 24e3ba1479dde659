"""The resource report: what ptxas prints is kept, printed as a table, and spills fail the build."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.helpers.kernels import native_build

import ptxas_report  # isort: skip  (beside native_build)

OURS = (
    "_ZN8pointseg4cuda10run_on_gpuINS0_40_GLOBAL__N__12ab34cd_8_scale_cu_5ec0ffee5Sca"
    "leINS0_4HalfELi3EEELl512EEEvT_"
)
PTXAS = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '{kernel}' for '{arch}'
ptxas info    : Function properties for {kernel}
    {stack} bytes stack frame, {spilled} bytes spill stores, {spilled} bytes spill loads
ptxas info    : Used {registers} registers, used 1 barriers, 384 bytes smem, 360 bytes cmem[0]
ptxas info    : Compile time = 15.875 ms
"""


def printed(
    kernel: str = OURS, arch: str = "sm_90", registers: int = 40, stack: int = 0, spilled: int = 0
) -> str:
    return PTXAS.format(kernel=kernel, arch=arch, registers=registers, stack=stack, spilled=spilled)


def test_every_kernel_and_architecture_is_read() -> None:
    log = printed(arch="sm_80", registers=30) + "warning\n" + printed(arch="sm_90", stack=16)
    first, second = ptxas_report.read_report("scale.cu", log)
    assert (first.arch, first.registers, first.shared, first.stack) == ("sm_80", 30, 384, 0)
    assert (second.arch, second.registers, second.stack) == ("sm_90", 40, 16)
    assert not first.spills
    assert ptxas_report.read_report("bindings.cpp", "") == []


def test_function_that_is_not_inlined_is_reported_beside_its_kernel() -> None:
    called = "ptxas info    : Function properties for _Z6helperv\n    32 bytes stack frame, "
    log = printed() + called + "0 bytes spill stores, 4 bytes spill loads\n"
    kernel, helper = ptxas_report.read_report("scale.cu", log)
    assert (kernel.registers, kernel.stack, kernel.spills) == (40, 0, False)
    assert (helper.kernel, helper.stack, helper.spills) == ("_Z6helperv", 32, True)


def test_report_is_kept(tmp_path: Path) -> None:
    kernels = ptxas_report.read_report("scale.cu", printed() + printed(arch="sm_86"))
    ptxas_report.write_report(tmp_path / "resources.json", kernels)
    assert ptxas_report.load_report(tmp_path / "resources.json") == kernels
    assert [path.name for path in tmp_path.iterdir()] == ["resources.json"]


def test_names_are_short() -> None:
    ours = "void pointseg::cuda::run_on_gpu<pointseg::cuda::(anonymous namespace)::Scale<pointseg"
    ours += "::cuda::Half, 3>, 512l>(pointseg::cuda::(anonymous namespace)::Scale<>)"
    assert ptxas_report.split_name(ours) == ("Scale<Half, 3>", 512)
    theirs = "void cub::detail::scan::DeviceScanKernel<cub::Policy, int>(int*)"
    assert ptxas_report.split_name(theirs) == ("DeviceScanKernel", 0)


@pytest.mark.skipif(not shutil.which("c++filt"), reason="binutils are not installed")
def test_table_adds_what_launches_ask_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(native_build, "BUILD_DIR", tmp_path)
    monkeypatch.setattr(sys, "argv", ["native_build.py", "resources"])
    with pytest.raises(SystemExit, match="has not been built here"):
        native_build.main()
    kernels = ptxas_report.read_report("scale.cu", printed(stack=8))
    ptxas_report.write_report(tmp_path / native_build.RESOURCES, kernels)
    native_build.main()
    heads, row = (line.split(maxsplit=6) for line in capsys.readouterr().out.splitlines())
    assert heads == ["source", "arch", "registers", "shared", "stack", "spills", "kernel"]
    assert row == ["scale.cu", "sm_90", "40", "896", "8", "0", "Scale<Half, 3>"]


@pytest.fixture
def item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> native_build.Object:
    monkeypatch.setattr(native_build, "ROOT", tmp_path)
    return native_build.Object(tmp_path / "scale.cu", tmp_path / "scale.o", ())


def test_spilling_kernel_fails_the_build(item: native_build.Object) -> None:
    native_build.check_resources(item, printed())
    item.path.write_bytes(b"")
    report = printed(kernel="good") + printed(kernel="greedy", spilled=24)
    with pytest.raises(native_build.BuildError, match=r"scale\.cu: kernel greedy spills registers"):
        native_build.check_resources(item, report)
    assert not item.path.exists()


def test_stack_frame_is_said_aloud(
    item: native_build.Object, capsys: pytest.CaptureFixture[str]
) -> None:
    native_build.check_resources(item, printed(kernel="plain"))
    assert capsys.readouterr().out == ""
    native_build.check_resources(item, printed(kernel="indexed", stack=48))
    assert "kernel indexed has a stack frame of 48 bytes on sm_90" in capsys.readouterr().out
