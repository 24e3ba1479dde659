"""Small scenes written in ScanNet's format."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from plyfile import PlyData, PlyElement

TSV_HEADER = "id\traw_category\tcategory\tcount\tnyu40id\teigen13id"
CATEGORIES = {"wall": 1, "floor": 2, "office chair": 5, "shoe": 40, "rack": 39, "blinds": 13}


@dataclass
class SceneSpec:
    """A square of ``side`` x ``side`` vertices, each row of them one segment and one object."""

    scene_id: str = "scene0000_00"
    side: int = 6
    categories: Sequence[str] = ("wall", "floor", "office chair", "blinds")
    label_overrides: dict[int, int] = field(default_factory=dict)  # vertex: value in labels.ply
    app_id: str = "Aggregator.v2"
    labels_ply: bool = True
    annotation: bool = True
    info: str = "numColorFrames = 3\n"
    seed: int = 0

    @property
    def num_points(self) -> int:
        return self.side**2

    @property
    def xyz(self) -> np.ndarray:
        rng = np.random.default_rng(self.seed)
        x, y = np.meshgrid(np.arange(self.side), np.arange(self.side))
        z = 0.1 * rng.random(self.num_points)
        return np.stack([0.3 * x.ravel(), 0.3 * y.ravel(), z], axis=1).astype(np.float32)

    @property
    def color(self) -> np.ndarray:
        rng = np.random.default_rng(self.seed + 1)
        return rng.integers(0, 256, (self.num_points, 3)).astype(np.uint8)

    @property
    def faces(self) -> np.ndarray:
        corner = np.arange(self.num_points).reshape(self.side, self.side)[:-1, :-1].ravel()
        lower = np.stack([corner, corner + 1, corner + self.side], axis=1)
        upper = np.stack([corner + 1, corner + self.side + 1, corner + self.side], axis=1)
        return np.concatenate([lower, upper]).astype(np.int32)

    @property
    def objects(self) -> np.ndarray:
        """Row of each vertex = index of its object; rows beyond the categories have none (-1)."""
        row = np.repeat(np.arange(self.side), self.side)
        return np.where(row < len(self.categories), row, -1)

    @property
    def nyu40(self) -> np.ndarray:
        ids = np.array([CATEGORIES.get(c, 0) for c in self.categories] + [0])
        return ids[self.objects]


def write_ply(path: Path, xyz, color, faces, label=None, text: bool = False) -> None:
    fields = [(n, "f4") for n in "xyz"] + [(n, "u1") for n in ("red", "green", "blue", "alpha")]
    vertex = np.zeros(len(xyz), fields + ([("label", "u2")] if label is not None else []))
    for i, name in enumerate("xyz"):
        vertex[name] = xyz[:, i]
    for i, name in enumerate(("red", "green", "blue")):
        vertex[name] = color[:, i]
    vertex["alpha"] = 255
    if label is not None:
        vertex["label"] = label
    face = np.zeros(len(faces), [("vertex_indices", "i4", (3,))])
    face["vertex_indices"] = faces
    elements = [PlyElement.describe(vertex, "vertex"), PlyElement.describe(face, "face")]
    PlyData(elements, text=text, byte_order="<" if not text else "=").write(str(path))


def write_scene(root: Path, spec: SceneSpec, top: str = "scans") -> Path:
    folder = root / top / spec.scene_id
    folder.mkdir(parents=True)
    stem = folder / spec.scene_id
    write_ply(Path(f"{stem}_vh_clean_2.ply"), spec.xyz, spec.color, spec.faces)
    Path(f"{stem}.txt").write_text(spec.info)
    if spec.labels_ply:
        label = spec.nyu40.copy()
        for vertex, value in spec.label_overrides.items():
            label[vertex] = value
        black = np.zeros_like(spec.color)
        write_ply(Path(f"{stem}_vh_clean_2.labels.ply"), spec.xyz, black, spec.faces, label)
    if spec.annotation:
        segments = 100 + 7 * np.repeat(np.arange(spec.side), spec.side)
        groups = [
            {"id": i, "objectId": i, "segments": [100 + 7 * i], "label": category}
            for i, category in enumerate(spec.categories)
        ]
        Path(f"{stem}_vh_clean_2.0.010000.segs.json").write_text(
            json.dumps({"sceneId": spec.scene_id, "segIndices": segments.tolist()})
        )
        Path(f"{stem}.aggregation.json").write_text(
            json.dumps({"appId": spec.app_id, "segGroups": groups})
        )
    return folder


def write_meta(root: Path, meta: str = "meta", **splits: Sequence[str]) -> None:
    folder = root / meta
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f"{i}\t{c}\t{c}\t1\t{nyu}\t1" for i, (c, nyu) in enumerate(CATEGORIES.items(), 1)]
    tsv = "\n".join([TSV_HEADER, *rows, "99\tstorage\tstorage\t1\t\t1"]) + "\n"
    (folder / "scannetv2-labels.combined.tsv").write_text(tsv)
    for split in ("train", "val", "test"):
        lines = "".join(f"{scene_id}\n" for scene_id in splits.get(split, ()))
        (folder / f"scannetv2_{split}.txt").write_text(lines)


def write_root(root: Path, num_scenes: int = 3) -> list[SceneSpec]:
    """Scenes of different sizes in split ``train`` and one without labels in ``test``."""
    specs = [SceneSpec(f"scene{i:04d}_00", side=5 + i, seed=i) for i in range(num_scenes)]
    for spec in specs:
        write_scene(root, spec)
    test = SceneSpec("scene0707_00", labels_ply=False, annotation=False)
    write_scene(root, test, top="scans_test")
    write_meta(root, train=[s.scene_id for s in specs], test=[test.scene_id])
    return specs
