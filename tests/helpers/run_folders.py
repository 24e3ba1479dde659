"""Run directories with made-up numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

CLASSES = ("wall", "floor", "<lamp>")
PHASES = ("data", "forward", "backward", "reduce", "optimizer", "other")


def write_run(folder: Path, lr: float = 0.1, num_rows: int = 4, **sections: Any) -> Path:
    """A run of ``10 * num_rows`` steps: resumed, with warnings, a step left out and two
    evaluations.
    """
    folder.mkdir(parents=True)
    steps = range(10, 10 * num_rows + 1, 10)
    rows = [_train_row(step, lr) for step in steps]
    rows.insert(1, {"step": 15, "kind": "note", "scenes": "scene0001_00"})
    rows += [_validation_row(steps[len(steps) // 2 - 1], 0.2), _validation_row(steps[-1], 0.4)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metrics.jsonl").write_text(text, encoding="utf-8")
    config = {"name": "rooms", "train": {"steps": steps[-1]}, "optimizer": {"lr": lr}, **sections}
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    start = {
        "command": ["pointseg", "train"],
        "started": "2026-01-02T03:04:05+00:00",
        "gpu": None,
        "versions": {"torch": "2.10"},
        "platform": "Linux",
    }
    facts = {**start, "resumed": [{"step": 20, **start}]}
    (folder / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    evaluation = _evaluation(steps[-1])
    (folder / "evaluation.json").write_text(json.dumps(evaluation), encoding="utf-8")
    return folder


def _train_row(step: int, lr: float) -> dict[str, Any]:
    return {
        "step": step,
        "kind": "train",
        "loss": 30 / (step + 5),
        "lr": lr / step,
        "epoch": step / 8,
        "grad_norm": None if step == 20 else 1.5,
        "peak_memory_gib": 1.25,
        "step_time_s": 0.5,
        "scenes_per_s": 4.0,
        "voxels_per_s": 9e4,
        "points_per_s": 2e5,
        **{f"time_s/{phase}": 0.01 * i for i, phase in enumerate(PHASES, start=1)},
        **{f"codebook/{s}/perplexity": 2.0 for s in ("encoder.1", "decoder.0")},
        "skipped_steps": 2 if step > 20 else 0,
        "warnings": ["codebook/encoder.1"] if step in (20, 30) else [],
    }


def _validation_row(step: int, mean_iou: float) -> dict[str, Any]:
    ious = {f"iou_{name}": mean_iou for name in CLASSES[:2]} | {f"iou_{CLASSES[2]}": None}
    return {
        "step": step,
        "kind": "validation",
        "mean_iou": mean_iou,
        "accuracy": 0.75,
        "mean_accuracy": 0.5,
        "evaluation_time_s": 3.0,
        **ious,
    }


def _evaluation(step: int) -> dict[str, Any]:
    scenes = [
        {"scene_id": f"scene{i:04d}_00", "mean_iou": iou, "accuracy": 0.5, "num_points": 50}
        for i, iou in enumerate([0.5, 0.1, None, 0.3])
    ]
    confusion = [[80, 20, 0, 0], [30, 70, 0, 0], [0, 0, 0, 0]]
    return {
        "step": step,
        "protocol": "single pass, raw points",
        "rule": "ScanNet official",
        "rule_statement": "all points",
        "split": "val",
        "num_scenes": 4,
        "num_ignored": 0,
        "num_points": 200,
        "mean_iou": 0.4,
        "accuracy": 0.75,
        "mean_accuracy": 0.75,
        "classes": [
            {"name": name, "iou": iou, "accuracy": iou, "num_points": count}
            for name, iou, count in zip(CLASSES, (0.6, 0.5, None), (100, 100, 0), strict=True)
        ],
        "confusion": confusion,
        "confusion_columns": [*CLASSES, "(none)"],
        "scenes": scenes,
    }
