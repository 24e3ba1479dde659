"""Tiny training runs for the tests: their configuration, and what two equal runs have in common."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from pointseg.engine.checkpoint import load_checkpoint
from pointseg.engine.checkpoint_folder import find_checkpoint

CONFIG = """
name: tiny
data:
  dataset: scannet
  root: {root}
  voxel_size_m: 0.15
  features: [color, height]
  transforms: [random_rotation, random_flip, chromatic_jitter]
model: {{name: minkunet, depths: [1, 1], widths: [8, 8], stem_kernel: 3, stem_width: 8}}
optimizer: {{name: adamw, lr: 0.01}}
schedule: {{name: one_cycle}}
loss: {{lovasz: 0.5, class_weight_power: 0.5}}
train:
  steps: 7
  batch_size: 2
  accumulate: 2
  clip_norm: 5.0
  evaluate_every: 3
  save_every: 0
  log_every: 1
  seed: 3
  tensorboard: false
"""

CLOCK = (
    *("step_time_s", "scenes_per_s", "voxels_per_s", "points_per_s"),
    *("peak_memory_gib", "evaluation_time_s"),
)
"""Keys of a metrics row that depend on the machine and on what else it does."""


def write_config(folder: Path, root: Path) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(CONFIG.format(root=root), encoding="utf-8")
    return path


def metrics(run: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [
        {k: v for k, v in row.items() if k not in CLOCK and not k.startswith("time_s/")}
        for row in rows
    ]


def assert_same_state(first: Any, second: Any, where: str = "") -> None:
    """Every tensor of two nested values has the same bits, and everything else is equal."""
    assert type(first) is type(second), where
    if isinstance(first, torch.Tensor):
        assert first.dtype == second.dtype and first.shape == second.shape, where
        assert first.numpy().tobytes() == second.numpy().tobytes(), where
    elif isinstance(first, dict):
        assert first.keys() == second.keys(), where
        for key in first:
            assert_same_state(first[key], second[key], f"{where}.{key}")
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second), where
        for i, (a, b) in enumerate(zip(first, second, strict=True)):
            assert_same_state(a, b, f"{where}[{i}]")
    else:
        assert first == second, where


def assert_same_run(first: Path, second: Path) -> None:
    """Two runs ended with the same parameters, moments, random state and metrics, bit for bit."""
    a, b = (vars(load_checkpoint(find_checkpoint(run))) for run in (first, second))
    a.pop("config"), b.pop("config")  # names the run's own files
    assert a["step"] > 0
    assert_same_state(a, b)
    assert metrics(first) == metrics(second)
