"""The results of one GPU as markdown, between the markers of a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pointseg.benchmark.gpu_check.targets import judged
from pointseg.benchmark.markers import Markers
from pointseg.benchmark.report import peaks_line

BEGIN = "<!-- gpu: begin (written by `python tools/gpu_check.py --table`) -->"
END = "<!-- gpu: end -->"
PAGE = Markers(BEGIN, END, empty_page=f"# Performance on a GPU\n\n{BEGIN}\n{END}\n")

Row = Mapping[str, Any]


def page_text(document: Mapping[str, Any]) -> str:
    """Machine, checks, ceilings, figures and aims."""
    facts = document["environment"]
    parts = [
        f"{facts['gpu']} (sm_{facts['sm']}, {facts['memory_mib'] / 1024:.0f} GiB), driver "
        f"{facts['driver']}, CUDA {facts['cuda']}, torch {facts['torch']}, commit "
        f"{facts['commit']}.",
        _table(("check", "result", "s", "tests", "skipped"), list(_checks(document["parts"])), 2),
    ]
    benchmark = document["parts"].get("benchmark", {})
    head, rows = benchmark.get("header"), benchmark.get("rows", [])
    if head is None:
        return "\n\n".join(parts)
    parts.append(peaks_line(head) + ". " + " ".join(_scenes(head)))
    if rows:
        columns = ("case", "ours, us", "plain torch, us", "ratio", "floor, us", "floors")
        parts.append(_table(columns, list(_figures(rows)), 1))
    networks = [row for row in rows if row["suite"].startswith("model")]
    if networks:
        cells = [(f"`{row['case']}`", f"{row['ours']:.4g} {row['unit']}") for row in networks]
        parts.append(_table(("training step", "value"), cells, 1))
    aims = [
        (f"`{row['case']}`", aim.text, _aimed_at(row), "yes" if aim.is_met(row) else "no")
        for row, aim in judged(rows)
    ]
    if aims:
        parts.append(_table(("case", "aim", "found", "met"), aims, 2))
    return "\n\n".join(parts)


def _checks(parts: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, part in parts.items():
        tests = str(part["passed"] + part["failed"]) if "passed" in part else ""
        yield name, part["status"], f"{part['seconds']:.0f}", tests, str(part.get("skipped", ""))


def _scenes(head: Mapping[str, Any]) -> Iterator[str]:
    for name, facts in head["scenes"].items():
        yield (
            f"`{name}`: {facts['voxels']:,} voxels of {facts['voxel_size_m'] * 100:g} cm, "
            f"{facts['neighbors_of_27']:.1f} neighbours of 27."
        )


def _figures(rows: Sequence[Row]) -> Iterator[tuple[str, ...]]:
    """One line a case, microseconds: ours, plain torch's, the floor, how many floors ours is."""
    in_us = [row for row in rows if row["unit"] == "us"]
    for case in dict.fromkeys(row["case"] for row in in_us):
        by_other = {row["other"]: row for row in in_us if row["case"] == case}
        ours = next(iter(by_other.values()))["ours"]
        plain, floor = by_other.get("plain_torch"), by_other.get("floor")
        yield (
            f"`{case}`",
            f"{ours:,.4g}",
            "" if plain is None else f"{plain['other_value']:,.4g}",
            "" if plain is None else f"{plain['ratio']:.2f}",
            "" if floor is None else f"{floor['other_value']:,.4g}",
            "" if floor is None else f"{1 / floor['ratio']:.2f}",
        )


def _aimed_at(row: Row) -> str:
    if row["other"] == "floor":
        return f"{1 / row['ratio']:.2f} floors"
    return f"{row['ours']:,.4g} us, ratio {row['ratio']:.2f}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], num_text: int) -> str:
    rule = ["---" if index < num_text else "---:" for index in range(len(columns))]
    lines = [f"| {' | '.join(cells)} |" for cells in (columns, *rows)]
    return "\n".join([lines[0], f"|{'|'.join(rule)}|", *lines[1:]])
