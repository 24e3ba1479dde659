from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointseg.data import SCANNET20, ScanNetReader, ScanNetSettings, present_scenes
from pointseg.data.ply import triangles, vertex_normals
from pointseg.data.scannet import SPEC
from pointseg.data.scannet_labels import SegmentGroup, annotate
from tests.data.scenes import SceneSpec, write_meta, write_ply, write_root, write_scene


def read(root: Path, spec: SceneSpec, **settings):
    reader = ScanNetReader(root, ScanNetSettings(**settings))
    return reader.read_scene(spec.scene_id)


def mesh_path(folder: Path, suffix: str = ".ply") -> Path:
    return folder / f"{folder.name}_vh_clean_2{suffix}"


def test_reads_all_of_a_scene(tmp_path: Path) -> None:
    spec = SceneSpec()
    write_scene(tmp_path, spec)
    cloud = read(tmp_path, spec)
    assert cloud.scene_id == "scene0000_00"
    np.testing.assert_array_equal(cloud.xyz_m, spec.xyz)
    np.testing.assert_array_equal(cloud.color, spec.color)  # not the label colours
    np.testing.assert_array_equal(cloud.labels, SCANNET20.to_train(spec.nyu40))
    np.testing.assert_array_equal(cloud.instances, spec.objects + 1)
    np.testing.assert_allclose(np.linalg.norm(cloud.normal, axis=1), 1, atol=1e-6)
    assert (cloud.normal[:, 2] > 0.5).all()


@pytest.mark.parametrize("source", ["labels_ply", "annotation", "both"])
def test_label_sources_agree(tmp_path: Path, source: str) -> None:
    spec = SceneSpec()
    write_scene(tmp_path, spec)
    write_meta(tmp_path)
    expected = SCANNET20.to_train(spec.nyu40)
    np.testing.assert_array_equal(read(tmp_path, spec, label_source=source).labels, expected)


def test_annotation_takes_over_without_labels_ply(tmp_path: Path) -> None:
    spec = SceneSpec(labels_ply=False)
    write_scene(tmp_path, spec)
    write_meta(tmp_path, meta=".")  # the table may also lie in the root itself
    np.testing.assert_array_equal(read(tmp_path, spec).labels, SCANNET20.to_train(spec.nyu40))


def test_both_sources_must_agree(tmp_path: Path) -> None:
    spec = SceneSpec(label_overrides={3: 7})
    write_scene(tmp_path, spec)
    write_meta(tmp_path)
    with pytest.raises(ValueError, match=r"labels\.ply: 1 of 36 labels differ"):
        read(tmp_path, spec, label_source="both")


def test_v1_labels_are_refused(tmp_path: Path) -> None:
    spec = SceneSpec(label_overrides={0: 50, 1: 230})
    write_scene(tmp_path, spec)
    with pytest.raises(ValueError, match="v1 release; download the v2"):
        read(tmp_path, spec)


def test_v1_aggregation_is_refused(tmp_path: Path) -> None:
    spec = SceneSpec(app_id="Aggregator.v1")
    write_scene(tmp_path, spec)
    with pytest.raises(ValueError, match=r"aggregation\.json: written by Aggregator\.v1"):
        read(tmp_path, spec)


@pytest.mark.parametrize(
    ("scene_id", "value", "category"),
    [("scene0270_00", 50, "rack"), ("scene0270_02", 50, "rack"), ("scene0384_00", 149, "shoe")],
)
def test_known_bad_scenes_are_repaired(
    tmp_path: Path, scene_id: str, value: int, category: str
) -> None:
    spec = SceneSpec(scene_id, categories=("wall", category))
    bad = {int(v): value for v in np.flatnonzero(spec.objects == 1)}
    spec.label_overrides = bad
    write_scene(tmp_path, spec)
    write_meta(tmp_path)
    labels = read(tmp_path, spec, label_source="both").labels  # equals the annotation: exact
    expected = 19 if category == "rack" else -1
    assert set(labels[list(bad)].tolist()) == {expected}


