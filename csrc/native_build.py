"""Build of the compiled part: shared libraries on the LibTorch stable ABI, without CPython.

``_C.so`` holds the CPU kernels and every operator schema, ``_C_cuda.so`` the CUDA kernels and their
registrations. ``_C_emulated.so``, which is for tests and never installed, holds the CUDA kernels
compiled for emulated threads. Objects lie under ``build/native`` and are compiled again only when
their source, a header they include or their command line changes. See ``csrc/README.md``.

    python csrc/native_build.py            # builds _C_emulated.so
    python csrc/native_build.py resources  # what every kernel of the last CUDA build takes
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import ptxas_report

ROOT = Path(__file__).resolve().parent.parent
CSRC = ROOT / "csrc"
BUILD_DIR = ROOT / "build" / "native"
RESOURCES = "resources.json"  # in BUILD_DIR

TORCH_TARGET = "-DTORCH_TARGET_VERSION=0x020a000000000000"  # the stable ABI of torch 2.10
COMMON = ["-std=c++20", "-O3", "-DNDEBUG", TORCH_TARGET]
HOST = ["-fPIC", "-fvisibility=hidden", "-fvisibility-inlines-hidden"]
# Errno and floating-point traps are not read anywhere, and both stop loops from being vectorised.
CPU_FLAGS = [*COMMON, *HOST, "-Wall", "-Wextra", "-fno-math-errno", "-fno-trapping-math"]

# Lowest first: the linker keeps the first copy it meets of an inline function that several objects
# share, and the copy kept must run on every machine.
X86_ISAS: dict[str, list[str]] = {
    "baseline": [],
    "avx2": ["-mavx2", "-mfma", "-mf16c"],
    "avx512": [
        *("-mavx2", "-mfma", "-mf16c"),
        *("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq"),
        "-mprefer-vector-width=512",
    ],
}
# For `*_bf16.cpp`, which is compiled once.
BF16_FLAGS = [*X86_ISAS["avx512"], "-mavx512bf16"]

CUDA_ARCHS = ("80", "86", "89", "90")
CUDA_PTX = "90"  # newer GPUs compile this at load time
CUDA_FLAGS = ["-Xptxas", "-v", "--expt-relaxed-constexpr", "-cudart", "static"]

# What is compiled for emulated threads: the CUDA sources, and the threads.
EMULATED = ("kernels/cuda/*.cu", "bindings/cuda/*.cpp", "kernels/emulated/*.cpp")
EMULATED_FLAGS = [
    *("-std=c++20", "-O2", "-DNDEBUG", TORCH_TARGET, *HOST),
    *("-Wall", "-Wextra", "-DPOINTSEG_EMULATED", "-x", "c++"),
]


class BuildError(RuntimeError):
    """A compiler or linker said no; the message holds what it printed."""


@dataclass(frozen=True)
class Object:
    """One object file to make: its source, its path and the command without output arguments."""

    source: Path
    path: Path
    command: tuple[str, ...]
    rank: int = 0  # position in the link line, see X86_ISAS

    @property
    def depfile(self) -> Path:
        return self.path.with_suffix(".d")

    @property
    def stamp(self) -> Path:
        return self.path.with_suffix(".cmd")

    @property
    def printed(self) -> Path:
        """What the compiler said; for CUDA kernels that is what they take of a GPU."""
        return self.path.with_suffix(".log")


def is_x86() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64")


def find_nvcc() -> Path | None:
    """Return nvcc from CUDA_HOME, the PATH or /usr/local/cuda, in this order; None without one."""
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    if home and (Path(home) / "bin" / "nvcc").is_file():
        return Path(home) / "bin" / "nvcc"
    if found := shutil.which("nvcc"):
        return Path(found)
    default = Path("/usr/local/cuda/bin/nvcc")
    return default if default.is_file() else None


def cuda_wanted() -> Path | None:
    """Decide by POINTSEG_CUDA (auto, 0, 1) whether to build the CUDA half; return its nvcc."""
    choice = os.environ.get("POINTSEG_CUDA", "auto") or "auto"
    if choice not in ("auto", "0", "1"):
        raise BuildError(f"POINTSEG_CUDA must be auto, 0 or 1, got {choice!r}")
    if choice == "0":
        return None
    nvcc = find_nvcc()
    if nvcc is None and choice == "1":
        raise BuildError(
            "POINTSEG_CUDA=1 but no nvcc was found in CUDA_HOME, on the PATH or in "
            "/usr/local/cuda: install the CUDA toolkit, or set POINTSEG_CUDA=0 to build the CPU "
            "part alone"
        )
    return nvcc


def torch_paths() -> tuple[Path, Path]:
    """Return torch's include and library folders; a BuildError says what to install."""
    try:
        import torch
    except ImportError as error:
        raise BuildError(
            "torch is needed to build pointseg: install torch >= 2.10, then run "
            "`pip install --no-build-isolation -e .`"
        ) from error
    version = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if version < (2, 10):
        raise BuildError(f"pointseg needs torch >= 2.10 to build, found {torch.__version__}")
    folder = Path(torch.__file__).parent
    return folder / "include", folder / "lib"


