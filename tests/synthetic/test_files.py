"""The files: ScanNet's layout, element for element, and the same bytes every time."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from plyfile import PlyData, PlyElement

from pointseg.cli.synthesize_rooms import main
from pointseg.data.labels import SCANNET20
from pointseg.data.registry import DATASETS, present_scenes
from pointseg.data.scannet import ScanNetReader, ScanNetSettings
from pointseg.data.synthetic import RoomSet, generate_scan, synthesize_rooms
from pointseg.data.synthetic.dataset import FIRST_VALIDATION_ROOM, MANIFEST
from pointseg.data.synthetic.rooms import RECIPES

SEED = 3
MESH = [
    ("x", "float32"), ("y", "float32"), ("z", "float32"), ("red", "uint8"), ("green", "uint8"),
    ("blue", "uint8"), ("alpha", "uint8"),
]  # fmt: skip


def scene_path(root: Path, suffix: str, scene: str = "scene0000_00") -> Path:
    return root / "scans" / scene / f"{scene}{suffix}"


def contents(root: Path) -> dict[str, bytes]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def test_every_file_of_the_layout_is_there(rooms_root: Path) -> None:
    scenes = ["scene0000_00", "scene0001_00", f"scene{FIRST_VALIDATION_ROOM}_00"]
    suffixes = [
        "_vh_clean_2.ply", "_vh_clean_2.labels.ply", "_vh_clean_2.0.010000.segs.json",
        ".aggregation.json", ".txt",
    ]  # fmt: skip
    expected = {f"scans/{scene}/{scene}{suffix}" for scene in scenes for suffix in suffixes}
    expected |= {f"meta/scannetv2_{split}.txt" for split in ("train", "val", "test")}
    expected |= {"meta/scannetv2-labels.combined.tsv", MANIFEST}
    assert set(contents(rooms_root)) == expected


@pytest.mark.parametrize(
    ("suffix", "properties"),
    [("_vh_clean_2.ply", MESH), ("_vh_clean_2.labels.ply", [*MESH, ("label", "uint16")])],
)
def test_plyfile_reads_the_mesh_and_would_write_the_same_bytes(
    rooms_root: Path, suffix: str, properties: list[tuple[str, str]]
) -> None:
    path = scene_path(rooms_root, suffix)
    ply = PlyData.read(str(path))
    assert [element.name for element in ply.elements] == ["vertex", "face"]
    assert not ply.text
    assert ply.byte_order == "<"
    vertex = ply["vertex"].data
    assert [(name, str(vertex.dtype[name])) for name in vertex.dtype.names] == properties
    assert (vertex["alpha"] == 255).all()
    face = ply["face"]
    assert str(face.ply_property("vertex_indices")) == "property list uchar int vertex_indices"
    corners = np.stack(face.data["vertex_indices"])
    assert corners.shape[1] == 3
    assert set(np.unique(corners)) == set(range(len(vertex)))  # in range, and no vertex unused

    element = PlyElement.describe(face.data, "face", len_types={"vertex_indices": "u1"})
    again = PlyData(
        [PlyElement.describe(np.asarray(vertex), "vertex"), element],
        text=False, byte_order="<", comments=ply.comments,
    )  # fmt: skip
    stream = io.BytesIO()
    again.write(stream)
    assert stream.getvalue() == path.read_bytes()


def test_labelled_mesh_has_the_same_vertices_and_faces(rooms_root: Path) -> None:
    plain = PlyData.read(str(scene_path(rooms_root, "_vh_clean_2.ply")))
    labelled = PlyData.read(str(scene_path(rooms_root, "_vh_clean_2.labels.ply")))
    for name in ("x", "y", "z"):
        np.testing.assert_array_equal(plain["vertex"][name], labelled["vertex"][name])
    assert labelled["vertex"]["label"].max() <= 40
    faces = [np.stack(ply["face"].data["vertex_indices"]) for ply in (plain, labelled)]
    np.testing.assert_array_equal(*faces)


def test_reader_finds_the_same_labels_in_the_mesh_and_in_the_segments(rooms_root: Path) -> None:
    for split, count in (("train", 2), ("val", 1)):
        by_mesh = ScanNetReader(rooms_root, ScanNetSettings(label_source="labels_ply"))
        by_segments = ScanNetReader(rooms_root, ScanNetSettings(label_source="annotation"))
        scene_ids = present_scenes(by_mesh, split, DATASETS["synthetic"], require_all=True)
        assert len(scene_ids) == count
        for scene_id in scene_ids:
            one, other = by_mesh.read_scene(scene_id), by_segments.read_scene(scene_id)
            assert one.labels is not None and other.labels is not None
            np.testing.assert_array_equal(one.labels, other.labels)
            assert one.normal is not None and one.instances is not None
            lengths = np.linalg.norm(one.normal, axis=1)
            np.testing.assert_allclose(lengths, 1.0, atol=1e-4)
            for instance in np.unique(one.instances):
                if instance:
                    assert len(np.unique(one.labels[one.instances == instance])) == 1


def test_segments_name_a_vertex_each_and_lie_in_one_group(rooms_root: Path) -> None:
    segs = json.loads(scene_path(rooms_root, "_vh_clean_2.0.010000.segs.json").read_text())
    groups = json.loads(scene_path(rooms_root, ".aggregation.json").read_text())
    ids = np.array(segs["segIndices"])
    assert segs["sceneId"] == "scene0000_00"
    assert groups["sceneId"] == "scannet.scene0000_00"
    listed = [segment for group in groups["segGroups"] for segment in group["segments"]]
    assert len(listed) == len(set(listed))
    assert set(listed) <= set(ids.tolist())
    assert (ids[ids] == ids).all()


def test_aligned_walls_are_parallel_to_the_axes_and_raw_ones_are_not(rooms_root: Path) -> None:
    wall = SCANNET20.names.index("wall")
    for align, expected in ((True, 0.0), (False, None)):
        reader = ScanNetReader(rooms_root, ScanNetSettings(align_axes=align))
        cloud = reader.read_scene(reader.listed("train")[0])
        assert cloud.normal is not None and cloud.labels is not None
        normal = cloud.normal[cloud.labels == wall]
        angle = np.degrees(np.arctan2(normal[:, 1], normal[:, 0])) % 90.0
        turn = np.degrees(np.angle(np.exp(4j * np.radians(angle)).mean())) / 4.0
        if expected is None:
            assert abs(turn) > 2.0
        else:
            assert abs(turn) < 1.0
            floor = cloud.xyz_m[cloud.labels == SCANNET20.names.index("floor"), 2]
            assert abs(float(np.median(floor))) < 0.01


def test_bytes_do_not_depend_on_workers_or_on_the_other_rooms(
    rooms_root: Path, tmp_path: Path
) -> None:
    made = synthesize_rooms(tmp_path, RoomSet(train=1, val=1, seed=SEED), workers=2)
    assert made == 2
    expected, found = contents(rooms_root), contents(tmp_path)
    scans = [name for name in found if name.startswith("scans/")]
    assert len(scans) == 10
    for name in scans:
        assert found[name] == expected[name], name


def test_another_seed_gives_another_room() -> None:
    one, other = generate_scan(SEED, 0), generate_scan(SEED + 1, 0)
    assert one.xyz_m.shape != other.xyz_m.shape or (one.xyz_m != other.xyz_m).any()


def test_a_second_run_keeps_what_is_there_and_adds_what_is_missing(tmp_path: Path) -> None:
    root = tmp_path / "rooms"
    assert synthesize_rooms(root, RoomSet(train=1, val=0, seed=SEED)) == 1
    before = contents(root)
    (root / "scans" / ".scene0001_00.partial").mkdir()
    done: list[tuple[int, int]] = []
    rooms = RoomSet(train=2, val=0, seed=SEED)
    assert synthesize_rooms(root, rooms, on_room=lambda *at: done.append(at)) == 1
    assert done == [(2, 2)]
    after = contents(root)
    changed = {name for name, content in before.items() if after[name] != content}
    assert changed == {"meta/scannetv2_train.txt"}
    assert not list(root.glob("scans/.*"))
    assert synthesize_rooms(root, rooms) == 0


def test_other_folders_are_refused(rooms_root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="another generator version, seed, format"):
        synthesize_rooms(rooms_root, RoomSet(train=2, val=1, seed=SEED + 1))
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="not empty"):
        synthesize_rooms(tmp_path, RoomSet(train=1, val=0))
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "value"), [("train", -1), ("train", 9999), ("val", -1), ("val", 9999), ("seed", -1)]
)
def test_bad_counts_are_named(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=name):
        RoomSet(**{name: value})


def test_workers_below_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="workers"):
        synthesize_rooms(tmp_path, RoomSet(train=1), workers=0)


def test_command_line(rooms_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--train", "2", "--val", "1", "--seed", str(SEED), "--workers", "1"]
    assert main(["--out", str(rooms_root), *arguments]) == 0
    assert "0 rooms generated, 3 were there" in capsys.readouterr().out
    (tmp_path / "other").write_text("")
    assert main(["--out", str(tmp_path), *arguments]) == 2
    assert "not empty" in capsys.readouterr().err


def test_validation_rooms_begin_with_the_first_recipe() -> None:
    assert FIRST_VALIDATION_ROOM % len(RECIPES) == 0
