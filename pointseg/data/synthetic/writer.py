"""Writing scans and split lists in ScanNet's on-disk layout.

Ply files are written as a header and two structured arrays; the bytes are those plyfile writes
for the same elements.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pointseg.data.labels import NYU40
from pointseg.data.synthetic.nyu40 import UNANNOTATED, raw_category
from pointseg.data.synthetic.scanner import Scan
from pointseg.files import replace_text

PLY_COMMENT = "pointseg synthetic room"
SEGMENT_EDGE_M = 0.4

_TSV_COLUMNS = (
    "id", "raw_category", "category", "count", "nyu40id", "eigen13id", "nyuClass", "nyu40class",
    "eigen13class", "ModelNet40", "ModelNet10", "ShapeNetCore55", "synsetoffset", "wnsynsetid",
    "wnsynsetkey", "mpcat40", "mpcat40index",
)  # fmt: skip

_VERTEX_FIELDS = [
    ("x", "<f4"), ("y", "<f4"), ("z", "<f4"),
    ("red", "u1"), ("green", "u1"), ("blue", "u1"), ("alpha", "u1"),
]  # fmt: skip
_VERTEX = np.dtype(_VERTEX_FIELDS)
_LABELLED_VERTEX = np.dtype([*_VERTEX_FIELDS, ("label", "<u2")])
_FACE = np.dtype([("count", "u1"), ("vertex_indices", "<i4", (3,))])
_PLY_TYPES = {"<f4": "float", "|u1": "uchar", "<u2": "ushort"}


def _ply_bytes(vertices: np.ndarray, faces: np.ndarray) -> bytes:
    dtype = vertices.dtype
    assert dtype.names is not None
    properties = [f"property {_PLY_TYPES[dtype[name].str]} {name}" for name in dtype.names]
    header = [
        "ply", "format binary_little_endian 1.0", f"comment {PLY_COMMENT}",
        f"element vertex {len(vertices)}", *properties, f"element face {len(faces)}",
        "property list uchar int vertex_indices", "end_header", "",
    ]  # fmt: skip
    return "\n".join(header).encode("ascii") + vertices.tobytes() + faces.tobytes()


# As in ScanNet, the labelled mesh shows each class in its own colour.
_LABEL_COLORS = np.array([entry.rgb for entry in NYU40], np.uint8)


def segment_ids(scan: Scan) -> np.ndarray:
    """Over-segmentation int64 [P]: pieces of one instance inside a 40 cm lattice cell.

    A segment is named after its first vertex, so that ids are arbitrary numbers as in ScanNet.
    """
    cells = np.floor(scan.xyz_m * np.float32(1.0 / SEGMENT_EDGE_M)).astype(np.int64) & 63
    key = ((scan.instances.astype(np.int64) * 64 + cells[:, 0]) * 64 + cells[:, 1]) * 64 + cells[
        :, 2
    ]
    first = np.full(int(key.max()) + 1, -1, np.int32)
    first[key[::-1]] = np.arange(len(key) - 1, -1, -1, dtype=np.int32)
    return first[key].astype(np.int64)


def _aggregation(scene_id: str, scan: Scan, segments: np.ndarray) -> dict[str, object]:
    roots = np.flatnonzero(segments == np.arange(len(segments)))
    owners = scan.instances[roots]
    groups: list[dict[str, object]] = []
    for instance in np.unique(owners):
        members = roots[owners == instance]
        label = int(scan.labels[members[0]])
        if label == UNANNOTATED:
            continue
        groups.append(
            {
                "id": len(groups),
                "objectId": len(groups),
                "segments": members.tolist(),
                "label": raw_category(label),
            }
        )
    return {
        "sceneId": f"scannet.{scene_id}",
        "appId": "Aggregator.v2",
        "segGroups": groups,
        "segmentsFile": f"scannet.{scene_id}_vh_clean_2.0.010000.segs.json",
    }


def _info(scan: Scan, num_views: int) -> str:
    matrix = " ".join(f"{value:.6f}" for value in scan.axis_alignment.ravel())
    return (
        f"axisAlignment = {matrix}\nnumColorFrames = {num_views}\nnumDepthFrames = {num_views}\n"
        f"sceneType = {scan.scene_type}\n"
    )


def scene_files(scene_id: str, scan: Scan, num_views: int) -> dict[str, bytes]:
    """Contents of a scene's five files by name, as ScanNet names and lays them out."""
    vertices = np.empty(len(scan.xyz_m), _VERTEX)
    vertices["x"], vertices["y"], vertices["z"] = scan.xyz_m.T
    vertices["red"], vertices["green"], vertices["blue"] = scan.color.T
    vertices["alpha"] = 255
    labelled = np.empty(len(vertices), _LABELLED_VERTEX)
    for name in ("x", "y", "z", "alpha"):
        labelled[name] = vertices[name]
    label_color = _LABEL_COLORS[scan.labels]
    labelled["red"], labelled["green"], labelled["blue"] = label_color.T
    labelled["label"] = scan.labels
    faces = np.empty(len(scan.faces), _FACE)
    faces["count"] = 3
    faces["vertex_indices"] = scan.faces
    segments = segment_ids(scan)
    segs = json.dumps(
        {
            "params": {"edge": str(SEGMENT_EDGE_M)},
            "sceneId": scene_id,
            "segIndices": segments.tolist(),
        },
        separators=(",", ":"),
    )
    return {
        f"{scene_id}_vh_clean_2.ply": _ply_bytes(vertices, faces),
        f"{scene_id}_vh_clean_2.labels.ply": _ply_bytes(labelled, faces),
        f"{scene_id}_vh_clean_2.0.010000.segs.json": segs.encode("ascii"),
        f"{scene_id}.aggregation.json": json.dumps(_aggregation(scene_id, scan, segments)).encode(),
        f"{scene_id}.txt": _info(scan, num_views).encode("ascii"),
    }


def write_scene(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a scene's folder so that it is there whole or not at all; names may have folders."""
    partial = folder.with_name(f".{folder.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    for name, content in files.items():
        (partial / name).parent.mkdir(parents=True, exist_ok=True)
        (partial / name).write_bytes(content)
    os.replace(partial, folder)


def write_meta(root: Path, splits: Mapping[str, Sequence[str]]) -> None:
    """Write split lists (one scene id a line) and the label table into ``<root>/meta/``."""
    meta = root / "meta"
    meta.mkdir(parents=True, exist_ok=True)
    for split, scene_ids in splits.items():
        text = "".join(f"{scene_id}\n" for scene_id in scene_ids)
        replace_text(meta / f"scannetv2_{split}.txt", text)
    replace_text(meta / "scannetv2-labels.combined.tsv", label_table())


def label_table() -> str:
    """A table with the columns of ``scannetv2-labels.combined.tsv`` and one row a nyu40 class."""
    lines = ["\t".join(_TSV_COLUMNS)]
    for nyu40_id in range(1, len(NYU40)):
        raw = raw_category(nyu40_id)
        row = dict.fromkeys(_TSV_COLUMNS, "")
        row |= {"id": str(nyu40_id), "raw_category": raw, "category": raw, "count": "1"}
        row |= {"nyu40id": str(nyu40_id), "nyuClass": raw, "nyu40class": NYU40[nyu40_id].name}
        lines.append("\t".join(row[column] for column in _TSV_COLUMNS))
    return "\n".join(lines) + "\n"