@pytest.mark.parametrize(
    ("scene_id", "value"), [("scene0270_01", 50), ("scene0384_00", 50), ("scene0270_00", 149)]
)
def test_the_repair_is_for_those_scenes_and_values_only(
    tmp_path: Path, scene_id: str, value: int
) -> None:
    spec = SceneSpec(scene_id, label_overrides={0: value})
    write_scene(tmp_path, spec)
    with pytest.raises(ValueError, match="v1 release"):
        read(tmp_path, spec)


def test_unknown_category_is_ignored_with_one_warning(tmp_path: Path, caplog) -> None:
    spec = SceneSpec(labels_ply=False, categories=("wall", "flux capacitor", "flux capacitor"))
    write_scene(tmp_path, spec)
    write_meta(tmp_path)
    reader = ScanNetReader(tmp_path)
    with caplog.at_level(logging.WARNING):
        labels = reader.read_scene(spec.scene_id).labels
        reader.read_scene(spec.scene_id)
    assert (labels[spec.objects == 1] == -1).all()
    assert [r.getMessage().count("flux capacitor") for r in caplog.records] == [1]


def test_last_group_wins_where_segments_are_shared() -> None:
    groups = [SegmentGroup(0, "a", (7, 9)), SegmentGroup(1, "b", (9, 11))]
    segments = np.array([9, 7, 8, 11, 7])
    assert annotate(groups, segments, [5, 6]).tolist() == [6, 5, 0, 6, 5]


def test_axis_alignment(tmp_path: Path, caplog) -> None:
    matrix = "0 -1 0 2 1 0 0 3 0 0 1 -1 0 0 0 1"
    spec = SceneSpec(info=f"axisAlignment = {matrix}\nsceneType = Office\n")
    write_scene(tmp_path, spec)
    cloud = read(tmp_path, spec, align_axes=True)
    expected = np.stack([2 - spec.xyz[:, 1], 3 + spec.xyz[:, 0], spec.xyz[:, 2] - 1], axis=1)
    np.testing.assert_allclose(cloud.xyz_m, expected, atol=1e-6)
    assert cloud.xyz_m.dtype == np.float32
    plain = SceneSpec("scene0001_00")
    write_scene(tmp_path, plain)
    np.testing.assert_array_equal(read(tmp_path, plain, align_axes=True).xyz_m, plain.xyz)
    assert "no axisAlignment" in caplog.text
    broken = SceneSpec("scene0002_00", info="axisAlignment = 1 2 3\n")
    write_scene(tmp_path, broken)
    with pytest.raises(ValueError, match=r"scene0002_00\.txt: axisAlignment needs 16"):
        read(tmp_path, broken, align_axes=True)


def test_test_scenes_have_no_labels(tmp_path: Path) -> None:
    write_root(tmp_path)
    reader = ScanNetReader(tmp_path)
    (scene_id,) = reader.listed("test")
    cloud = reader.read_scene(scene_id)
    assert cloud.labels is None
    assert cloud.instances is None
    assert cloud.normal is not None


# -- splits ---------------------------------------------------------------------------------------


def test_a_partial_split_is_reported_and_used(tmp_path: Path, caplog) -> None:
    write_root(tmp_path, num_scenes=2)
    listed = ["scene0500_00", "scene0001_00", "scene0000_00", "scene0501_00"]
    write_meta(tmp_path, train=listed, val=["scene0600_00"])
    reader = ScanNetReader(tmp_path)
    with caplog.at_level(logging.WARNING):
        scene_ids = present_scenes(reader, "train", SPEC)
    assert scene_ids == ("scene0001_00", "scene0000_00")  # the order of the list
    assert "2 of 4 scenes of split 'train' are not there" in caplog.text
    assert "(first: scene0500_00)" in caplog.text
    with pytest.raises(FileNotFoundError, match="2 of 4 scenes .* are not there"):
        present_scenes(reader, "train", SPEC, require_all=True)
    with pytest.raises(
        FileNotFoundError, match=r"none of the 1 scenes of split 'val'.*\n.*<root>/scans"
    ):
        present_scenes(reader, "val", SPEC)
    with pytest.raises(ValueError, match="train, val, test"):
        present_scenes(reader, "validation", SPEC)