def cpu_objects(include: Path) -> list[Object]:
    compiler = shlex.split(os.environ.get("CXX", "g++"))
    base = [*compiler, *CPU_FLAGS, "-I", str(CSRC), "-isystem", str(include)]
    isas = X86_ISAS if is_x86() else {"baseline": []}
    objects = []
    for source in sorted([*CSRC.glob("kernels/cpu/*.cpp"), *CSRC.glob("bindings/cpu/*.cpp")]):
        stem = "cpu-" + "-".join(source.relative_to(CSRC).with_suffix("").parts)
        in_kernels = source.parent.parent.name == "kernels"
        if in_kernels and source.stem.endswith("_bf16"):
            if is_x86():
                command = (*base, "-DPOINTSEG_ISA=avx512_bf16", *BF16_FLAGS)
                path = BUILD_DIR / f"{stem}.o"
                objects.append(Object(source, path, command, len(isas) + 1))
            continue
        if not in_kernels or not source.stem.endswith("_isa"):
            objects.append(Object(source, BUILD_DIR / f"{stem}.o", tuple(base)))
            continue
        for rank, (isa, flags) in enumerate(isas.items(), start=1):
            command = (*base, f"-DPOINTSEG_ISA={isa}", *flags)
            objects.append(Object(source, BUILD_DIR / f"{stem}.{isa}.o", command, rank))
    return sorted(objects, key=lambda item: item.rank)


def architecture_flags() -> list[str]:
    """What to generate code for: all of CUDA_ARCHS, or those named by POINTSEG_CUDA_ARCHS."""
    chosen = os.environ.get("POINTSEG_CUDA_ARCHS", "")
    archs = chosen.split(",") if chosen else list(CUDA_ARCHS)
    if not set(archs) <= set(CUDA_ARCHS):
        raise BuildError(
            f"POINTSEG_CUDA_ARCHS must be some of {','.join(CUDA_ARCHS)}, got {chosen!r}"
        )
    machine_code = [f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in archs]
    if chosen:
        return machine_code
    return [*machine_code, f"-gencode=arch=compute_{CUDA_PTX},code=compute_{CUDA_PTX}"]


def emulated_objects(include: Path) -> list[Object]:
    compiler = shlex.split(os.environ.get("CXX", "g++"))
    command = (*compiler, *EMULATED_FLAGS, "-I", str(CSRC), "-isystem", str(include))
    objects = []
    for source in sorted(path for pattern in EMULATED for path in CSRC.glob(pattern)):
        stem = "emulated-" + "-".join(source.relative_to(CSRC).with_suffix("").parts)
        objects.append(Object(source, BUILD_DIR / f"{stem}.o", command))
    return objects


