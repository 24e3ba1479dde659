"""Label files: written, read back, and every fault of a submission named."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
from plyfile import PlyData

from pointseg.data import SCANNET20, PointCloud
from pointseg.evaluation import check_submission, write_labels
from pointseg.evaluation.submission import SCANNET


def cloud_of(scene_id: str, num_points: int = 40, **fields) -> PointCloud:
    rng = np.random.default_rng(1)
    return PointCloud(
        scene_id=scene_id, xyz_m=rng.uniform(0, 3, (num_points, 3)).astype(np.float32), **fields
    )


@pytest.fixture
def predictions():
    return np.random.default_rng(2).integers(0, SCANNET20.num_classes, 40)


def test_three_formats_hold_the_same_labels_in_the_clouds_order(tmp_path, predictions):
    cloud = cloud_of("scene0001_00")
    paths = write_labels(tmp_path, cloud, predictions, SCANNET20)
    assert [path.name for path in paths] == [f"scene0001_00.{s}" for s in ("txt", "npy", "ply")]
    raw = np.array(SCANNET20.raw_ids)[predictions]
    assert paths[0].read_text() == "".join(f"{value}\n" for value in raw)
    stored = np.load(paths[1])
    assert stored.dtype == np.int16
    np.testing.assert_array_equal(stored, predictions)
    vertex = PlyData.read(paths[2])["vertex"]
    np.testing.assert_array_equal(vertex["label"], raw)
    np.testing.assert_array_equal(np.stack([vertex[a] for a in "xyz"], 1), cloud.xyz_m)
    rgb = np.stack([vertex[c] for c in ("red", "green", "blue")], 1)
    np.testing.assert_array_equal(rgb, SCANNET20.palette[predictions])
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in paths)


def test_unlabelled_points_are_zero_minus_one_and_black(tmp_path):
    paths = write_labels(tmp_path, cloud_of("a", 3), np.array([0, -1, 77]), SCANNET20)
    assert paths[0].read_text() == "1\n0\n0\n"
    assert np.load(paths[1]).tolist() == [0, -1, -1]
    vertex = PlyData.read(paths[2])["vertex"]
    assert vertex["label"].tolist() == [1, 0, 0]
    assert vertex["red"].tolist() == [174, 0, 0]


def test_coordinates_far_from_zero_keep_their_millimetres(tmp_path):
    cloud = cloud_of("far", 3, origin_m=(500_000.0, 5_000_000.0, 0.0))
    (path,) = write_labels(tmp_path, cloud, np.zeros(3, int), SCANNET20, ["ply"])
    vertex = PlyData.read(path)["vertex"]
    # float64 resolves 1e-9 m at 5,000 km; float32 only 0.5 m
    np.testing.assert_allclose(vertex["y"], cloud.xyz_m[:, 1].astype(float) + 5e6, atol=1e-6)


def test_nothing_is_overwritten_unasked(tmp_path, predictions):
    cloud = cloud_of("scene0001_00")
    write_labels(tmp_path, cloud, predictions, SCANNET20, ["npy"])
    with pytest.raises(FileExistsError, match=r"scene0001_00\.npy.*--overwrite"):
        write_labels(tmp_path, cloud, predictions, SCANNET20)
    assert not (tmp_path / "scene0001_00.txt").exists()  # refused before anything was written
    write_labels(tmp_path, cloud, predictions * 0, SCANNET20, overwrite=True)
    assert np.load(tmp_path / "scene0001_00.npy").sum() == 0


def test_a_failed_write_leaves_nothing(tmp_path, predictions, monkeypatch):
    def fail(path, *_):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("pointseg.evaluation.label_files.write_ply", fail)
    with pytest.raises(OSError, match="disk full"):
        write_labels(tmp_path, cloud_of("a"), predictions, SCANNET20, ["ply"])
    assert list(tmp_path.iterdir()) == []


def test_bad_arguments_are_named(tmp_path, predictions):
    with pytest.raises(ValueError, match="has 40 points"):
        write_labels(tmp_path, cloud_of("a"), predictions[:-1], SCANNET20)
    with pytest.raises(ValueError, match="csv"):
        write_labels(tmp_path, cloud_of("a"), predictions, SCANNET20, ["csv"])


# --- checking ----------------------------------------------------------------------------------

SCENES = {"scene0001_00": 3, "scene0002_00": 2}


def write(folder, **files):
    for name, content in files.items():
        (folder / f"{name}.txt").write_bytes(content)


def check(path, scenes=SCENES):
    return check_submission(path, scenes, SCANNET, SCANNET20, "val")


def test_a_right_submission_passes_as_folder_and_as_zip(tmp_path):
    write(tmp_path, scene0001_00=b"1\n2\n39\n", scene0002_00=b"14\r\n36")
    (tmp_path / "scene0001_00.npy").write_bytes(b"")
    result = check(tmp_path)
    assert result.ok and (result.num_scenes, result.num_points) == (2, 5)
    assert result.notes == (
        "scene0001_00.npy: other forms of these labels: not for the zip",
        "scene0002_00.txt: lines end in CR LF, as on Windows",
    )
    with zipfile.ZipFile(tmp_path / "out.zip", "w") as archive:
        for path in sorted(tmp_path.glob("*.txt")):
            archive.write(path, path.name)
    assert check(tmp_path / "out.zip").ok


def test_every_problem_is_listed(tmp_path):
    write(
        tmp_path,
        scene0001_00=b"1\n0\n\n13\nx\n13\n",
        scene0009_00=b"1\n",
        SCENE0002_00=b"1\n1\n",
    )
    (tmp_path / "notes.md").write_text("hello")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "scene0002_00.txt").write_text("1\n1\n")
    problems = check(tmp_path).problems
    assert len(problems) == 8
    expected = [
        "scene0001_00.txt: 6 labels, but the scene has 3 points",
        "scene0001_00.txt: 2 lines are not one integer, the first is line 3: ''",
        "scene0001_00.txt: ids that are no class of the benchmark: 0 (1x), 13 (2x), "
        "the first is label 2",
        "scene0009_00.txt: unexpected: no such scene in the split (files are named like "
        "scene0001_00.txt)",
        "SCENE0002_00.txt: unexpected: the name must be exactly scene0002_00.txt",
        "notes.md: unexpected: files are named like scene0001_00.txt",
        "inner/scene0002_00.txt: lies in the wrong folder; it must be scene0002_00.txt",
        "scene0002_00.txt: missing",
    ]
    assert sorted(problems) == sorted(expected)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"1\n2\n", "2 labels, but the scene has 3 points"),
        (b"", "0 labels"),
        (b"1\n2\n3\n\n", "4 labels"),
        (b"1 1\n2\n3\n", "not one integer"),
        (b"1.0\n2\n3\n", "not one integer"),
        (b"-1\n2\n3\n", "-1 (1x)"),
        (b"99999999999999999999999\n2\n3\n", "not one integer"),
        (b"\x80\n2\n3\n", r"not one integer, the first is line 1: '\x80'"),
        (b"1\f2\n3\n", r"not one integer, the first is line 1: '1\x0c2'"),
        (b"\xff\xfe1\n2\n3\n", "starts with the byte order mark of UTF-16"),
        (b"\xef\xbb\xbf1\n2\n3\n", "starts with the byte order mark of UTF-8"),
        (b"1\n2\n3\n" + 300 * b"\n", "306 bytes are far too many"),
    ],
)
def test_faults_of_one_file(tmp_path, content, problem):
    write(tmp_path, scene0001_00=content)
    result = check(tmp_path, {"scene0001_00": 3})
    assert not result.ok
    assert any(problem in found for found in result.problems), result.problems


def test_faults_of_a_zip(tmp_path):
    path = tmp_path / "submission.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("scene0001_00.txt", "1\n1\n1\n")
        archive.writestr("pred/scene0002_00.txt", "1\n1\n")
        archive.writestr("scene0002_00.npy", "")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("scene0001_00.txt", "1\n1\n1\n")
    problems = check(path).problems
    assert "scene0001_00.txt: comes 2 times" in problems
    assert (
        "pred/scene0002_00.txt: lies in the wrong folder; it must be scene0002_00.txt" in problems
    )
    assert any(problem.startswith("scene0002_00.npy: a label file of") for problem in problems)
    assert "scene0002_00.txt: missing" in problems


def test_a_scene_whose_mesh_is_missing_cannot_be_counted(tmp_path):
    write(tmp_path, scene0001_00=b"1\n")
    result = check(tmp_path, {"scene0001_00": None})
    assert "the scene itself is missing" in result.problems[0]


def test_bad_paths(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not there"):
        check(tmp_path / "nowhere")
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(ValueError, match="neither a folder nor a whole zip"):
        check(tmp_path / "text.zip")
    with pytest.raises(ValueError, match="nothing to check"):
        check(tmp_path, {})
