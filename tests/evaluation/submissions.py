"""Submissions to three benchmarks in small: scenes, classes and predictions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pointseg.data import SCANNET20, LabelMap
from pointseg.evaluation import SubmissionCheck, check_submission, written_submission
from pointseg.evaluation.submission import NUSCENES, SCANNET, SEMANTICKITTI, SubmissionFormat


def classes(name: str, raw_ids: tuple[int, ...], reads: dict[int, int]) -> LabelMap:
    palette = np.zeros((len(raw_ids), 3), dtype=np.uint8)
    return LabelMap(name, tuple(f"class {id}" for id in raw_ids), raw_ids, palette, reads=reads)


# As the data sets' own, with fewer classes: written ids, and all that annotations may hold.
KITTI_CLASSES = classes("kitti", (10, 11, 81), {0: -1, 1: -1, 10: 0, 11: 1, 81: 2, 252: 0})
NUSCENES_CLASSES = classes("nuscenes", tuple(range(1, 17)), {0: -1, 17: 3, 24: 10, 30: 15})


@dataclass(frozen=True)
class Case:
    """One benchmark: its format, classes, scenes (id -> points), split and files."""

    format: SubmissionFormat
    label_map: LabelMap
    scenes: dict[str, int | None]
    split: str
    names: tuple[str, ...]

    def predictions(self) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(3)
        classes = self.label_map.num_classes
        return {s: rng.integers(0, classes, n).astype(np.int16) for s, n in self.scenes.items()}

    def write(self, path: Path, **options) -> Path:
        with written_submission(
            path, self.scenes, self.format, self.label_map, self.split, **options
        ) as writer:
            for scene_id, labels in self.predictions().items():
                writer.add(scene_id, labels)
        return path

    def check(self, path: Path) -> SubmissionCheck:
        return check_submission(path, self.scenes, self.format, self.label_map, self.split)


TOKENS = ("0b" * 16, "0a" * 16)
CASES = {
    "scannet": Case(
        SCANNET,
        SCANNET20,
        {"scene0707_00": 5, "scene0708_00": 3},
        "test",
        ("scene0707_00.txt", "scene0708_00.txt"),
    ),
    "semantickitti": Case(
        SEMANTICKITTI,
        KITTI_CLASSES,
        {"11_000000": 4, "11_000001": 2, "12_000000": 3},
        "test",
        (
            "sequences/",
            "sequences/11/",
            "sequences/11/predictions/",
            "sequences/11/predictions/000000.label",
            "sequences/11/predictions/000001.label",
            "sequences/12/",
            "sequences/12/predictions/",
            "sequences/12/predictions/000000.label",
        ),
    ),
    "nuscenes": Case(
        NUSCENES,
        NUSCENES_CLASSES,
        {TOKENS[0]: 4, TOKENS[1]: 3},
        "test",
        (
            f"lidarseg/test/{TOKENS[1]}_lidarseg.bin",
            f"lidarseg/test/{TOKENS[0]}_lidarseg.bin",
            "test/submission.json",
        ),
    ),
}
