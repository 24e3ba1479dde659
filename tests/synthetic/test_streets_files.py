"""The files of streets: SemanticKITTI's layout, byte for byte the same every time."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from pointseg.cli.synthesize_streets import main
from pointseg.data.synthetic.streets import (
    LidarSettings,
    StreetSet,
    sequence_folder,
    synthesize_streets,
)
from pointseg.data.synthetic.streets.dataset import MANIFEST
from tests.synthetic.conftest import STREETS

NUM_SCANS = STREETS.scans
BUILDING, FENCE = 50, 51


def contents(root: Path) -> dict[str, bytes]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def points_of(folder: Path, index: int) -> np.ndarray:
    return np.fromfile(folder / "velodyne" / f"{index:06d}.bin", "<f4").reshape(-1, 4)


def labels_of(folder: Path, index: int) -> np.ndarray:
    return np.fromfile(folder / "labels" / f"{index:06d}.label", "<u4")


def matrices(lines: list[str]) -> np.ndarray:
    rows = np.array([[float(word) for word in line.split()] for line in lines]).reshape(-1, 3, 4)
    return np.concatenate([rows, np.tile([[[0.0, 0.0, 0.0, 1.0]]], (len(rows), 1, 1))], 1)


def lidar_poses(folder: Path) -> np.ndarray:
    """inv(Tr) @ P @ Tr, from the texts alone."""
    calib = dict(line.split(": ") for line in (folder / "calib.txt").read_text().splitlines())
    assert list(calib) == ["P0", "P1", "P2", "P3", "Tr"]
    tr = matrices([calib["Tr"]])[0]
    return np.linalg.inv(tr) @ matrices((folder / "poses.txt").read_text().splitlines()) @ tr


def test_every_file_of_the_layout_is_there(streets_root: Path) -> None:
    expected = {MANIFEST}
    for number in (0, 1, 8, 11):
        at = f"dataset/sequences/{number:02d}"
        expected |= {f"{at}/{name}.txt" for name in ("calib", "poses", "times")}
        expected |= {f"{at}/velodyne/{i:06d}.bin" for i in range(NUM_SCANS)}
        if number != 11:
            expected |= {f"{at}/labels/{i:06d}.label" for i in range(NUM_SCANS)}
    assert set(contents(streets_root)) == expected


def test_sizes_and_values_are_those_of_the_format(streets_root: Path) -> None:
    for number in (0, 1, 8):
        folder = sequence_folder(streets_root, number)
        for index in range(NUM_SCANS):
            size = (folder / "velodyne" / f"{index:06d}.bin").stat().st_size
            assert size % 16 == 0
            assert (folder / "labels" / f"{index:06d}.label").stat().st_size == size // 4
            points = points_of(folder, index)
            assert 0.7 < len(points) / (64 * 256) <= 1.0
            assert np.isfinite(points).all()
            assert points[:, 3].min() >= 0.0 and points[:, 3].max() <= np.float32(0.99)
            distance = np.linalg.norm(points[:, :3], axis=1)
            assert distance.max() < 81.0


def test_points_are_in_the_order_of_the_pulses(streets_root: Path) -> None:
    points = points_of(sequence_folder(streets_root, 0), 0)
    level = np.hypot(points[:, 0], points[:, 1])
    elevation = np.degrees(np.arctan2(points[:, 2], level))
    assert elevation[0] > 1.5 and elevation[-1] < -24.5
    assert np.diff(elevation).max() < 0.01
    turn = np.diff(np.arctan2(points[:, 1], points[:, 0]) % (2 * np.pi))
    assert (turn < 0).sum() == 63  # once a beam: back to straight ahead


def test_texts_hold_a_line_a_scan(streets_root: Path) -> None:
    for number in (0, 11):
        folder = sequence_folder(streets_root, number)
        times = [float(line) for line in (folder / "times.txt").read_text().splitlines()]
        np.testing.assert_allclose(times, np.arange(NUM_SCANS) * 0.1)
        poses = (folder / "poses.txt").read_text().splitlines()
        assert [len(line.split()) for line in poses] == [12] * NUM_SCANS
        np.testing.assert_allclose(matrices(poses)[0], np.eye(4), atol=1e-9)


def test_the_sensor_drives_ahead_a_metre_a_scan(streets_root: Path) -> None:
    for number in (0, 1, 8, 11):
        poses = lidar_poses(sequence_folder(streets_root, number))
        steps = np.linalg.inv(poses[:-1]) @ poses[1:]
        assert ((steps[:, 0, 3] > 0.6) & (steps[:, 0, 3] < 1.4)).all()
        assert np.abs(steps[:, 1:3, 3]).max() < 0.1
        np.testing.assert_allclose(np.linalg.det(poses[:, :3, :3]), 1.0, atol=1e-9)


def test_poses_lay_sweeps_upon_each_other(streets_root: Path) -> None:
    """Walls of the last sweep lie in the planes that the first two show, moved by the poses."""
    residuals: dict[bool, list[np.ndarray]] = {True: [], False: []}
    for number in (0, 1, 8):
        folder = sequence_folder(streets_root, number)
        poses = lidar_poses(folder)
        for moved in residuals:
            walls = []
            for index in range(NUM_SCANS):
                points = points_of(folder, index)[:, :3].astype(np.float64)
                raw = labels_of(folder, index) & 0xFFFF
                points = points[np.isin(raw, (BUILDING, FENCE))]
                if moved:
                    points = points @ poses[index, :3, :3].T + poses[index, :3, 3]
                walls.append(points)
            residuals[moved].append(_off_plane(np.concatenate(walls[:-1]), walls[-1]))
    aligned, raw = (np.concatenate(residuals[moved]) for moved in (True, False))
    assert len(aligned) > 500
    assert np.median(aligned) < 0.02
    assert np.quantile(aligned, 0.8) < 0.06
    assert np.quantile(raw, 0.8) > 3 * np.quantile(aligned, 0.8)


def _off_plane(surface: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Distance of points to the plane through the surface points around them."""
    distance, index = NearestNeighbors(n_neighbors=8).fit(surface).kneighbors(points)
    near = distance[:, -1] < 1.0
    around = surface[index[near]]
    middle = around.mean(1)
    normal = np.linalg.svd(around - middle[:, None])[2][:, -1]
    return np.abs(((points[near] - middle) * normal).sum(1))


