"""The user's own clouds: files in, labels and pages out, and everything doubtful said."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from plyfile import PlyData, PlyElement

from pointseg.cli import predict
from pointseg.data import SCANNET20, PointCloud, ScanNetReader
from pointseg.data.semantickitti import SemanticKITTIReader
from pointseg.experiment import load_trained

from ..data.drives import write_drive
from ..helpers.scenes import VAL_IDS
from .conftest import write_checkpoint


@pytest.fixture(scope="module")
def scene(small_root) -> PointCloud:
    return ScanNetReader(small_root).read_scene(VAL_IDS[0])


def table(cloud: PointCloud) -> np.ndarray:
    return np.hstack([cloud.xyz_m, cloud.color]).astype(np.float32)


def run(checkpoint: Path, source: Path, out: Path, *options: str) -> int:
    return predict.main([str(source), "--checkpoint", str(checkpoint), "--out", str(out), *options])


@pytest.fixture(scope="module")
def labels(tmp_path_factory, checkpoint, scene) -> np.ndarray:
    """What the network says about the scene as an npy file."""
    folder = tmp_path_factory.mktemp("npy")
    np.save(folder / "room.npy", table(scene))
    assert run(checkpoint, folder / "room.npy", folder / "out") == 0
    result = np.load(folder / "out" / "room.npy")
    assert len(np.unique(result)) > 2  # else equal labels below would say little
    return result


def test_labels_colours_and_a_page_come_out(tmp_path, checkpoint, scene, labels, capsys):
    np.save(tmp_path / "room.npy", table(scene))
    out = tmp_path / "out"
    assert run(checkpoint, tmp_path / "room.npy", out) == 0
    assert {p.name for p in out.iterdir()} == {f"room.{s}" for s in ("npy", "txt", "ply", "html")}
    np.testing.assert_array_equal(np.load(out / "room.npy"), labels)
    raw = np.array((out / "room.txt").read_text().split(), dtype=np.int64)
    np.testing.assert_array_equal(SCANNET20.to_train(raw), labels)
    vertex = PlyData.read(out / "room.ply")["vertex"]
    np.testing.assert_array_equal(np.stack([vertex[a] for a in "xyz"], 1), scene.xyz_m)
    np.testing.assert_array_equal(vertex["red"], SCANNET20.palette[labels, 0])
    assert f"{scene.num_points:,} points" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", ["txt", "ply"])
def test_every_kind_of_file_gives_the_same_labels(tmp_path, checkpoint, scene, labels, suffix):
    path = tmp_path / f"room.{suffix}"
    if suffix == "txt":
        rows = [
            f"{x!r} {y!r} {z!r} {r} {g} {b}"  # repr: every bit of the coordinates
            for (x, y, z), (r, g, b) in zip(scene.xyz_m.tolist(), scene.color.tolist(), strict=True)
        ]
        path.write_text("\n".join(rows) + "\n")
    else:
        fields = [(a, "f4") for a in "xyz"] + [(c, "u1") for c in ("red", "green", "blue")]
        vertex = np.array([tuple(row) for row in table(scene)], dtype=fields)
        PlyData([PlyElement.describe(vertex, "vertex")]).write(str(path))
    assert run(checkpoint, path, tmp_path / "out", "--no-page") == 0
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "room.npy"), labels)
    assert not (tmp_path / "out" / "room.html").exists()


def test_scale_and_up_bring_a_turned_file_back(tmp_path, checkpoint, scene, labels, capsys):
    turned = table(scene)
    # centimetres and y up: a cyclic exchange of axes
    turned[:, :3] = scene.xyz_m[:, [1, 2, 0]] * 100
    np.save(tmp_path / "room.npy", turned)
    assert run(checkpoint, tmp_path / "room.npy", tmp_path / "warned", "--no-page") == 0
    assert "--scale 0.01" in capsys.readouterr().err
    options = ("--scale", "0.01", "--up", "y", "--no-page")
    assert run(checkpoint, tmp_path / "room.npy", tmp_path / "out", *options) == 0
    assert "--scale" not in capsys.readouterr().err
    vertex = PlyData.read(tmp_path / "out" / "room.ply")["vertex"]
    written = np.stack([vertex[a] for a in "xyz"], 1)
    # 100 and 0.01 are rounded once each in float32; the room is 4 m long
    np.testing.assert_allclose(written, scene.xyz_m, atol=2e-6)
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "room.npy"), labels)


def test_tiles_bound_what_the_network_sees(tmp_path, checkpoint, scene, labels, monkeypatch):
    from pointseg.evaluation import tiling

    sizes = []
    original = tiling.predict_voxels

    def watched(model, voxels):
        sizes.append(voxels.num_voxels)
        return original(model, voxels)

    monkeypatch.setattr(tiling, "predict_voxels", watched)
    np.save(tmp_path / "room.npy", table(scene))
    options = ("--max-points", "600", "--margin", "2", "--no-page")
    assert run(checkpoint, tmp_path / "room.npy", tmp_path / "out", *options) == 0
    assert len(sizes) > 1 and max(sizes) <= 600
    tiled = np.load(tmp_path / "out" / "room.npy")
    assert tiled.shape == labels.shape and (tiled >= 0).all()


def test_too_small_a_bound_is_refused(tmp_path, checkpoint, scene, capsys):
    np.save(tmp_path / "room.npy", table(scene))
    assert run(checkpoint, tmp_path / "room.npy", tmp_path / "out", "--max-points", "20") == 2
    assert "--max-points" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_features_that_the_file_lacks_are_refused_by_name(tmp_path, checkpoint, scene, capsys):
    np.save(tmp_path / "bare.npy", scene.xyz_m)
    assert run(checkpoint, tmp_path / "bare.npy", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "trained with color, height" in error and "has no color" in error
    assert "height" not in error.split("has no")[1]


def test_normals_are_estimated_only_on_request(tmp_path, small_root, scene, capsys):
    pytest.importorskip("open3d", reason="open3d is not installed")
    checkpoint = write_checkpoint(tmp_path / "normals.pt", small_root, ["color", "normal"])
    np.save(tmp_path / "room.npy", table(scene))
    assert run(checkpoint, tmp_path / "room.npy", tmp_path / "out", "--no-page") == 2
    error = capsys.readouterr().err
    assert "has no normal" in error and "--estimate-normals" in error
    options = ("--estimate-normals", "--no-page")
    assert run(checkpoint, tmp_path / "room.npy", tmp_path / "out", *options) == 0


def test_estimated_normals_stand_on_surfaces_and_look_inward(scene):
    pytest.importorskip("open3d", reason="open3d is not installed")
    normal = predict.estimated_normals(scene)
    assert normal.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(normal, axis=1), 1, atol=1e-5)  # float32 rounding
    low = scene.xyz_m[:, 2] < 0.02
    far = low & (scene.xyz_m[:, 0] > 0.3) & (scene.xyz_m[:, 1] > 0.3)
    # the floor, away from its edges and from furniture's feet: noise of 4 mm at 10 cm spacing
    assert np.median(normal[far, 2]) > 0.95


def test_without_open3d_the_remedy_is_named(scene, monkeypatch):
    monkeypatch.setitem(sys.modules, "open3d", None)
    with pytest.raises(ImportError, match=r"pip install pointseg\[open3d\]"):
        predict.estimated_normals(scene)


def test_points_without_coordinates_are_dropped_on_request(tmp_path, checkpoint, scene, capsys):
    broken = table(scene)
    broken[[3, 50], 0] = np.nan
    np.save(tmp_path / "room.npy", broken)
    assert run(checkpoint, tmp_path / "room.npy", tmp_path / "out") == 2
    assert "2 of" in capsys.readouterr().err
    assert run(checkpoint, tmp_path / "room.npy", tmp_path / "out", "--drop-invalid") == 0
    rows = np.load(tmp_path / "out" / "room.rows.npy")
    np.testing.assert_array_equal(rows, np.delete(np.arange(len(broken)), [3, 50]))
    assert len(np.load(tmp_path / "out" / "room.npy")) == len(rows)


def test_a_folder_goes_on_after_a_bad_file(tmp_path, checkpoint, scene, labels, capsys):
    source = tmp_path / "clouds"
    source.mkdir()
    np.save(source / "a.npy", table(scene))
    np.save(source / "b.npy", scene.xyz_m)
    (source / "notes.md").write_text("not a cloud")
    assert run(checkpoint, source, tmp_path / "out", "--no-page") == 1
    captured = capsys.readouterr()
    assert "has no color" in captured.err and "labelled 1 of 2" in captured.out
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "a.npy"), labels)


def test_two_suffixes_are_both_left_out_of_the_names(tmp_path, small_root):
    checkpoint = write_checkpoint(tmp_path / "lidar.pt", small_root, ["intensity", "height"])
    rows = np.random.default_rng(0).uniform(0, 3, (50, 5)).astype(np.float32)
    rows.tofile(tmp_path / "sweep.pcd.bin")
    assert run(checkpoint, tmp_path / "sweep.pcd.bin", tmp_path / "out", "--no-page") == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"sweep.npy", "sweep.txt", "sweep.ply"}


def test_a_lidar_scan_is_labelled_as_in_its_data_set(tmp_path, small_root):
    features = ["xyz", "intensity", "range", "sweep"]
    checkpoint = write_checkpoint(tmp_path / "lidar.pt", small_root, features)
    scan = write_drive(tmp_path, num_scans=1) / "velodyne" / "000000.bin"
    assert run(checkpoint, scan, tmp_path / "out", "--no-page") == 0
    cloud = SemanticKITTIReader(tmp_path).read_scene("00_000000")
    expected = predict.label_cloud(load_trained(checkpoint), cloud, 1000, 8)
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "000000.npy"), expected)


def test_inputs_are_safe(tmp_path, checkpoint, scene, capsys):
    np.save(tmp_path / "a.npy", table(scene))
    assert run(checkpoint, tmp_path / "a.npy", tmp_path, "--overwrite") == 2
    assert "folder of the input" in capsys.readouterr().err
    (tmp_path / "a.txt").write_text("0 0 0\n")
    assert run(checkpoint, tmp_path, tmp_path / "out") == 2
    assert "a.npy and a.txt would write the same files" in capsys.readouterr().err
    assert run(checkpoint, tmp_path / "none.ply", tmp_path / "out") == 2
    assert "is not there" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert run(checkpoint, tmp_path / "empty", tmp_path / "out") == 2
    assert "no point cloud" in capsys.readouterr().err
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.html").write_text("mine")
    assert run(checkpoint, tmp_path / "a.npy", tmp_path / "out") == 2
    assert "--overwrite" in capsys.readouterr().err
