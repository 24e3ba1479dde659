"""Which kernels a test runs: those of the CPU, the CUDA ones on emulated threads, or a GPU's.

Tests are written for tensors on the CPU. A dispatch mode catches the native calls of the package
below autograd and hands them to other kernels: ``emulated`` to the CUDA sources as compiled for
emulated threads, on the same tensors; ``cuda`` to the GPU, tensors copied there and back. So the
oracle, the goldens and the gradient checks that hold for the CPU kernels hold for the CUDA ones.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from pointseg import _native

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "csrc"))

import native_build  # noqa: E402

EMULATED = "pointseg_emulated"
EMULATED_LIBRARY = "POINTSEG_EMULATED_LIBRARY"  # environment variable: another file to load
KERNELS = ("cpu", "emulated", "cuda")


@functools.cache
def load_emulated() -> None:
    """Load the emulated kernels: the library that a variable names, or else the tree's own, brought
    up to date.
    """
    chosen = os.environ.get(EMULATED_LIBRARY)
    library = Path(chosen) if chosen else native_build.build_emulated()
    schemas = [s for s in torch._C._jit_get_all_schemas() if s.name.startswith("pointseg::")]
    definitions = torch.library.Library(EMULATED, "DEF")
    for schema in schemas:
        definitions.define(str(schema).removeprefix("pointseg::"))
    load_emulated.keep = definitions  # type: ignore[attr-defined]  # schemas live as long as it
    torch.ops.load_library(str(library))


def is_emulated(name: str) -> bool:
    """Whether operator `name` has a CUDA kernel, seen from a machine without a GPU."""
    load_emulated()
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(f"{EMULATED}::{name}", "CPU"))


def _on_gpu(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call with all tensors on the GPU, but for what stays in host memory: the number of pairs of
    every tap, the fourth array of a map."""
    args, kwargs = tree_map_only(Tensor, lambda tensor: tensor.cuda(), (args, kwargs))
    for declared, value in zip(func._schema.arguments, args, strict=False):
        if declared.name in ("map", "swapped") and len(value) > 3:
            value[3] = value[3].cpu()
    return func(*args, **kwargs)


class _Rerouted(TorchDispatchMode):
    def __init__(self, kernels: str) -> None:
        super().__init__()
        self.kernels = kernels

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        # Stand-ins without data, which tracing hands around, stay where they are.
        traced = any(type(tensor) not in (Tensor, torch.nn.Parameter) for tensor in tensors)
        if func.namespace != "pointseg" or not tensors or traced:
            return func(*args, **kwargs)
        name = func._schema.name.split("::")[1]
        if self.kernels == "cuda":
            return tree_map_only(Tensor, lambda tensor: tensor.cpu(), _on_gpu(func, args, kwargs))
        if not is_emulated(name):
            return func(*args, **kwargs)
        return getattr(getattr(torch.ops, EMULATED), name).default(*args, **kwargs)


@contextmanager
def run_with(kernels: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run native calls on these kernels, and make Python's choices as for them."""
    if kernels == "cpu":
        yield
        return
    if kernels == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU")
    if kernels == "emulated":
        load_emulated()
    monkeypatch.setattr(_native, "uses_cuda_kernels", lambda device: True)
    with _Rerouted(kernels):
        yield