def cuda_objects(nvcc: Path, include: Path) -> list[Object]:
    # nvcc compiles the bindings too: it knows where its own headers are.
    host = ["-Xcompiler", ",".join([*HOST, "-Wall"])]
    base = [str(nvcc), *COMMON, "-DUSE_CUDA", *host, "-I", str(CSRC), "-isystem", str(include)]
    objects = []
    for folder in ("kernels", "bindings"):
        for source in sorted(CSRC.glob(f"{folder}/cuda/*.c[pu]*")):
            flags = [*architecture_flags(), *CUDA_FLAGS] if source.suffix == ".cu" else []
            stem = "cuda-" + "-".join(source.relative_to(CSRC).with_suffix("").parts)
            objects.append(Object(source, BUILD_DIR / f"{stem}.o", (*base, *flags)))
    return objects


def out_of_date(item: Object) -> bool:
    """Whether the object must be compiled: new command line, or something it read is newer."""
    if not all(path.is_file() for path in (item.path, item.depfile, item.stamp, item.printed)):
        return True
    if item.stamp.read_text() != shlex.join(item.command):
        return True
    built = item.path.stat().st_mtime_ns
    _, _, dependencies = item.depfile.read_text().replace("\\\n", " ").partition(":")
    for name in shlex.split(dependencies):
        path = Path(name)
        if not path.is_file() or path.stat().st_mtime_ns > built:
            return True
    return False


def compile_object(item: Object) -> str:
    """Compile one object and return what the compiler printed."""
    arguments = ["-MMD", "-MF", str(item.depfile), "-c", str(item.source), "-o", str(item.path)]
    item.stamp.unlink(missing_ok=True)
    done = subprocess.run([*item.command, *arguments], capture_output=True, text=True, check=False)
    printed = done.stdout + done.stderr
    if done.returncode != 0:
        raise BuildError(f"{item.source.relative_to(ROOT)} does not compile:\n{printed}")
    check_resources(item, printed)
    item.printed.write_text(printed)
    item.stamp.write_text(shlex.join(item.command))
    return printed


def check_resources(item: Object, printed: str) -> None:
    """Refuse CUDA kernels that spill registers: in an inner loop that costs more than it saves.

    A stack frame without spills, such as an array indexed by a variable, is said aloud.
    """
    source = str(item.source.relative_to(ROOT))
    for kernel in ptxas_report.read_report(source, printed):
        if kernel.spills:
            item.path.unlink(missing_ok=True)
            raise BuildError(
                f"{source}: kernel {kernel.kernel} spills registers on {kernel.arch} "
                f"({kernel.spill_stores} bytes stored, {kernel.spill_loads} loaded)"
            )
        if kernel.stack:
            (name,) = ptxas_report.demangled([kernel.kernel])
            print(
                f"{source}: kernel {ptxas_report.split_name(name)[0]} has a stack frame of "
                f"{kernel.stack} bytes on {kernel.arch}",
                flush=True,
            )


def num_jobs() -> int:
    return max(1, int(os.environ.get("MAX_JOBS", "2")))


def compile_all(objects: Sequence[Object]) -> bool:
    """Compile what is out of date; return whether anything was."""
    stale = [item for item in objects if out_of_date(item)]
    with ThreadPoolExecutor(num_jobs()) as pool:
        pending = [(item, pool.submit(compile_object, item)) for item in stale]
        errors = []
        for item, future in pending:
            try:
                printed = future.result()
            except BuildError as error:
                errors.append(str(error))
                continue
            print(f"compiled {item.path.name}", flush=True)
            if "warning" in printed:
                print(printed, file=sys.stderr, flush=True)
    if errors:
        raise BuildError("\n".join(errors))
    return bool(stale)


