"""The directory of a run: resolved configuration, versions, label map, metrics and checkpoints."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from pointseg.engine.checkpoint import CHECKPOINT_DIR

CONFIG_FILE = "config.yaml"
RUN_FILE = "run.json"
LABELS_FILE = "labels.json"
METRICS_FILE = "metrics.jsonl"
TENSORBOARD_DIR = "tensorboard"
SKIPPED_DIR = "skipped"
_OWN_FILES = (CONFIG_FILE, RUN_FILE, LABELS_FILE, METRICS_FILE)
_OWN_FOLDERS = (CHECKPOINT_DIR, TENSORBOARD_DIR, SKIPPED_DIR)


class RunDirectory:
    """Paths of a run and what is written once, at its start and whenever it is resumed.

    ``config.yaml`` is resolved: with it, ``train.py --config`` runs the same training again.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def checkpoints(self) -> Path:
        return self.path / CHECKPOINT_DIR

    @property
    def metrics(self) -> Path:
        return self.path / METRICS_FILE

    @property
    def tensorboard(self) -> Path:
        return self.path / TENSORBOARD_DIR

    @property
    def skipped(self) -> Path:
        """Steps that were left out, see `pointseg.engine.skipped`."""
        return self.path / SKIPPED_DIR

    def refuse_existing(self) -> None:
        """FileExistsError if a run is here already."""
        if any((self.path / name).exists() for name in (*_OWN_FILES, *_OWN_FOLDERS)):
            raise FileExistsError(
                f"{self.path} holds a run already: go on with it (--resume {self.path}), "
                "choose another --output, or pass --overwrite"
            )

    def clear(self) -> None:
        """Remove an earlier run's own files, nothing else."""
        for name in _OWN_FILES:
            (self.path / name).unlink(missing_ok=True)
        for name in _OWN_FOLDERS:
            shutil.rmtree(self.path / name, ignore_errors=True)

    def create(self, config_text: str, label_map: dict[str, Any], command: list[str]) -> None:
        """Start a run here."""
        self.refuse_existing()
        self._describe(config_text, label_map)
        self._write_json(RUN_FILE, {**describe_start(command), "resumed": []})

    def reopen(
        self,
        config_text: str,
        label_map: dict[str, Any],
        command: list[str],
        step: int,
        evaluated_step: int,
    ) -> None:
        """Go on with the run here from a checkpoint: metrics written after it are dropped, as they
        will come again.
        """
        self._describe(config_text, label_map)
        run_file = self.path / RUN_FILE
        facts = json.loads(run_file.read_text(encoding="utf-8")) if run_file.exists() else {}
        starts = facts.setdefault("resumed", [])
        starts.append({"step": step, **describe_start(command)})
        self._write_json(RUN_FILE, facts)
        if self.metrics.exists():
            kept = [
                line
                for line in self.metrics.read_text(encoding="utf-8").splitlines(keepends=True)
                if _belongs_before(line, step, evaluated_step)
            ]
            temporary = self.metrics.with_suffix(".tmp")
            temporary.write_text("".join(kept), encoding="utf-8")
            os.replace(temporary, self.metrics)

    def _describe(self, config_text: str, label_map: dict[str, Any]) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / CONFIG_FILE).write_text(config_text, encoding="utf-8")
        self._write_json(LABELS_FILE, label_map)

    def _write_json(self, name: str, value: dict[str, Any]) -> None:
        text = json.dumps(value, indent=2) + "\n"
        (self.path / name).write_text(text, encoding="utf-8")


def default_run_path(root: str, name: str, now: datetime | None = None) -> Path:
    """``root/name_20250131-142800``; a number is added where that is taken."""
    stamp = (now or datetime.now()).strftime("%Y%m%d-%H%M%S")
    path = Path(root).expanduser() / f"{name}_{stamp}"
    candidate, number = path, 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate


def collect_versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    versions = {"python": platform.python_version()}
    for package in ("pointseg", "torch", "numpy"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            module = sys.modules.get(package)
            versions[package] = str(getattr(module, "__version__", "unknown"))
    return versions


def describe_start(command: list[str]) -> dict[str, Any]:
    """When, how and on what the run was started or gone on with."""
    return {
        "command": command,
        "working_directory": str(Path.cwd()),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "versions": collect_versions(),
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _belongs_before(line: str, step: int, evaluated_step: int) -> bool:
    try:
        row = json.loads(line)
    except json.JSONDecodeError:  # cut off by a power failure
        return False
    return bool(row["step"] <= (evaluated_step if row["kind"] == "validation" else step))