def test_splits_are_joined_by_a_plus(tmp_path: Path) -> None:
    write_root(tmp_path, num_scenes=2)
    write_meta(tmp_path, train=["scene0001_00"], val=["scene0000_00"])
    reader = ScanNetReader(tmp_path)
    joined = present_scenes(reader, "train+val", SPEC)
    assert joined == ("scene0001_00", "scene0000_00")
    with pytest.raises(ValueError, match=r"scene0000_00 is in two of its parts"):
        present_scenes(reader, "val+all", SPEC)


def test_missing_split_list(tmp_path: Path) -> None:
    write_scene(tmp_path, SceneSpec())
    with pytest.raises(FileNotFoundError, match=r"scannetv2_val\.txt .* Tasks/Benchmark"):
        ScanNetReader(tmp_path).listed("val")
    assert ScanNetReader(tmp_path).listed("all") == ("scene0000_00",)


# -- broken files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".ply", ".labels.ply"])
@pytest.mark.parametrize("kept", [0.0, 0.01, 0.05, 0.3, 0.6, 0.99])
def test_cut_off_ply(tmp_path: Path, suffix: str, kept: float) -> None:
    spec = SceneSpec()
    path = mesh_path(write_scene(tmp_path, spec), suffix)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match="download the scene again") as error:
        read(tmp_path, spec)
    assert str(path) in str(error.value)


@given(cut=st.integers(0, 2500))
def test_no_cut_of_a_mesh_goes_unnoticed(tmp_path_factory, cut: int) -> None:
    root = tmp_path_factory.mktemp("cut")
    spec = SceneSpec(annotation=False)
    path = mesh_path(write_scene(root, spec))
    content = path.read_bytes()
    path.write_bytes(content[: min(cut, len(content) - 1)])
    with pytest.raises(ValueError, match="_vh_clean_2.ply"):
        read(root, spec)


@pytest.mark.parametrize(
    "header",
    [b"element vertex 99999999999", b"element vertex -3", b"element vertex x", b"nonsense"],
)
def test_broken_ply_header(tmp_path: Path, header: bytes) -> None:
    spec = SceneSpec()
    path = mesh_path(write_scene(tmp_path, spec))
    path.write_bytes(path.read_bytes().replace(b"element vertex 36", header))
    with pytest.raises(ValueError, match="download the scene again"):
        read(tmp_path, spec)


def test_files_of_different_meshes(tmp_path: Path) -> None:
    spec = SceneSpec()
    folder = write_scene(tmp_path, spec)
    other = SceneSpec(side=7)
    write_ply(mesh_path(folder, ".labels.ply"), other.xyz, other.color, other.faces, other.nyu40)
    with pytest.raises(ValueError, match=r"labels\.ply: 49 vertices, but .* has 36"):
        read(tmp_path, spec)
    write_ply(mesh_path(folder, ".labels.ply"), spec.xyz + 1, spec.color, spec.faces, spec.nyu40)
    with pytest.raises(ValueError, match=r"labels\.ply: vertices are not those of"):
        read(tmp_path, spec)
    mesh_path(folder, ".labels.ply").write_bytes(mesh_path(folder).read_bytes())
    with pytest.raises(ValueError, match="vertices lack label"):
        read(tmp_path, spec)


