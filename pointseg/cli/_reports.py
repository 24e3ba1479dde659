"""A report as the commands give it: tables on the terminal and, with --out, files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from pointseg.evaluation import SegReport, write_heatmap, write_json


def planned(out: Path | None) -> tuple[Path, ...]:
    """The files that `publish` writes into a folder: scores and heat map; none without one."""
    return () if out is None else (out / "evaluation.json", out / "confusion.html")


def publish(
    report: SegReport, out: Path | None, context: Mapping[str, Any], overwrite: bool
) -> None:
    """Print the tables and the headline; write the files where there is a folder for them.

    context : what evaluation.json says before the scores, such as the checkpoint
    """
    console = Console()
    for table in (report.table(), *report.part_tables()):
        console.print(table)
    if out is not None:
        scores, heatmap = planned(out)
        write_json(report, scores, context, overwrite)
        write_heatmap(report, heatmap, overwrite)
        print(f"wrote {scores} and {heatmap}")
    print(report.headline)
