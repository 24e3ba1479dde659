"""Loading the compiled part, and what is said where it is missing, broken or somebody else's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch

from pointseg import _native

ROOT = Path(__file__).resolve().parent.parent

CALL_AN_OP = """
import torch
from pointseg.ops import voxelize
voxelize(torch.zeros(1, 4, dtype=torch.int32))
"""


def run_python(
    *arguments: str, path: Path, cwd: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run Python with `path` alone in front of the installed packages."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def uncompiled(tmp_path: Path) -> Path:
    """A folder that holds the package without its libraries."""
    folder = tmp_path / "source"
    ignore = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(ROOT / "pointseg", folder / "pointseg", ignore=ignore)
    return folder


def add_foreign_distribution(folder: Path) -> None:
    """Write what pip leaves behind for another project's package named pointseg."""
    info = folder / "pointseg-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pointseg\nVersion: 9.9\n")


def test_cpu_library_is_loaded() -> None:
    assert _native.is_loaded(), _native.problem()
    assert _native.problem() is None
    _native.require()


def test_instruction_set_is_known() -> None:
    assert torch.ops.pointseg.cpu_isa() in ("baseline", "avx2", "avx512", "avx512_bf16")


def test_instruction_set_can_be_lowered(tmp_path: Path) -> None:
    code = "import torch, pointseg; print(torch.ops.pointseg.cpu_isa())"
    done = run_python("-c", code, path=ROOT, cwd=tmp_path, POINTSEG_ISA="baseline")
    assert done.stdout.strip() == "baseline", done.stderr


def test_unknown_instruction_set_is_refused(tmp_path: Path) -> None:
    code = "import torch, pointseg; print(torch.ops.pointseg.cpu_isa())"
    done = run_python("-c", code, path=ROOT, cwd=tmp_path, POINTSEG_ISA="mmx")
    assert done.returncode != 0
    assert "POINTSEG_ISA must be baseline, avx2, avx512 or avx512_bf16, got mmx" in done.stderr


def test_import_without_libraries_warns_in_one_sentence(uncompiled: Path, tmp_path: Path) -> None:
    done = run_python("-c", "import pointseg", path=uncompiled, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    warning = [line for line in done.stderr.splitlines() if "RuntimeWarning" in line]
    assert len(warning) == 1
    assert "compiled part is missing" in warning[0]
    assert "make build" in warning[0] and "pip install --no-build-isolation -e ." in warning[0]


def test_every_op_module_imports_without_libraries(uncompiled: Path, tmp_path: Path) -> None:
    code = "import pointseg.ops, pointseg.sparse, pointseg.nn, pointseg.models"
    done = run_python("-W", "ignore", "-c", code, path=uncompiled, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_op_call_without_libraries_raises_the_same_sentence(
    uncompiled: Path, tmp_path: Path
) -> None:
    done = run_python("-W", "ignore", "-c", CALL_AN_OP, path=uncompiled, cwd=tmp_path)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: pointseg's compiled part is missing"), done.stderr
    assert "make build" in last


def test_foreign_distribution_is_named(uncompiled: Path, tmp_path: Path) -> None:
    add_foreign_distribution(uncompiled)
    done = run_python("-c", "import pointseg", path=uncompiled, cwd=tmp_path)
    assert "another package named pointseg is installed here" in done.stderr
    assert "9.9" in done.stderr and "pip uninstall pointseg" in done.stderr


def test_foreign_extension_module_is_named(uncompiled: Path, tmp_path: Path) -> None:
    extension = uncompiled / "pointseg" / "_C.cpython-311-x86_64-linux-gnu.so"
    extension.write_bytes(b"")
    done = run_python("-c", "import pointseg", path=uncompiled, cwd=tmp_path)
    assert "another package named pointseg" in done.stderr
    assert extension.name in done.stderr


def test_file_that_is_no_library_is_reported(uncompiled: Path, tmp_path: Path) -> None:
    (uncompiled / "pointseg" / "_C.so").write_bytes(b"not a library")
    done = run_python("-c", "import pointseg", path=uncompiled, cwd=tmp_path)
    assert done.returncode == 0
    assert "does not load" in done.stderr and "make build" in done.stderr


def test_library_of_another_project_is_reported(uncompiled: Path, tmp_path: Path) -> None:
    # Any shared library that registers no operator of ours will do.
    other = next((Path(torch.__file__).parent / "lib").glob("libshm*.so"))
    shutil.copy(other, uncompiled / "pointseg" / "_C.so")
    done = run_python("-c", "import pointseg", path=uncompiled, cwd=tmp_path)
    assert done.returncode == 0
    assert "pointseg's compiled part" in done.stderr or "does not load" in done.stderr


def test_this_package_is_not_foreign() -> None:
    assert not [entry for entry in _native.foreign_packages() if str(ROOT) in entry]


def test_old_torch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(__version__="2.9.1+cpu"))
    problem = _native._torch_problem()
    assert problem is not None
    assert "2.10" in problem and "2.9.1+cpu" in problem


def test_missing_torch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    problem = _native._torch_problem()
    assert problem is not None
    assert "pip install torch" in problem


def test_cuda_library_says_why_it_is_not_loaded() -> None:
    if torch.version.cuda is None:
        assert "built without CUDA" in str(_native.CUDA.problem)
    else:
        assert _native.CUDA.loaded, _native.CUDA.problem


def test_tool_names_a_foreign_package(tmp_path: Path) -> None:
    foreign = tmp_path / "pointseg"
    foreign.mkdir()
    (foreign / "__init__.py").write_text("")
    done = run_python("-c", "import _checkout", path=tmp_path, cwd=ROOT / "tools")
    assert done.returncode != 0
    assert "another package named pointseg is installed" in done.stderr
    assert str(foreign) in done.stderr


def test_tools_run_from_the_checkout(tmp_path: Path) -> None:
    code = "import _checkout, pointseg; print(pointseg.__file__)"
    done = run_python("-c", code, path=ROOT / "tools", cwd=tmp_path)
    assert Path(done.stdout.strip()).name == "__init__.py", done.stderr