def test_segments_of_another_mesh(tmp_path: Path) -> None:
    spec = SceneSpec()
    path = mesh_path(write_scene(tmp_path, spec), ".0.010000.segs.json")
    path.write_text(json.dumps({"segIndices": [1, 2, 3]}))
    with pytest.raises(ValueError, match=r"segs\.json: segIndices has shape \(3,\).* 36 vertices"):
        read(tmp_path, spec)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"segGroups": 3}',
        '{"segGroups": [{}]}',
        *('{"segIndices": "x"}', "\0", "[" * 100_000),
    ],
)
@pytest.mark.parametrize("name", ["scene0000_00.aggregation.json", "vh_clean_2.0.010000.segs.json"])
def test_bad_json(tmp_path: Path, name: str, text: str) -> None:
    spec = SceneSpec()
    (path,) = write_scene(tmp_path, spec).glob(f"*{name}")
    path.write_text(text)
    with pytest.raises(ValueError, match="download the file again") as error:
        read(tmp_path, spec)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("suffix", "change", "message"),
    [
        (".aggregation.json", {"sceneId": "scannet.scene0001_00"}, "sceneId is 'scannet.scene0001"),
        (
            "_vh_clean_2.0.010000.segs.json",
            {"sceneId": "scene0001_00"},
            "sceneId is 'scene0001_00'",
        ),
        (
            "_vh_clean_2.0.010000.segs.json",
            {"segIndices": [100] * 36},
            r"3 of its 4 segments .*107",
        ),
    ],
)
def test_annotation_of_another_scene_or_release(
    tmp_path: Path, suffix: str, change: dict, message: str
) -> None:
    path = write_scene(tmp_path, SceneSpec()) / f"scene0000_00{suffix}"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "sceneId": "scannet.scene0000_00"}))
    assert read(tmp_path, SceneSpec()).instances is not None
    path.write_text(json.dumps({**content, **change}))
    with pytest.raises(ValueError, match=message) as error:
        read(tmp_path, SceneSpec())
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    "group",
    [
        {"segments": [10**30]},
        {"segments": [-1]},
        {"segments": [float("inf")]},
        {"objectId": 10**12},
        {"objectId": -1},
    ],
)
def test_numbers_in_annotations_that_are_no_ids(tmp_path: Path, group: dict) -> None:
    path = write_scene(tmp_path, SceneSpec()) / "scene0000_00.aggregation.json"
    content = json.loads(path.read_text())
    content["segGroups"][1].update(group)
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"aggregation\.json: segGroups must be"):
        read(tmp_path, SceneSpec())


def test_tables_and_lists_may_have_a_byte_order_mark(tmp_path: Path) -> None:
    spec = SceneSpec(labels_ply=False)
    write_scene(tmp_path, spec)
    write_meta(tmp_path, train=[spec.scene_id])
    for path in (tmp_path / "meta").iterdir():
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert ScanNetReader(tmp_path).listed("train") == (spec.scene_id,)
    # The table's first column counts, too.
    path = tmp_path / "meta/scannetv2-labels.combined.tsv"
    path.write_text("raw_category\tnyu40id\nwall\t1\n", encoding="utf-8-sig")
    assert (read(tmp_path, spec).labels == 0).sum() == spec.side


def test_missing_files(tmp_path: Path) -> None:
    spec = SceneSpec()
    folder = write_scene(tmp_path, spec)
    reader = ScanNetReader(tmp_path)
    segments = mesh_path(folder, ".0.010000.segs.json")
    segments.unlink()
    with pytest.raises(FileNotFoundError, match="segments file is missing"):
        reader.read_scene(folder.name)
    (folder / "scene0000_00.aggregation.json").unlink()
    assert reader.read_scene(folder.name).instances is None  # labels.ply alone is enough
    mesh_path(folder, ".labels.ply").unlink()
    with pytest.raises(FileNotFoundError, match=r"labels\.ply: no labels .* scans_test"):
        reader.read_scene(folder.name)
    mesh_path(folder).unlink()
    with pytest.raises(FileNotFoundError, match=r"_vh_clean_2\.ply: no such file"):
        reader.read_scene(folder.name)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        reader.read_scene("scene0001_00")


def test_missing_or_v1_category_table(tmp_path: Path) -> None:
    spec = SceneSpec(labels_ply=False)
    write_scene(tmp_path, spec)
    with pytest.raises(FileNotFoundError, match=r"no scannetv2-labels\.combined\.tsv"):
        read(tmp_path, spec)
    (tmp_path / "scannetv2-labels.combined.tsv").write_text("category\tnyu40id\nwall\t1\n")
    with pytest.raises(ValueError, match="v1 table is a different file"):
        read(tmp_path, spec)
    (tmp_path / "scannetv2-labels.combined.tsv").write_text("raw_category\tnyu40id\nwall\tx\n")
    with pytest.raises(ValueError, match=r"line 2"):
        read(tmp_path, spec)
    for number in ("99999999999", "-1"):
        table = f"raw_category\tnyu40id\nwall\t{number}\n"
        (tmp_path / "scannetv2-labels.combined.tsv").write_text(table)
        with pytest.raises(ValueError, match=rf"line 2: '{number}' is no id of 0\.\."):
            read(tmp_path, spec)


