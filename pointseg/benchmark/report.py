"""Rows of a benchmark, and what has to be known of the machine to read them."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

import pointseg
from pointseg.benchmark.ceilings import Ceilings
from pointseg.benchmark.inputs import Scene, neighbors_of_27
from pointseg.benchmark.timing import CPU, machine_peaks
from pointseg.files import replace_text
from pointseg.machine import cpu_name
from pointseg.sparse import VoxelGrid

# Units in which more is better; in all others less is.
RATES = ("GFLOP/s", "GB/s", "scenes/s")
BUSY_LOAD = 0.5
TABLE_WIDTH = 120  # at least: in a narrower one values would be cut, as in a file


@dataclass(frozen=True)
class Row:
    """One case, measured for us and for one other way.

    Attributes:
        suite, case, unit: what was measured.
        threads: that ours had, and an engine of its own process; plain torch had the better of one
            and as many. None where torch's threads play no part.
        ours, other, other_value: the two values and the name of the other way.
        ratio: above 1 says that ours is better.
        note: why the other way has no value (other_value and ratio are None then).
    """

    suite: str
    case: str
    unit: str
    threads: int | None
    ours: float
    other: str
    other_value: float | None
    ratio: float | None
    note: str = ""

    @classmethod
    def compare(
        cls,
        suite: str,
        case: str,
        unit: str,
        ours: float,
        other: str,
        other_value: float,
        threads: int | None = None,
    ) -> Row:
        better, worse = (ours, other_value) if unit in RATES else (other_value, ours)
        return cls(suite, case, unit, threads, ours, other, other_value, better / worse)

    @classmethod
    def alone(cls, suite: str, case: str, unit: str, ours: float) -> Row:
        """A measurement with nothing beside it: no other way of computing the same is at hand."""
        return cls(suite, case, unit, None, ours, "-", None, None)

    def cells(self) -> tuple[str, ...]:
        """The values of :data:`COLUMNS` as text."""
        threads = "" if self.threads is None else str(self.threads)
        other_value = "-" if self.other_value is None else f"{self.other_value:.4g}"
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        return (self.case, self.unit, threads, f"{self.ours:.4g}", self.other, other_value, ratio)


COLUMNS = ("case", "unit", "threads", "ours", "other", "value", "ratio")


def header(
    suite: str,
    scenes: Sequence[Scene],
    threads: int,
    quick: bool,
    peers: Mapping[str, str] | None = None,
    device: torch.device = CPU,
    ceilings: Ceilings | None = None,
) -> dict[str, Any]:
    """What was measured on: processor, versions, threads, whether the machine was quiet, what it
    can do at most, and the scenes that cases are named after.

    peers: version of every engine measured beside us, or why it is not. ceilings: of `device`,
    where it is a GPU.
    """
    load = os.getloadavg()[0]
    return {
        "suite": suite,
        "quick": quick,
        **machine(threads),
        "load_average": round(load, 2),
        "busy": load > BUSY_LOAD,
        "device": device_name(device),
        "peaks": machine_peaks(threads) if ceilings is None else asdict(ceilings),
        "scenes": {scene.name: scene_facts(scene.voxel_size_m, scene.grid()) for scene in scenes},
        "peers": dict(peers or {}),
    }


def device_name(device: torch.device) -> str:
    """What was measured, in words."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def scene_facts(voxel_size_m: float, grid: VoxelGrid) -> dict[str, float]:
    """What is written of a scene in the header."""
    return {
        "voxel_size_m": voxel_size_m,
        "voxels": grid.num_voxels,
        "neighbors_of_27": round(neighbors_of_27(grid), 2),
    }


def machine(threads: int) -> dict[str, Any]:
    """Processor and versions that times and results depend on."""
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "instruction_set": torch.ops.pointseg.cpu_isa(),
        "threads": threads,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "pointseg": pointseg.__version__,
        "system": platform.platform(),
    }


def header_lines(head: Mapping[str, Any]) -> list[str]:
    """The header for a reader, one fact a line."""
    lines = [
        f"{head['cpu']}, {head['instruction_set']}, {head['threads']} threads; "
        f"Python {head['python']}, torch {head['torch']}, pointseg {head['pointseg']}",
        peaks_line(head),
    ]
    lines += [
        f"{name}: {facts['voxels']:,} voxels of {facts['voxel_size_m'] * 100:g} cm, "
        f"{facts['neighbors_of_27']:.1f} neighbours of 27"
        for name, facts in head["scenes"].items()
    ]
    lines += [f"{name}: {found}" for name, found in head["peers"].items()]
    if head["busy"]:
        lines.append(
            f"The machine was busy (load average {head['load_average']}): "
            "these figures are not to be trusted."
        )
    return lines


def peaks_line(head: Mapping[str, Any]) -> str:
    """What the processor or the GPU can do at most."""
    peaks = head["peaks"]
    copy = f"copy {peaks['copy_gb_per_s']:.3g} GB/s, read and written"
    if "fma_gflops" in peaks:
        return (
            f"peaks: {peaks['fma_gflops_1_thread']:.4g} GFLOP/s with one thread, "
            f"{peaks['fma_gflops']:.4g} with {head['threads']}; {copy}"
        )
    gathers = ", ".join(f"{v:.4g} at {k} bytes" for k, v in peaks["gather_gb_per_s"].items())
    products = ", ".join(f"{k} {max(v.values()):.3g}" for k, v in peaks["products_tflops"].items())
    return (
        f"{head['device']}: {copy}; rows gathered from the cache, GB/s: {gathers}; "
        f"products, TFLOP/s: {products}"
    )


def print_table(head: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """Print header and rows for a reader at a terminal."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(width=max(Console().width, TABLE_WIDTH))
    table = Table(title=f"{head['suite']}{', quick' if head['quick'] else ''}")
    for column in COLUMNS:
        is_text = column in ("case", "other")
        table.add_column(column, justify="left" if is_text else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(escape, row.cells()))
    console.print(table)
    for line in failures(rows):
        console.print(escape(line), style="bold red")
    for line in header_lines(head):
        console.print(escape(line), style="bold red" if line.startswith("The machine") else None)


def failures(rows: Sequence[Row]) -> list[str]:
    """Why rows have no other value, one line each."""
    return [f"{row.case}, {row.other}: {row.note}" for row in rows if row.note]


def markdown_page(head: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """Header and rows as markdown."""
    lines = [f"* {line}" for line in (*header_lines(head), *failures(rows))]
    return "\n".join(lines) + "\n\n" + markdown_table(rows)


def markdown_table(rows: Sequence[Row]) -> str:
    """The rows as a markdown table."""
    rule = ["---" if name in ("case", "unit", "other") else "---:" for name in COLUMNS]
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'|'.join(rule)}|"]
    lines += [f"| {' | '.join(row.cells())} |" for row in rows]
    return "\n".join(lines) + "\n"


def write_json(path: Path, head: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """Write header and rows, atomically."""
    write_document(path, {"header": head, "rows": [asdict(row) for row in rows]})


def write_document(path: Path, document: Mapping[str, Any]) -> None:
    """Write JSON, atomically."""
    replace_text(path, json.dumps(document, indent=1) + "\n")