def test_bytes_do_not_depend_on_workers_or_on_other_sequences(
    streets_root: Path, tmp_path: Path
) -> None:
    fewer = dataclasses.replace(STREETS, train=1, test=0)
    assert synthesize_streets(tmp_path, fewer, workers=2) == 2 * NUM_SCANS
    expected, found = contents(streets_root), contents(tmp_path)
    assert len(found) == 2 * (3 + 2 * NUM_SCANS) + 1
    assert all(expected[name] == content for name, content in found.items())


def test_an_interrupted_run_goes_on_where_it_stopped(streets_root: Path, tmp_path: Path) -> None:
    root = tmp_path / "streets"
    shutil.copytree(streets_root, root)
    folder = sequence_folder(root, 1)
    partial = folder.rename(folder.with_name(".01.partial"))
    (partial / "labels" / "000001.label").unlink()
    (partial / "poses.txt").unlink()
    (partial / "velodyne" / ".000002.bin.123.part").write_bytes(b"cut off")
    done: list[tuple[int, int]] = []
    assert synthesize_streets(root, STREETS, on_scan=lambda *at: done.append(at)) == 1
    assert done == [(12, 12)]
    assert contents(root) == contents(streets_root)
    assert synthesize_streets(root, STREETS) == 0


def test_a_run_that_only_lacked_the_texts_writes_them(streets_root: Path, tmp_path: Path) -> None:
    root = tmp_path / "streets"
    shutil.copytree(streets_root, root)
    folder = sequence_folder(root, 8)
    partial = folder.rename(folder.with_name(".08.partial"))
    (partial / "calib.txt").unlink()
    assert synthesize_streets(root, STREETS) == 0
    assert contents(root) == contents(streets_root)


def test_other_folders_are_refused(streets_root: Path, tmp_path: Path) -> None:
    for change in ({"seed": 99}, {"scans": 2}, {"lidar": LidarSettings(128)}):
        with pytest.raises(ValueError, match="another generator version, seed"):
            synthesize_streets(streets_root, dataclasses.replace(STREETS, **change))
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="not empty"):
        synthesize_streets(tmp_path, STREETS)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(ValueError, match="workers"):
        synthesize_streets(tmp_path / "new", STREETS, workers=0)


@pytest.mark.parametrize(
    ("name", "value"),
    [("train", -1), ("train", 11), ("val", 2), ("test", 12), ("scans", 0), ("seed", -1)],
)
def test_bad_counts_are_named(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=name):
        StreetSet(**{name: value})


@pytest.mark.parametrize(("name", "value"), [("azimuth_steps", 3), ("max_range_m", 0.0)])
def test_bad_settings_of_the_sensor_are_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        LidarSettings(**{name: value})


def test_command_line(
    streets_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ["--train", "2", "--val", "1", "--test", "1", "--scans", str(NUM_SCANS)]
    arguments = [*sizes, "--azimuth-steps", "256", "--seed", str(STREETS.seed), "--workers", "1"]
    assert main(["--out", str(streets_root), *arguments]) == 0
    assert "0 scans generated, 12 were there" in capsys.readouterr().out
    assert main(["--out", str(tmp_path), "--train", "11"]) == 2
    assert "train: expected 0..10 sequences, got 11" in capsys.readouterr().err
