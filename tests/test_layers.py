"""Imports go down only, kernels know no framework, the core needs torch and numpy alone."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "pointseg"
CSRC = ROOT / "csrc"

# A module may import from its own part and from parts with a lower number.
LAYERS = {
    "config": 0,
    "distributed": 0,
    "files": 0,
    "machine": 0,
    "recompute": 0,
    "_native": 1,
    "__init__": 2,
    "ops": 3,
    "sparse": 4,
    "nn": 5,
    "geometry": 5,
    "models": 6,
    "data": 6,
    "interop": 7,
    "evaluation": 8,
    "visualization": 9,
    "engine": 9,
    "experiment_config": 10,
    "experiment": 11,
    "initial_weights": 12,
    "teacher": 12,
    "benchmark": 12,
    "cli": 13,
    "__main__": 14,
}
LEAVES = ("config", "distributed", "files", "machine", "recompute")
CORE = ("_native", "__init__", "recompute", "ops", "sparse", "nn", "models")
OPTIONAL = ("open3d", "sklearn", "rich", "yaml", "plyfile", "plotly", "tensorboard", "tqdm")

MODULES = sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def runtime_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Walk a tree without the blocks that only type checkers read."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        yield child
        yield from runtime_nodes(child)


def imported(path: Path) -> set[str]:
    """Return the dotted names a module imports at run time, inside functions too."""
    package = ("pointseg", *path.relative_to(PACKAGE).parts[:-1])
    names = set()
    for node in runtime_nodes(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *filter(None, [node.module])])
            # `from pointseg import ops` imports a part, `from pointseg.ops import f` a name of it.
            names.update(
                f"{module}.{alias.name}" if module == "pointseg" else module for alias in node.names
            )
    return names


def imported_parts(path: Path) -> set[str]:
    parts = set()
    for name in imported(path):
        top, _, rest = name.partition(".")
        if top == "pointseg":
            part = rest.partition(".")[0]
            is_part = (PACKAGE / part).is_dir() or (PACKAGE / f"{part}.py").is_file()
            parts.add(part if part and is_part else "__init__")
    return parts


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    part = part_of(path)
    assert part in LAYERS, f"give pointseg.{part} a place in LAYERS"
    for other in imported_parts(path) - {part}:
        assert part not in LEAVES, f"pointseg.{part} is a leaf and imports pointseg.{other}"
        assert LAYERS[other] < LAYERS[part], f"pointseg.{part} imports upward: pointseg.{other}"


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if part_of(path) in CORE],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_core_needs_only_torch_and_numpy(path: Path) -> None:
    allowed = {"torch", "numpy", "pointseg", *sys.stdlib_module_names}
    assert {name.partition(".")[0] for name in imported(path)} <= allowed


def test_core_imports_where_nothing_optional_is_installed() -> None:
    code = f"""
import sys
for name in {OPTIONAL!r}:
    sys.modules[name] = None  # importing it raises ImportError
import pointseg.ops, pointseg.sparse, pointseg.nn, pointseg.models
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["pointseg", "pointseg.engine", "pointseg.evaluation"])
def test_open3d_is_imported_only_when_used(name: str) -> None:
    code = f"import sys; sys.modules['open3d'] = None; import {name}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def sources(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((CSRC / folder).rglob("*"))]
    return [path for path in found if path.suffix in (".h", ".cpp", ".cu", ".cuh")]


def includes(path: Path) -> list[str]:
    return re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', path.read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", sources("kernels"), ids=lambda path: str(path.relative_to(CSRC)))
def test_kernels_know_no_framework(path: Path) -> None:
    for name in includes(path):
        assert not re.match(r"(torch|ATen|c10|aten|Python\.h|pybind11)", name), name
        assert "bindings" not in name
    code = re.sub(r"//[^\n]*|/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
    assert not re.search(r"\b(torch|at|c10)::", code)


@pytest.mark.parametrize(
    "path",
    sources("kernels/cpu", "bindings/cpu"),
    ids=lambda path: str(path.relative_to(CSRC)),
)
def test_cpu_sources_need_no_cuda(path: Path) -> None:
    assert not [name for name in includes(path) if "cuda" in name.lower()]


@pytest.mark.parametrize("path", sources("bindings"), ids=lambda path: str(path.relative_to(CSRC)))
def test_bindings_keep_to_the_stable_abi(path: Path) -> None:
    allowed = r"torch/(headeronly|csrc/stable|csrc/inductor/aoti_torch/c)/"
    for name in includes(path):
        if re.match(r"(torch|ATen|c10)/", name):
            assert re.match(allowed, name), f"{name} is not part of the stable ABI"
        assert name != "Python.h"
