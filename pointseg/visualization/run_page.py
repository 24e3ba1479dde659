"""One or several training runs as one HTML page that needs nothing else."""

from __future__ import annotations

import html
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pointseg.files import written_whole
from pointseg.visualization.colors import category_colors
from pointseg.visualization.page import _packed_plotly, asset, embedded_json, fill

if TYPE_CHECKING:
    from pointseg.engine.run_history import RunHistory

MAX_ROWS = 2000
"""Rows of training that a page has of a run; more are averaged, neighbours with neighbours."""
NUM_WORST_SCENES = 20
_NO_CURVE = ("step", "kind", "warnings")


def write_run_page(
    path: Path | str,
    runs: Sequence[RunHistory],
    differences: Mapping[str, Sequence[Any]],
    pages: Path | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a page of curves, scores and settings of ``runs``, laid over each other.

    Parameters
    ----------
    differences
        Keys of the configurations that are not the same in all runs, with each run's value.
    pages
        A folder of scene pages, ``<scene>.html`` (`pointseg visualize --out`): the scenes with the
        lowest scores link to those that are there.

    Raises
    ------
    ValueError
        If there is no run.
    FileExistsError
        If the file is there and ``overwrite`` is not set.
    """
    if not runs:
        raise ValueError("runs: expected at least one")
    path = Path(path)
    colors = category_colors(len(runs))
    names = _distinct_names(runs)
    title = names[0] if len(runs) == 1 else f"{len(runs)} runs"
    report = {
        "runs": [
            _described(run, name, color, _PageLinks(pages, path.parent))
            for run, name, color in zip(runs, names, colors, strict=True)
        ],
        "differences": {key: [_shown(v) for v in row] for key, row in differences.items()},
    }
    text = fill(
        asset("run.html"),
        {
            "TITLE": html.escape(title),
            "STYLE": asset("page.css"),
            "RUNS": embedded_json(report),
            "PLOTLY": _packed_plotly(),
            "SCRIPTS": "\n".join(asset(name) for name in ("decode.js", "run.js")),
        },
    )
    with written_whole(path, overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


class _PageLinks:
    """Links from the report to the pages of scenes."""

    def __init__(self, pages: Path | None, folder: Path) -> None:
        self._pages = pages
        self._folder = folder

    def to(self, scene_id: str) -> str | None:
        if self._pages is None:
            return None
        page = self._pages / f"{scene_id}.html"
        if not page.is_file():
            return None
        return quote(Path(os.path.relpath(page, self._folder)).as_posix())


def _distinct_names(runs: Sequence[RunHistory]) -> list[str]:
    """Names of the folders, or paths where two have the same name."""
    names = [run.name for run in runs]
    return [run.name if names.count(run.name) == 1 else str(run.path) for run in runs]


def _described(run: RunHistory, name: str, color: str, links: _PageLinks) -> dict[str, Any]:
    validation = run.of_kind("validation")
    return {
        "name": name,
        "color": color,
        "step": run.step,
        "numSteps": run.num_steps,
        "state": _state(run),
        "train": _columns(_averaged(run.of_kind("train"))),
        "validation": _columns(validation),
        "evaluation": None if run.evaluation is None else _evaluation(run.evaluation, links),
        "configText": run.config_text,
        "starts": _starts(run.facts),
        "warnings": _warnings(run),
        "events": [*_skipped(run), *(_event(row) for row in run.events)],
        "problems": list(run.problems),
    }


def _state(run: RunHistory) -> str:
    if run.num_steps is None:
        return "of unknown length"
    if run.step >= run.num_steps:
        return "finished"
    return "not finished"


def _averaged(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """At most MAX_ROWS rows: means of equally many that follow each other, at the last's step."""
    size = math.ceil(len(rows) / MAX_ROWS)
    if size <= 1:
        return list(rows)
    groups = [rows[first : first + size] for first in range(0, len(rows), size)]
    return [_mean(group) for group in groups]


def _mean(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    values: dict[str, list[float]] = {}
    for row in rows:
        for key, value in row.items():
            if key not in _NO_CURVE and isinstance(value, (int, float)):
                values.setdefault(key, []).append(value)
    means = {key: math.fsum(column) / len(column) for key, column in values.items()}
    return {**means, "step": rows[-1]["step"]}


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[float | None]]:
    """Key -> a value for every row, None where it has none; only what is a number somewhere."""
    keys = dict.fromkeys(key for row in rows for key in row if key not in _NO_CURVE)
    columns = {key: [_number(row.get(key)) for row in rows] for key in ("step", *keys)}
    return {k: column for k, column in columns.items() if any(v is not None for v in column)}


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.6g}")


def _evaluation(stored: Mapping[str, Any], links: _PageLinks) -> dict[str, Any]:
    """What the page shows of a report; a part that the file lacks is left out."""
    keys = ("protocol", "rule", "rule_statement", "split", "step", "num_scenes", "num_points")
    scores = ("mean_iou", "accuracy", "mean_accuracy", "classes", "confusion", "confusion_columns")
    shown = {key: stored[key] for key in (*keys, *scores) if key in stored}
    scored = [scene for scene in stored.get("scenes", ()) if scene["mean_iou"] is not None]
    worst = sorted(scored, key=lambda scene: scene["mean_iou"])[:NUM_WORST_SCENES]
    shown["worst"] = [{**scene, "page": links.to(scene["scene_id"])} for scene in worst]
    shown["num_scored"] = len(scored)
    return shown


def _starts(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every start of the run, the resumed ones after the first."""
    starts = ([{"step": 0, **facts}] if "command" in facts else []) + list(facts.get("resumed", ()))
    return [
        {
            "step": start.get("step", 0),
            "started": start.get("started", ""),
            "command": " ".join(start.get("command", ())),
            "device": start.get("gpu") or "CPU",
            "platform": start.get("platform", ""),
            "versions": ", ".join(f"{k} {v}" for k, v in start.get("versions", {}).items()),
        }
        for start in starts
    ]


def _warnings(run: RunHistory) -> list[dict[str, Any]]:
    """Each warning with the steps of the first and the last row that has it, and how many have."""
    found: dict[str, dict[str, Any]] = {}
    for row in run.of_kind("train"):
        for key in row.get("warnings") or ():
            entry = found.setdefault(key, {"key": key, "first": row["step"], "rows": 0})
            entry["last"] = row["step"]
            entry["rows"] += 1
    return list(found.values())


def _skipped(run: RunHistory) -> list[dict[str, Any]]:
    """The rows of training before which steps were left out."""
    events = []
    before = 0
    for row in run.of_kind("train"):
        count = row.get("skipped_steps") or 0
        if count > before:
            text = f"{count - before} left out since the row before, {count} in the whole run"
            events.append({"step": row["step"], "kind": "skipped steps", "text": text})
        before = count
    return events


def _event(row: Mapping[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in row.items() if key not in ("step", "kind")}
    text = ", ".join(f"{key} {_shown(value)}" for key, value in rest.items())
    return {"step": row["step"], "kind": str(row["kind"]), "text": text}


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
