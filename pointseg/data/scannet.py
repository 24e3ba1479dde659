"""ScanNet v2 as it is on disk: meshes, annotations and the official splits."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from pointseg.data import ply as plyio
from pointseg.data.catalog import ALL, DatasetSpec, check_bool
from pointseg.data.coordinates import check_points
from pointseg.data.labels import SCANNET20
from pointseg.data.scannet_labels import (
    CategoryTable,
    ClassSource,
    annotate,
    check_segments,
    find_tsv,
    read_aggregation,
    read_segments,
    repair_nyu40,
)
from pointseg.data.types import PointCloud

logger = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
EXPECTED = {"train": 1201, "val": 312, "test": 100}
LabelSource = Literal["auto", "labels_ply", "annotation", "both"]
LAYOUT = """\
  <root>/scans/sceneXXXX_YY/sceneXXXX_YY_vh_clean_2.ply
                            sceneXXXX_YY_vh_clean_2.labels.ply
                            sceneXXXX_YY_vh_clean_2.0.010000.segs.json
                            sceneXXXX_YY.aggregation.json
                            sceneXXXX_YY.txt
  <root>/scans_test/scene07XX_00/scene07XX_00_vh_clean_2.ply
  <root>/meta/scannetv2_{train,val,test}.txt
  <root>/meta/scannetv2-labels.combined.tsv"""
BENCHMARK_CLASSES = ClassSource(SCANNET20, "nyu40id")
_AGAIN = "download the scene again"


def read_split(root: Path, split: str) -> tuple[str, ...]:
    """The official scene ids of a split: ``scannetv2_<split>.txt`` in ``root/meta`` or ``root``."""
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    name = f"scannetv2_{split}.txt"
    for path in (root / "meta" / name, root / name):
        if path.is_file():
            return tuple(path.read_text(encoding="utf-8-sig").split())
    raise FileNotFoundError(
        f"{root}: no {name} in it or in meta/; the split lists are in ScanNet's repository under "
        "Tasks/Benchmark"
    )


@dataclass(frozen=True)
class SceneFiles:
    """The files of one scene that are on disk; ``mesh`` is always set, present or not."""

    scene_id: str
    mesh: Path
    labels: Path | None
    segments: Path | None
    aggregation: Path | None
    info: Path | None

    @classmethod
    def of(cls, scene_dir: Path) -> SceneFiles:
        scene_id = scene_dir.name

        def optional(suffix: str) -> Path | None:
            path = scene_dir / f"{scene_id}{suffix}"
            return path if path.is_file() else None

        return cls(
            scene_id,
            scene_dir / f"{scene_id}_vh_clean_2.ply",
            optional("_vh_clean_2.labels.ply"),
            optional("_vh_clean_2.0.010000.segs.json"),
            optional(".aggregation.json"),
            optional(".txt"),
        )


@dataclass(frozen=True)
class ScanNetSettings:
    """What the reader makes of the files; part of a prepared scene's identity.

    align_axes    apply ``axisAlignment`` of ``<scene>.txt`` (identity where it is absent). The
                  segmentation benchmark does not need it.
    label_source  where the semantic labels come from: ``labels_ply``; ``annotation`` (aggregation,
                  segments and category table); ``both`` (labels.ply, refused where the annotation
                  says otherwise); ``auto`` (labels.ply if it is there, else the annotation).
    """

    align_axes: bool = False
    label_source: LabelSource = "auto"

    def __post_init__(self) -> None:
        check_bool("align_axes", self.align_axes)
        if self.label_source not in get_args(LabelSource):
            raise ValueError(
                f"label_source must be one of {', '.join(get_args(LabelSource))}, got "
                f"{self.label_source!r}"
            )


class ReaderSettings(Protocol):
    """What the reader asks its settings, see :class:`ScanNetSettings`."""

    @property
    def align_axes(self) -> bool: ...
    @property
    def label_source(self) -> LabelSource: ...


class ScanNetReader:
    """Reads scenes of a ScanNet v2 root, with the classes of the benchmark or of another table.

    Colours come from the mesh (labels.ply holds label colours), normals from its faces weighted by
    area, instances from aggregation and segments as ``objectId + 1``. Missing, cut-off or
    mismatched files are a FileNotFoundError or ValueError that names the file and what to do.
    """

    def __init__(
        self,
        root: Path | str,
        settings: ReaderSettings | None = None,
        classes: ClassSource = BENCHMARK_CLASSES,
    ) -> None:
        self.root = Path(root)
        self.settings = settings if settings is not None else ScanNetSettings()
        self.classes = classes
        self._categories: CategoryTable | None = None

    # -- which scenes -----------------------------------------------------------------------------

    def listed(self, split: str) -> tuple[str, ...]:
        """The official list of a split; ``all``: every folder, sorted."""
        if split == ALL:
            return tuple(
                p.name for top in self._tops() for p in sorted(top.glob("scene*")) if p.is_dir()
            )
        return read_split(self.root, split)

    def has(self, scene_id: str) -> bool:
        return self._folder(scene_id) is not None

    def num_points(self, scene_id: str) -> int:
        """Vertices of the mesh, as its header states them; the rest is not read."""
        return plyio.num_vertices(SceneFiles.of(self.scene_dir(scene_id)).mesh, _AGAIN)

    def scene_dir(self, scene_id: str) -> Path:
        """The folder of a scene in ``scans`` or ``scans_test``; FileNotFoundError without it."""
        folder = self._folder(scene_id)
        if folder is None:
            raise FileNotFoundError(
                f"{self.root / 'scans' / scene_id}: no such folder; expected\n{LAYOUT}"
            )
        return folder

    def _folder(self, scene_id: str) -> Path | None:
        return next((d for top in self._tops() if (d := top / scene_id).is_dir()), None)

    def _tops(self) -> tuple[Path, Path]:
        return self.root / "scans", self.root / "scans_test"

    # -- one scene --------------------------------------------------------------------------------

    def source_files(self, scene_id: str) -> dict[str, Path]:
        """The files that decide what :meth:`read_scene` returns, by name."""
        files = SceneFiles.of(self.scene_dir(scene_id))
        paths = [files.mesh, files.labels, files.segments, files.aggregation]
        if self.settings.align_axes:
            paths.append(files.info)
        if files.aggregation is not None and self._uses_annotation(files):
            paths.append(find_tsv(self.root))
        return {path.name: path for path in paths if path is not None and path.is_file()}

    def read_scene(self, scene_id: str) -> PointCloud:
        """One scene, vertices in mesh order. Scenes under ``scans_test`` have no labels."""
        return self.read_mesh(scene_id)[0]

    def read_mesh(self, scene_id: str) -> tuple[PointCloud, NDArray[np.int32]]:
        """As :meth:`read_scene`, with the triangles int32 [F, 3]."""
        scene_dir = self.scene_dir(scene_id)
        files = SceneFiles.of(scene_dir)
        mesh = plyio.read_ply(files.mesh, _AGAIN)
        vertex = plyio.element(mesh, "vertex", files.mesh, _AGAIN)
        xyz = plyio.columns(vertex, ("x", "y", "z"), np.float32, files.mesh, _AGAIN)
        color = plyio.columns(vertex, ("red", "green", "blue"), np.uint8, files.mesh, _AGAIN)
        if len(xyz) == 0:
            raise ValueError(f"{files.mesh}: the mesh has no vertices; {_AGAIN}")
        check_points(xyz, files.mesh, _AGAIN)
        faces = plyio.triangles(mesh, len(xyz), files.mesh, _AGAIN)
        raw_xyz = xyz
        if self.settings.align_axes:
            xyz = self._aligned(xyz, files)
        labels, instances = self._read_annotation(files, raw_xyz, scene_dir)
        cloud = PointCloud(
            scene_id=files.scene_id,
            xyz_m=xyz,
            color=color,
            normal=plyio.vertex_normals(xyz, faces) if len(faces) else None,
            labels=labels,
            instances=instances,
        )
        return cloud, faces

    def _read_annotation(
        self, files: SceneFiles, xyz: NDArray[np.float32], scene_dir: Path
    ) -> tuple[NDArray[np.int16] | None, NDArray[np.int32] | None]:
        raw: NDArray[np.int32] | None = None
        instances: NDArray[np.int32] | None = None
        if (files.aggregation is None) != (files.segments is None):
            have, lack = (
                files.aggregation or files.segments,
                ("segments" if files.segments is None else "aggregation"),
            )
            raise FileNotFoundError(
                f"{have}: its {lack} file is missing beside it; {_AGAIN}, or remove this file to "
                "go on without instances"
            )
        if files.aggregation is not None and files.segments is not None:
            groups = read_aggregation(files.aggregation, files.scene_id)
            segments = read_segments(files.segments, files.scene_id, len(xyz))
            check_segments(groups, segments, files.aggregation, files.segments)
            instances = annotate(groups, segments, [group.object_id + 1 for group in groups])
            if self._uses_annotation(files):
                if self._categories is None:
                    self._categories = CategoryTable(find_tsv(self.root), self.classes.column)
                raw = annotate(groups, segments, [self._categories(g.category) for g in groups])
        if files.labels is not None and self.settings.label_source != "annotation":
            stored = self._read_labels_ply(files, xyz)
            if raw is not None and not np.array_equal(raw, stored):
                differing = int((raw != stored).sum())
                raise ValueError(
                    f"{files.labels}: {differing} of {len(stored)} labels differ from those of "
                    f"{files.aggregation} with {find_tsv(self.root).name}; {_AGAIN}"
                )
            raw = stored
        if raw is None:
            if scene_dir.parent.name == "scans_test":
                return None, instances
            raise self._no_labels(files)
        return self.classes.label_map.to_train(raw), instances

    def _no_labels(self, files: SceneFiles) -> FileNotFoundError:
        if self.settings.label_source == "annotation":
            wanted = files.mesh.with_name(f"{files.scene_id}.aggregation.json")
            lacking = "the aggregation that they come from is not there"
        else:
            wanted = files.mesh.with_suffix(".labels.ply")
            lacking = "neither this file nor an aggregation with its segments is there"
        return FileNotFoundError(
            f"{wanted}: no labels for this scene: {lacking}; {_AGAIN}, or move it to scans_test if "
            "it has no annotation"
        )

    def _uses_annotation(self, files: SceneFiles) -> bool:
        source = self.settings.label_source
        return source in ("annotation", "both") or (source == "auto" and files.labels is None)

    def _read_labels_ply(self, files: SceneFiles, xyz: NDArray[np.float32]) -> NDArray[np.int32]:
        path = files.labels
        assert path is not None
        ply = plyio.read_ply(path, _AGAIN)
        vertex = plyio.element(ply, "vertex", path, _AGAIN)
        stored = plyio.columns(vertex, ("x", "y", "z"), np.float32, path, _AGAIN)
        if len(stored) != len(xyz):
            raise ValueError(
                f"{path}: {len(stored)} vertices, but {files.mesh.name} has {len(xyz)}; both must "
                f"be of the same release: {_AGAIN}"
            )
        if not np.array_equal(stored, xyz):
            raise ValueError(
                f"{path}: vertices are not those of {files.mesh.name} (same number, other "
                f"positions); both must be of the same release: {_AGAIN}"
            )
        labels = plyio.columns(vertex, ("label",), np.uint16, path, _AGAIN)[:, 0]
        return repair_nyu40(labels, files.scene_id, path).astype(np.int32)

    def _aligned(self, xyz: NDArray[np.float32], files: SceneFiles) -> NDArray[np.float32]:
        matrix = read_axis_alignment(files.info) if files.info is not None else None
        if matrix is None:
            logger.warning("%s: no axisAlignment, left as it is", files.scene_id)
            return xyz
        return (xyz @ matrix[:3, :3].T + matrix[:3, 3]).astype(np.float32)


def read_axis_alignment(path: Path) -> NDArray[np.float64] | None:
    """The 4x4 ``axisAlignment`` matrix of ``<scene>.txt``, None where the file has none."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "axisAlignment":
            try:
                return np.array([float(v) for v in value.split()]).reshape(4, 4)
            except ValueError as error:
                raise ValueError(f"{path}: axisAlignment needs 16 numbers ({error})") from error
    return None


SPEC = DatasetSpec(
    reader=ScanNetReader,
    settings=ScanNetSettings,
    label_map=SCANNET20,
    splits=SPLITS,
    benchmark="scannet",
    marks=("scans", "scans_test"),
    layout=LAYOUT,
    expected=EXPECTED,
)