def test_unusable_geometry(tmp_path: Path) -> None:
    spec = SceneSpec(annotation=False)
    path = mesh_path(write_scene(tmp_path, spec))
    xyz = spec.xyz
    xyz[3] = np.nan
    write_ply(path, xyz, spec.color, spec.faces)
    with pytest.raises(ValueError, match="1 of 36 points are not finite"):
        read(tmp_path, spec)
    faces = spec.faces
    faces[0, 0] = 36
    write_ply(path, spec.xyz, spec.color, faces)
    with pytest.raises(ValueError, match=r"vertices 1\.\.36, but there are 36"):
        read(tmp_path, spec)
    write_ply(path, spec.xyz[:0], spec.color[:0], spec.faces[:0])
    with pytest.raises(ValueError, match="no vertices"):
        read(tmp_path, spec)


def test_ascii_and_polygon_meshes(tmp_path: Path) -> None:
    spec = SceneSpec(annotation=False)
    path = mesh_path(write_scene(tmp_path, spec))
    write_ply(path, spec.xyz, spec.color, spec.faces, text=True)
    np.testing.assert_allclose(read(tmp_path, spec).xyz_m, spec.xyz, rtol=1e-6)
    from pointseg.data.ply import read_ply

    quad = tmp_path / "quad.ply"
    quad.write_text(
        "ply\nformat ascii 1.0\nelement vertex 5\nproperty float x\nproperty float y\n"
        "property float z\nelement face 2\nproperty list uchar int vertex_indices\nend_header\n"
        "0 0 0\n1 0 0\n1 1 0\n0 1 0\n5 5 5\n4 0 1 2 3\n3 0 1 2\n"
    )
    faces = triangles(read_ply(quad, "x"), 5, quad, "x")
    assert faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 2]]


# -- normals --------------------------------------------------------------------------------------


def test_normals_are_weighted_by_area() -> None:
    xyz = np.array([[0, 0, 0], [2, 0, 0], [0, 2, 0], [0, 0, 1], [9, 9, 9]], dtype=np.float32)
    faces = np.array(
        [[0, 1, 2], [0, 2, 3]], dtype=np.int32
    )  # areas 2 (towards z) and 1 (towards x)
    normal = vertex_normals(xyz, faces)
    np.testing.assert_allclose(normal[0], np.array([1, 0, 2]) / np.sqrt(5), atol=1e-6)
    np.testing.assert_allclose(normal[1], [0, 0, 1], atol=1e-6)
    np.testing.assert_array_equal(normal[4], [0, 0, 0])  # on no face


def test_normals_of_a_sphere_point_outwards() -> None:
    from scipy.spatial import ConvexHull

    points = np.random.default_rng(0).standard_normal((2000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    hull = ConvexHull(points)
    faces = hull.simplices.copy()
    outward = np.cross(
        points[faces[:, 1]] - points[faces[:, 0]], points[faces[:, 2]] - points[faces[:, 0]]
    )
    flip = (outward * hull.equations[:, :3]).sum(1) < 0
    faces[flip] = faces[flip][:, ::-1]
    normal = vertex_normals(points.astype(np.float32), faces.astype(np.int32))
    assert (normal * points).sum(axis=1).min() > 0.97


# -- the real thing -------------------------------------------------------------------------------


def test_real_scene(real_data: Path) -> None:
    root = real_data / "scannet"
    reader = ScanNetReader(root, ScanNetSettings(label_source="both"))
    (scene_id,) = present_scenes(reader, "train", SPEC)
    cloud, faces = reader.read_mesh(scene_id)
    assert cloud.num_points == reader.num_points(scene_id) == 81_369
    assert faces.shape == (153_587, 3)
    assert cloud.labels.min() == -1
    assert cloud.instances.max() == 67
    lengths = np.linalg.norm(cloud.normal, axis=1)
    assert ((np.abs(lengths - 1) < 1e-5) | (lengths == 0)).all()
    floor = cloud.normal[cloud.labels == 1]
    assert np.median(floor[:, 2]) > 0.95
    aligned = ScanNetReader(root, ScanNetSettings(align_axes=True)).read_scene(scene_id).xyz_m
    np.testing.assert_allclose(aligned[:, 2], cloud.xyz_m[:, 2] - 0.06435, atol=1e-6)