def link(library: Path, objects: Sequence[Object], command: Sequence[str], changed: bool) -> None:
    """Link the objects into `library`, unless it is already made of exactly these."""
    line = [*command[:1], "-shared", *(str(item.path) for item in objects), *command[1:]]
    digest = hashlib.sha256(shlex.join(line).encode()).hexdigest()
    stamp = library.with_suffix(".link")
    newest = max(item.path.stat().st_mtime_ns for item in objects)
    fresh = library.is_file() and library.stat().st_mtime_ns >= newest
    if not changed and fresh and stamp.is_file() and stamp.read_text() == digest:
        return
    # Written beside and moved: a process that has the old library loaded keeps it.
    partial = library.with_suffix(".partial")
    done = subprocess.run([*line, "-o", str(partial)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"{library.name} does not link:\n{done.stdout}{done.stderr}")
    os.replace(partial, library)
    stamp.write_text(digest)
    print(f"linked {library.name}", flush=True)


@contextlib.contextmanager
def build_lock() -> Iterator[None]:
    """Let one build at a time into the build folder; a second one waits and finds nothing to do."""
    BUILD_DIR.mkdir(parents=True, exist_ok=True)
    with (BUILD_DIR / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def build_cpu() -> Path:
    """Build ``_C.so`` and return its path under ``build/native``."""
    include, lib = torch_paths()
    with build_lock():
        objects = cpu_objects(include)
        changed = compile_all(objects)
        library = BUILD_DIR / "_C.so"
        compiler = shlex.split(os.environ.get("CXX", "g++"))
        link(library, objects, [*compiler, f"-L{lib}", "-ltorch_cpu", "-Wl,-O1"], changed)
    return library


def build_emulated() -> Path:
    """Build ``_C_emulated.so`` and return its path under ``build/native``."""
    include, lib = torch_paths()
    with build_lock():
        objects = emulated_objects(include)
        changed = compile_all(objects)
        library = BUILD_DIR / "_C_emulated.so"
        compiler = shlex.split(os.environ.get("CXX", "g++"))
        link(library, objects, [*compiler, f"-L{lib}", "-ltorch_cpu"], changed)
    return library


def build_cuda() -> Path:
    """Build ``_C_cuda.so`` and return its path under ``build/native``.

    torch may be a CPU build: the symbols that only a CUDA build has are looked up when the library
    is loaded, in libtorch.so, which must therefore stay in the list of needed libraries.
    """
    nvcc = cuda_wanted()
    if nvcc is None:
        raise BuildError("the CUDA half was asked for without nvcc")
    include, lib = torch_paths()
    with build_lock():
        objects = cuda_objects(nvcc, include)
        changed = compile_all(objects)
        library = BUILD_DIR / "_C_cuda.so"
        libraries = ["-cudart", "static", f"-L{lib}", "-Xlinker", "--no-as-needed", "-ltorch"]
        link(library, objects, [str(nvcc), *libraries], changed)
        kernels = [
            kernel
            for item in objects
            for kernel in ptxas_report.read_report(item.source.name, item.printed.read_text())
        ]
        ptxas_report.write_report(BUILD_DIR / RESOURCES, kernels)
    return library


def install(library: Path, target: Path) -> None:
    """Copy a built library to where it is loaded from, in one step and only if it differs."""
    if target.is_file() and target.read_bytes() == library.read_bytes():
        os.utime(target)  # make compares times
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(f".{os.getpid()}.partial")
    shutil.copyfile(library, partial)
    os.replace(partial, target)


def print_resources() -> None:
    """Print what every kernel of the last CUDA build takes."""
    report = BUILD_DIR / RESOURCES
    if not report.is_file():
        raise BuildError(f"{report} is not there: the CUDA half has not been built here yet")
    print(ptxas_report.table(ptxas_report.load_report(report)))


def main() -> None:
    parser = argparse.ArgumentParser(description="Build what tests need beside the libraries.")
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("emulated", help="build the CUDA kernels for emulated threads (default)")
    commands.add_parser("resources", help="print registers, memory and spills of every kernel")
    command = parser.parse_args().command
    try:
        if command == "resources":
            print_resources()
        else:
            build_emulated()
    except BuildError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
