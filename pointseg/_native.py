"""Load the compiled libraries once, and say in one sentence why one is not there.

``_C.so`` holds the CPU kernels and all operator schemas, ``_C_cuda.so`` the CUDA kernels; the
second is loaded only under a torch built for CUDA, because the symbols it needs exist only there.

An op module asks :func:`is_loaded` before it registers autograd and fakes for its schemas, and
calls :func:`require` in its public function, so that importing works everywhere and calling
without the compiled part gives the sentence instead of an attribute error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

PACKAGE_DIR = Path(__file__).resolve().parent
MINIMUM_TORCH = (2, 10)
REBUILD = "run `make build` or `pip install --no-build-isolation -e .` in pointseg's checkout"


@dataclass(frozen=True)
class Library:
    """One compiled library: where it lies, and why it is not loaded (None: it is)."""

    path: Path
    problem: str | None

    @property
    def loaded(self) -> bool:
        return self.problem is None


def foreign_packages() -> tuple[str, ...]:
    """Describe installed distributions and modules that are called pointseg and are not this one.

    Other projects install a package of this name, Pointcept's `libs/pointseg` among them.
    Ours is known by its console script.
    """
    found = [
        f"distribution {dist.metadata['Name']} {dist.version} in {dist.locate_file('')}"
        for dist in metadata.distributions(name="pointseg")
        if not any(entry.value == "pointseg.cli:main" for entry in dist.entry_points)
    ]
    # A CPython extension: neither of our libraries has the interpreter's tag in its name.
    found += [f"file {path}" for path in sorted(PACKAGE_DIR.glob("_C*.cpython-*.so"))]
    return tuple(found)


def _blame_foreign() -> str:
    foreign = foreign_packages()
    if not foreign:
        return ""
    return (
        f"; another package named pointseg is installed here ({', '.join(foreign)}), "
        "remove it first with `pip uninstall pointseg`"
    )


def _torch_problem() -> str | None:
    try:
        import torch
    except ImportError as error:
        return f"pointseg needs torch >= 2.10, which does not import ({error}): pip install torch"
    version = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if version < MINIMUM_TORCH:
        return f"pointseg needs torch >= 2.10 and found {torch.__version__}: upgrade torch"
    return None


def has_kernel(schema: str, backend: str) -> bool:
    """Whether operator `schema` is there with a kernel for `backend` ("CPU" or "CUDA")."""
    import torch

    return hasattr(torch.ops.pointseg, schema) and bool(
        torch._C._dispatch_has_kernel_for_dispatch_key(f"pointseg::{schema}", backend)
    )


def _load(path: Path, schema: str, backend: str) -> Library:
    """Load `path` and check that it brought the kernel of operator `schema` for `backend`."""
    import torch

    if not path.is_file():
        sentence = f"pointseg's compiled part is missing ({path}): {REBUILD}{_blame_foreign()}"
        return Library(path, sentence)
    try:
        torch.ops.load_library(str(path))
    except OSError as error:
        return Library(path, f"{path} does not load ({error}): {REBUILD}{_blame_foreign()}")
    if not has_kernel(schema, backend):
        sentence = f"{path} is not pointseg's compiled part, it has no operator {schema}: {REBUILD}"
        return Library(path, sentence + _blame_foreign())
    return Library(path, None)


def _load_all() -> tuple[Library, Library]:
    cpu_path, cuda_path = PACKAGE_DIR / "_C.so", PACKAGE_DIR / "_C_cuda.so"
    problem = _torch_problem()
    if problem is not None:
        return Library(cpu_path, problem), Library(cuda_path, problem)
    cpu = _load(cpu_path, "voxel_keys", "CPU")
    import torch

    if not cpu.loaded:
        return cpu, Library(cuda_path, "it needs the CPU library, which is not loaded")
    if torch.version.cuda is None:
        return cpu, Library(cuda_path, f"torch {torch.__version__} is built without CUDA")
    return cpu, _load(cuda_path, "voxel_keys", "CUDA")


CPU, CUDA = _load_all()


def is_loaded() -> bool:
    """Whether the CPU library, and with it every operator schema, is there."""
    return CPU.loaded


def problem() -> str | None:
    """Return the one sentence that says why the compiled part is not there; None where it is."""
    return CPU.problem


def uses_cuda_kernels(device: torch.device) -> bool:
    """Whether operators on `device` run the CUDA kernels, which read some maps in another form."""
    return device.type == "cuda"


def require() -> None:
    """Raise ImportError with that sentence where the compiled part is not there."""
    if CPU.problem is not None:
        raise ImportError(CPU.problem)
