"""Every operator has CUDA kernels, in the library for GPUs and in the emulated one."""

from __future__ import annotations

import sys

import torch

from pointseg import _native
from tests.compiled.libraries import needs_checkout_build, needs_cuda_library, output_of
from tests.helpers.kernels import is_emulated

# They answer questions about the processor.
ABOUT_THE_CPU = {"cpu_isa", "fma_peak"}
# One tests what CUDA kernels are written with, the others make what only these read, or make it
# with one wait for the device.
CUDA_ALONE = {"executor_check", "mask_order", "prepare_geometry"}


def declared() -> set[str]:
    schemas = torch._C._jit_get_all_schemas()
    return {s.name.split("::")[1] for s in schemas if s.name.startswith("pointseg::")}


def wanted() -> set[str]:
    return declared() - ABOUT_THE_CPU


@needs_checkout_build
def test_every_operator_has_a_cpu_kernel() -> None:
    have = {name for name in declared() if _native.has_kernel(name, "CPU")}
    assert declared() - have - ABOUT_THE_CPU == CUDA_ALONE


@needs_checkout_build
def test_every_operator_has_an_emulated_kernel() -> None:
    assert wanted() - set(filter(is_emulated, wanted())) == set()


@needs_checkout_build
@needs_cuda_library
def test_every_operator_is_registered_by_the_cuda_library() -> None:
    registered = set(output_of(sys.executable, "-m", "tests.compiled.registered").split())
    assert wanted() - registered == set()
