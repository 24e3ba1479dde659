"""Rows of a benchmark, and what has to be known of the machine to read them."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

import pointseg
from pointseg.benchmark.inputs import Room
from pointseg.evaluation.files import written_whole
from pointseg.machine import cpu_name

# Units in which more is better; in all others less is.
RATES = ("GFLOP/s", "GB/s", "scenes/s")
BUSY_LOAD = 0.5


@dataclass(frozen=True)
class Row:
    """One case, measured for us and for one other way; `ratio` > 1 says that ours is better."""

    suite: str
    case: str
    unit: str
    ours: float
    other: str
    other_value: float | None
    ratio: float | None

    @classmethod
    def compare(
        cls, suite: str, case: str, unit: str, ours: float, other: str, other_value: float
    ) -> Row:
        better, worse = (ours, other_value) if unit in RATES else (other_value, ours)
        return cls(suite, case, unit, ours, other, other_value, better / worse)

    def cells(self) -> tuple[str, ...]:
        """The values as text, empty where there is none."""
        other_value = "" if self.other_value is None else f"{self.other_value:.4g}"
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        return (self.case, self.unit, f"{self.ours:.4g}", self.other, other_value, ratio)


def header(suite: str, rooms: Sequence[Room], threads: int, quick: bool) -> dict[str, Any]:
    """What was measured on: processor, versions, threads, whether the machine was quiet, and how
    many voxels the rooms have that the cases are named after.
    """
    load = os.getloadavg()[0]
    return {
        "suite": suite,
        "quick": quick,
        **machine(threads),
        "load_average": round(load, 2),
        "busy": load > BUSY_LOAD,
        "voxels": {room.name: room.grid().num_voxels for room in rooms},
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


def print_table(head: dict[str, Any], rows: Sequence[Row]) -> None:
    """Print header and rows for a reader at a terminal."""
    console = Console()
    table = Table(title=f"{head['cpu']}, {head['instruction_set']}, {head['threads']} threads")
    for column in ("case", "unit", "ours", "other", "value", "ratio"):
        is_text = column in ("case", "other")
        table.add_column(column, justify="left" if is_text else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row.cells())
    console.print(table)
    for name, voxels in head["voxels"].items():
        console.print(f"{name}: {voxels:,} voxels")
    if head["busy"]:
        console.print(
            f"[bold red]The machine was busy (load average {head['load_average']}): "
            "these figures are not to be trusted.[/]"
        )


def markdown_table(rows: Sequence[Row]) -> str:
    """The rows as a markdown table."""
    lines = ["| case | unit | ours | other | value | ratio |", "|---|---|---:|---|---:|---:|"]
    lines += [f"| {' | '.join(row.cells())} |" for row in rows]
    return "\n".join(lines) + "\n"


def write_json(path: Path, head: dict[str, Any], rows: Sequence[Row]) -> None:
    """Write header and rows, atomically."""
    document = {"header": head, "rows": [asdict(row) for row in rows]}
    with written_whole(path, overwrite=True) as temporary:
        temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
