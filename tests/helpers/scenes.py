"""Tiny rooms in ScanNet's format on disk: floor, two walls, tables and chairs as coloured boxes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from plyfile import PlyData, PlyElement

CATEGORIES = {"wall": 1, "floor": 2, "chair": 5, "table": 7, "ceiling": 22}
"""Category -> nyu40 id; ``ceiling`` is none of the 20 classes."""

TRAIN_IDS = ("scene0000_00", "scene0001_00", "scene0002_00")
VAL_IDS = ("scene0003_00", "scene0004_00")


@dataclass(frozen=True)
class Patch:
    """A rectangle of vertices: xyz [R * C, 3] in rows, with triangles between them."""

    category: str
    xyz: np.ndarray
    rows: int
    columns: int

    @property
    def triangles(self) -> np.ndarray:
        index = np.arange(self.rows * self.columns).reshape(self.rows, self.columns)
        a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
        pairs = [np.stack([a, b, c], axis=-1), np.stack([b, d, c], axis=-1)]
        return np.concatenate([pair.reshape(-1, 3) for pair in pairs])


def rectangle(category: str, origin, along, across, spacing_m: float) -> Patch:
    """``origin + s * along + t * across`` for s, t in 0..1, about ``spacing_m`` apart."""
    origin, along, across = (np.asarray(v, dtype=np.float64) for v in (origin, along, across))
    columns = max(int(np.linalg.norm(along) / spacing_m), 1) + 1
    rows = max(int(np.linalg.norm(across) / spacing_m), 1) + 1
    t, s = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij")
    xyz = origin + s.reshape(-1, 1) * along + t.reshape(-1, 1) * across
    return Patch(category, xyz, rows, columns)


def room(rng: np.random.Generator, spacing_m: float) -> list[Patch]:
    """A room of about 3 x 2.5 x 1.5 m."""
    x, y = rng.uniform(2.5, 3.5), rng.uniform(2.0, 3.0)
    height = 1.5
    patches = [
        rectangle("floor", (0, 0, 0), (x, 0, 0), (0, y, 0), spacing_m),
        rectangle("wall", (0, 0, 0), (0, 0, height), (x, 0, 0), spacing_m),
        rectangle("wall", (0, 0, 0), (0, y, 0), (0, 0, height), spacing_m),
        rectangle("ceiling", (0, 0, height), (0, 0.5, 0), (x, 0, 0), spacing_m),
    ]
    for category, top, side in (("table", 0.7, 0.8), ("chair", 0.45, 0.4), ("chair", 0.45, 0.4)):
        corner = (rng.uniform(0.2, x - 1), rng.uniform(0.2, y - 1))
        patches.append(
            rectangle(category, (*corner, top), (side, 0, 0), (0, side, 0), spacing_m / 2)
        )
        patches.append(rectangle(category, (*corner, 0), (side, 0, 0), (0, 0, top), spacing_m / 2))
    return patches


def write_scene(scans: Path, scene_id: str, seed: int, spacing_m: float = 0.1) -> int:
    """Write one scene with all of its files; returns its vertices, about 2.5k at 0.1 m."""
    rng = np.random.default_rng([seed, int(scene_id[5:9]), int(scene_id[10:])])
    patches = room(rng, spacing_m)
    counts = [len(patch.xyz) for patch in patches]
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    xyz = np.concatenate([patch.xyz for patch in patches])
    xyz = (xyz + rng.normal(scale=0.004, size=xyz.shape)).astype(np.float32)
    faces = np.concatenate([p.triangles + s for p, s in zip(patches, starts, strict=True)])
    labels = np.repeat([CATEGORIES[patch.category] for patch in patches], counts)
    tone = {category: rng.integers(60, 200, 3) for category in CATEGORIES}
    colors = np.repeat([tone[patch.category] for patch in patches], counts, axis=0)
    colors = np.clip(colors + rng.integers(-30, 30, colors.shape), 0, 255)

    folder = scans / scene_id
    folder.mkdir(parents=True)
    stem = folder / f"{scene_id}_vh_clean_2"
    _write_ply(Path(f"{stem}.ply"), xyz, colors, faces, None)
    _write_ply(Path(f"{stem}.labels.ply"), xyz, np.zeros_like(colors), faces, labels)
    segments = np.repeat(np.arange(len(patches)) * 10 + 3, counts).tolist()
    _write_json(
        Path(f"{stem}.0.010000.segs.json"),
        {"params": {}, "sceneId": scene_id, "segIndices": segments},
    )
    groups = [
        {"id": i, "objectId": i, "segments": [i * 10 + 3], "label": patch.category}
        for i, patch in enumerate(patches)
    ]
    _write_json(
        folder / f"{scene_id}.aggregation.json",
        {"sceneId": f"scannet.{scene_id}", "appId": "Aggregator.v2", "segGroups": groups},
    )
    identity = " ".join(f"{v:.6f}" for v in np.eye(4).ravel())
    (folder / f"{scene_id}.txt").write_text(f"axisAlignment = {identity} \n", encoding="utf-8")
    return len(xyz)


def write_scannet_root(
    root: Path,
    train: Sequence[str] = TRAIN_IDS,
    val: Sequence[str] = VAL_IDS,
    seed: int = 0,
    spacing_m: float = 0.1,
) -> Path:
    """Write ``scans/`` and ``meta/`` of a small ScanNet root from a seed; returns ``root``."""
    for scene_id in (*train, *val):
        write_scene(root / "scans", scene_id, seed, spacing_m)
    meta = root / "meta"
    meta.mkdir(parents=True)
    for split, scene_ids in (("train", train), ("val", val), ("test", ())):
        text = "".join(f"{scene_id}\n" for scene_id in scene_ids)
        (meta / f"scannetv2_{split}.txt").write_text(text, encoding="utf-8")
    rows = ["id\traw_category\tcategory\tnyu40id\tnyu40class"]
    rows += [
        f"{i}\t{name}\t{name}\t{nyu40}\t{name}"
        for i, (name, nyu40) in enumerate(CATEGORIES.items())
    ]
    (meta / "scannetv2-labels.combined.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root


def _write_ply(path: Path, xyz, colors, faces, labels) -> None:
    fields = [(axis, "f4") for axis in "xyz"]
    fields += [(name, "u1") for name in ("red", "green", "blue", "alpha")]
    if labels is not None:
        fields.append(("label", "u2"))
    vertex = np.zeros(len(xyz), dtype=fields)
    for i, axis in enumerate("xyz"):
        vertex[axis] = xyz[:, i]
    for i, name in enumerate(("red", "green", "blue")):
        vertex[name] = colors[:, i]
    vertex["alpha"] = 255
    if labels is not None:
        vertex["label"] = labels
    face = np.zeros(len(faces), dtype=[("vertex_indices", "i4", (3,))])
    face["vertex_indices"] = faces
    elements = [PlyElement.describe(vertex, "vertex"), PlyElement.describe(face, "face")]
    PlyData(elements, byte_order="<").write(str(path))


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")
