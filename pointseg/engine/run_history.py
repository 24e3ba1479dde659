"""What a run directory tells about a run: finished, still going, or cut off anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pointseg.engine.run_directory import (
    CONFIG_FILE,
    EVALUATION_FILE,
    METRICS_FILE,
    RUN_FILE,
    RunDirectory,
)


@dataclass(frozen=True, eq=False)
class RunHistory:
    """The files of a run as plain values. What is missing or damaged is left out and told."""

    path: Path
    rows: tuple[Mapping[str, Any], ...]
    """Of metrics.jsonl, in order."""
    config: Mapping[str, Any]
    config_text: str
    facts: Mapping[str, Any]
    """Of run.json."""
    evaluation: Mapping[str, Any] | None
    """The report of the last evaluation (evaluation.json)."""
    problems: tuple[str, ...]
    """What could not be read, each in a sentence."""

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def num_steps(self) -> int | None:
        """Steps that the run is to have, where its configuration is there."""
        steps = self.config.get("train", {}).get("steps")
        return None if steps is None else int(steps)

    @property
    def step(self) -> int:
        """Steps done, as far as rows tell."""
        return max((int(row["step"]) for row in self.rows), default=0)

    def of_kind(self, kind: str) -> list[Mapping[str, Any]]:
        """The rows of one kind."""
        return [row for row in self.rows if row["kind"] == kind]

    @property
    def events(self) -> list[Mapping[str, Any]]:
        """Rows that are neither of training nor of validation."""
        return [row for row in self.rows if row["kind"] not in ("train", "validation")]


def read_history(path: Path | str) -> RunHistory:
    """Read a run directory.

    FileNotFoundError where there is no such folder or no run in it.
    """
    run = RunDirectory(path)
    if not run.metrics.exists() and not (run.path / CONFIG_FILE).exists():
        raise FileNotFoundError(
            f"{path}: no run in this folder (neither {METRICS_FILE} nor {CONFIG_FILE}); pass what "
            "`pointseg train --output` was given"
        )
    problems: list[str] = []
    rows = tuple(_rows(_text(run.metrics, problems) or "", problems))
    config_text = _text(run.path / CONFIG_FILE, problems)
    config = _mapping(CONFIG_FILE, config_text, yaml.safe_load, problems)
    facts, evaluation = (
        _mapping(name, _text(run.path / name, problems), json.loads, problems)
        for name in (RUN_FILE, EVALUATION_FILE)
    )
    return RunHistory(
        path=run.path,
        rows=rows,
        config=config or {},
        config_text=config_text or "",
        facts=facts or {},
        evaluation=evaluation,
        problems=tuple(problems),
    )


def _text(path: Path, problems: list[str]) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        problems.append(f"{path.name}: not there")
        return None


def _rows(text: str, problems: list[str]) -> Iterator[Mapping[str, Any]]:
    unreadable = 0
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            row = None
        if isinstance(row, dict) and isinstance(row.get("step"), int) and "kind" in row:
            yield row
        else:
            unreadable += 1
    if unreadable:
        lines = "1 line" if unreadable == 1 else f"{unreadable} lines"
        problems.append(f"{METRICS_FILE}: {lines} cut off or not a row, left out")


def _mapping(
    name: str, text: str | None, parse: Callable[[str], Any], problems: list[str]
) -> Mapping[str, Any] | None:
    if text is None:
        return None
    try:
        value = parse(text)
    except (ValueError, yaml.YAMLError) as error:
        problems.append(f"{name}: not readable ({str(error).splitlines()[0]})")
        return None
    if not isinstance(value, dict):
        problems.append(f"{name}: not a mapping of names to values")
        return None
    return value


def flattened(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a.b": value}`` of nested mappings; lists are values."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat |= flattened(value, f"{name}.")
        else:
            flat[name] = value
    return flat


def config_differences(runs: list[RunHistory]) -> dict[str, list[Any]]:
    """The keys that not all runs have the same value of, and each run's; None where it has none."""
    configs = [flattened(run.config) for run in runs]
    keys = dict.fromkeys(key for config in configs for key in config)
    values = {key: [config.get(key) for config in configs] for key in keys}
    return {key: row for key, row in values.items() if any(value != row[0] for value in row)}
