"""Prints the operators that the CUDA library registers, one a line; run by test_completeness.py.

On a CPU build of torch the functions that it lacks are stood in for by a library that fails them
all: enough to load the CUDA library and to have it register, not to run it.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import subprocess
import tempfile

import torch

from tests.compiled.libraries import CPU_LIBRARY, CUDA_LIBRARY, cuda_torch_symbols


def load_stand_ins() -> None:
    functions = "".join(f"int {symbol.name}() {{ return 1; }}\n" for symbol in cuda_torch_symbols())
    compiler = shlex.split(os.environ.get("CXX", "g++"))
    with tempfile.TemporaryDirectory() as folder:
        library = f"{folder}/stand_ins.so"
        subprocess.run(
            [*compiler, "-shared", "-fPIC", "-x", "c++", "-", "-o", library],
            input=f'extern "C" {{\n{functions}}}\n',
            text=True,
            check=True,
        )
        ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)


def main() -> None:
    if torch.version.cuda is None:
        load_stand_ins()
    torch.ops.load_library(str(CPU_LIBRARY))
    torch.ops.load_library(str(CUDA_LIBRARY))
    for schema in torch._C._jit_get_all_schemas():
        namespace, _, name = schema.name.partition("::")
        if namespace == "pointseg" and torch._C._dispatch_has_kernel_for_dispatch_key(
            schema.name, "CUDA"
        ):
            print(name)


if __name__ == "__main__":
    main()
