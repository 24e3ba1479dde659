"""What ptxas says of every kernel: registers, shared memory, stack and spills.

nvcc prints it while it compiles (``-Xptxas -v``), once for every architecture.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

_ENTRY = re.compile(r"Compiling entry function '(\w+)' for '(\w+)'")
_PROPERTIES = re.compile(r"Function properties for '?(\w+)")
_STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_REGISTERS = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")


@dataclass(frozen=True)
class KernelResources:
    """What one kernel takes on one architecture; memory in bytes."""

    source: str
    kernel: str
    """Mangled name."""
    arch: str
    registers: int = 0
    shared: int = 0
    """Of fixed size; what a launch asks for is the last argument of `run_on_gpu` in the name."""
    stack: int = 0
    spill_stores: int = 0
    spill_loads: int = 0

    @property
    def spills(self) -> bool:
        return bool(self.spill_stores or self.spill_loads)


def read_report(source: str, printed: str) -> list[KernelResources]:
    """The kernels that a compiler's output tells of, in its order."""
    kernels: dict[tuple[str, str], KernelResources] = {}
    name = arch = ""  # whose numbers the next lines give: an entry, or a function that it calls
    entry = ("", "")
    for line in printed.splitlines():
        if found := _ENTRY.search(line):
            name, arch = entry = (found.group(1), found.group(2))
        elif found := _PROPERTIES.search(line):
            name = found.group(1)
        elif found := _STACK.search(line):
            stack, stores, loads = map(int, found.groups())
            kernels[name, arch] = KernelResources(
                source, name, arch, stack=stack, spill_stores=stores, spill_loads=loads
            )
        elif (found := _REGISTERS.search(line)) and entry in kernels:
            shared = _SHARED.search(line)
            kernels[entry] = replace(
                kernels[entry],
                registers=int(found.group(1)),
                shared=int(shared.group(1)) if shared else 0,
            )
    return list(kernels.values())


def write_report(path: Path, kernels: Iterable[KernelResources]) -> None:
    """Write the report whole and rename it, as JSON."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps([asdict(kernel) for kernel in kernels], indent=1) + "\n")
    os.replace(partial, path)


def load_report(path: Path) -> list[KernelResources]:
    return [KernelResources(**entry) for entry in json.loads(path.read_text())]


def demangled(names: Sequence[str]) -> list[str]:
    """Readable names by c++filt; the mangled ones where it is not installed."""
    tool = shutil.which("c++filt")
    if tool is None or not names:
        return list(names)
    done = subprocess.run(
        [tool], input="\n".join(names), capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def split_name(name: str) -> tuple[str, int]:
    """Short name of a kernel and the shared memory that its launch asks for, of a readable name.

    ``void run_on_gpu<Scale<Half, 3>, 512l>(Scale<Half, 3>)`` is ``Scale<Half, 3>`` with 512 bytes;
    of another library's kernel the bare name is left.
    """
    name = re.sub(r"pointseg::cuda::|\(anonymous namespace\)::|_GLOBAL__N__\w+::", "", name)
    if ours := re.match(r"void run_on_gpu<(.*), (\d+)l>\(", name):
        return ours.group(1).strip(), int(ours.group(2))
    return re.sub(r"[<(].*", "", name).rpartition("::")[2].removeprefix("void "), 0


def table(kernels: Sequence[KernelResources]) -> str:
    """One line a kernel and architecture."""
    heads = ("source", "arch", "registers", "shared", "stack", "spills", "kernel")
    rows = [heads]
    names = demangled([kernel.kernel for kernel in kernels])
    for kernel, name in zip(kernels, names, strict=True):
        short, asked = split_name(name)
        spills = kernel.spill_stores + kernel.spill_loads
        numbers = (kernel.registers, kernel.shared + asked, kernel.stack, spills)
        rows.append((kernel.source, kernel.arch, *map(str, numbers), short))
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if 2 <= column <= 5 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
