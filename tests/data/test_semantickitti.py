from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import yaml

from pointseg.data import PointCloud, open_dataset, read_cloud, voxelize_cloud
from pointseg.data.kitti_poses import lidar_poses, read_calibration, read_poses
from pointseg.data.semantickitti import SPEC, SemanticKITTIReader, SemanticKITTISettings
from pointseg.data.semantickitti_labels import SEMANTICKITTI
from tests.data.drives import FAR, RAW_IDS, TR, lidar_pose, rows, world, write_drive
from tests.helpers.properties import given, st

IDENTITY = "1 0 0 0 0 1 0 0 0 0 1 0\n"


def read(root: Path, scene_id: str = "00_000000", **settings: int) -> PointCloud:
    return SemanticKITTIReader(root, SemanticKITTISettings(**settings)).read_scene(scene_id)


# -- which scans ----------------------------------------------------------------------------------


def test_splits_are_the_official_sequences() -> None:
    expected = SPEC.expected
    assert (expected["train"], expected["val"], expected["test"]) == (19130, 4071, 20351)
    assert sum(expected[f"{s:02d}"] for s in range(22)) == 19130 + 4071 + 20351
    assert SPEC.splits == ("train", "val", "test", *(f"{s:02d}" for s in range(22)))


def test_scans_on_disk_are_listed_in_order(tmp_path: Path) -> None:
    for sequence in ("10", "08", "02"):
        write_drive(tmp_path, sequence, num_scans=2)
    write_drive(tmp_path, "21", num_scans=1, labels=False)
    for name in ("._000000.bin", "notes.bin", "0000000.bin"):  # as copying tools leave them
        (tmp_path / "sequences" / "02" / "velodyne" / name).write_bytes(b"x")
    reader = SemanticKITTIReader(tmp_path)
    assert reader.listed("train") == ("02_000000", "02_000001", "10_000000", "10_000001")
    assert reader.listed("val") == reader.listed("08") == ("08_000000", "08_000001")
    assert reader.listed("test") == ("21_000000",)
    assert reader.listed("03") == ()
    assert set(reader.listed("all")) == {*reader.listed("train"), "21_000000", *reader.listed("08")}
    with pytest.raises(ValueError, match="split must be one of train, val, test, 00.*got 'tset'"):
        reader.listed("tset")


def test_scans_that_the_release_has_and_the_disk_has_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_drive(tmp_path, "08")
    assert len(open_dataset("semantickitti", tmp_path, "val")) == 4
    assert "4067 of 4071 scenes of split 'val' are not there and are left out" in caplog.text
    with pytest.raises(FileNotFoundError, match="4067 of 4071 scenes"):
        open_dataset("semantickitti", tmp_path, "val", require_all=True)
    assert len(open_dataset("streets", tmp_path, "val", require_all=True)) == 4


def test_both_layouts_are_roots(tmp_path: Path) -> None:
    write_drive(tmp_path / "dataset")
    for root in (tmp_path, tmp_path / "dataset"):
        assert SPEC.is_raw(root)
        assert SPEC.open(root).listed("all")[-1] == "00_000003"
    assert not SPEC.is_raw(tmp_path / "dataset" / "sequences")
    assert not SPEC.open(tmp_path / "elsewhere").has("00_000000")
    with pytest.raises(FileNotFoundError, match="no sequences; expected\n.*velodyne/000000.bin"):
        SPEC.open(tmp_path / "elsewhere").listed("all")
    write_drive(tmp_path)
    with pytest.raises(ValueError, match="both there; move one"):
        SPEC.open(tmp_path).listed("all")


@pytest.mark.parametrize("scene_id", ["00_0", "22_000000", "00/000000", "../00_000000", "", "0"])
def test_what_is_no_scan_is_refused(tmp_path: Path, scene_id: str) -> None:
    write_drive(tmp_path)
    reader = SemanticKITTIReader(tmp_path)
    assert not reader.has(scene_id)
    assert reader.has("00_000003")
    assert not reader.has("00_000004")
    with pytest.raises(ValueError, match="such as 08_000123, got"):
        reader.read_scene(scene_id)


def test_options_are_checked_by_name() -> None:
    for value in (0, 1.5, True, "3"):
        with pytest.raises(ValueError, match="num_sweeps must be an integer >= 1"):
            SPEC.open(Path(), {"num_sweeps": value})
    with pytest.raises(ValueError, match="no option 'sweeps'"):
        SPEC.open(Path(), {"sweeps": 3})


# -- one scan -------------------------------------------------------------------------------------


def test_a_scan_is_what_its_files_say(tmp_path: Path) -> None:
    write_drive(tmp_path)
    reader = pickle.loads(pickle.dumps(SemanticKITTIReader(tmp_path)))
    cloud = reader.read_scene("00_000000")
    xyz, remission, values = world()
    np.testing.assert_array_equal(cloud.xyz_m, xyz.astype(np.float32))
    np.testing.assert_array_equal(cloud.extras["intensity"], remission.astype(np.float32))
    np.testing.assert_array_equal(cloud.instances, values >> 16)
    assert cloud.labels[:8].tolist() == [-1, 0, 0, 8, 8, 16, 18, -1]
    assert cloud.context is None
    assert list(reader.source_files("00_000000")) == ["000000.bin", "000000.label"]
    # The same file as a cloud of the user's own.
    own = read_cloud(tmp_path / "sequences" / "00" / "velodyne" / "000000.bin")
    np.testing.assert_array_equal(own.xyz_m, cloud.xyz_m)
    np.testing.assert_array_equal(own.extras["intensity"], cloud.extras["intensity"])


def test_only_test_sequences_may_lack_labels(tmp_path: Path) -> None:
    write_drive(tmp_path, "11", labels=False)
    cloud = read(tmp_path, "11_000001", num_sweeps=2)
    assert (cloud.labels, cloud.instances) == (None, None)
    assert "000001.label" not in SemanticKITTIReader(tmp_path).source_files("11_000001")
    folder = write_drive(tmp_path, "12")  # those of the user's own are read
    assert read(tmp_path, "12_000000").labels is not None
    (folder / "labels" / "000000.label").unlink()
    assert read(tmp_path, "12_000001", num_sweeps=2).labels[39:].tolist() == [-1] * 40
    (write_drive(tmp_path, "08") / "labels" / "000002.label").unlink()
    with pytest.raises(FileNotFoundError, match=r"08/labels/000002\.label: no such file; labels"):
        read(tmp_path, "08_000002")


def test_files_are_paired_by_name(tmp_path: Path) -> None:
    """Not by order: a label file too many in front shifts nothing."""
    folder = write_drive(tmp_path)
    (folder / "velodyne" / "000000.bin").unlink()
    assert SemanticKITTIReader(tmp_path).listed("train")[0] == "00_000001"
    assert read(tmp_path, "00_000001").labels[:4].tolist() == [0, 0, 8, 8]
    with pytest.raises(FileNotFoundError, match=r"000000\.bin: no such file"):
        read(tmp_path, "00_000000")


def test_no_cut_of_points_or_labels_goes_unnoticed(tmp_path: Path) -> None:
    folder = write_drive(tmp_path)
    paths = (folder / "velodyne" / "000000.bin", folder / "labels" / "000000.label")
    for path, size in zip(paths, (16, 4), strict=True):
        path.write_bytes(path.read_bytes()[: 4 * size])  # four points
    for path in paths:
        content = path.read_bytes()
        for kept in range(len(content)):
            path.write_bytes(content[:kept])
            with pytest.raises(ValueError, match=r"000000\.bin"):
                read(tmp_path)
        path.write_bytes(content)
    with (folder / "labels" / "000000.label").open("ab") as file:
        file.write(b"\0\0\0\0")
    message = r"000000\.label: 20 bytes, but the 4 points of .*000000\.bin need 16"
    with pytest.raises(ValueError, match=message):
        read(tmp_path)


def test_points_that_are_not_finite_are_counted(tmp_path: Path) -> None:
    path = write_drive(tmp_path) / "velodyne" / "000000.bin"
    points = np.fromfile(path, "<f4").reshape(-1, 4)
    points[3, 0], points[5, 1:3], points[7, 3] = np.nan, np.inf, np.nan
    points.tofile(path)
    with pytest.raises(ValueError, match=r"000000\.bin: 3 of 40 points are not finite"):
        read(tmp_path)


def test_points_that_are_all_zero_or_far_off_are_counted(tmp_path: Path) -> None:
    path = write_drive(tmp_path) / "velodyne" / "000000.bin"
    points = np.fromfile(path, "<f4").reshape(-1, 4)
    sound = points.copy()
    points[-3:] = 0
    points[0, :2] = 0  # straight above the sensor is a place
    points.tofile(path)
    with pytest.raises(ValueError, match=r"000000\.bin: x, y and z of 3 of 40 points are all 0"):
        read(tmp_path)
    sound[4:6, 1] = -1e5, 1e30
    sound.tofile(path)
    with pytest.raises(ValueError, match=r"2 of 40 points are 100 km and more away \(first: row 4"):
        read(tmp_path)


KNOWN = st.sampled_from(sorted(SEMANTICKITTI.reads))
INSTANCE = st.integers(0, 2**16 - 1)


@given(
    labelled=st.lists(st.tuples(KNOWN, INSTANCE), min_size=40, max_size=40),
    others=st.lists(st.tuples(st.integers(0, 2**16 - 1), INSTANCE), max_size=3),
)
def test_unknown_ids_are_named(
    tmp_path_factory: pytest.TempPathFactory,
    labelled: list[tuple[int, int]],
    others: list[tuple[int, int]],
) -> None:
    root = tmp_path_factory.mktemp("ids")
    path = write_drive(root, num_scans=1) / "labels" / "000000.label"
    raw, instances = np.array((others + labelled)[:40], dtype=np.uint32).T
    (raw + (instances << 16)).astype("<u4").tofile(path)
    unknown = sorted({*raw.tolist()} - {*SEMANTICKITTI.reads})
    if unknown:
        message = rf"000000\.label: {len(unknown)} ids are not in .*: {unknown[0]} \("
        with pytest.raises(ValueError, match=message):
            read(root)
    else:
        cloud = read(root)
        assert cloud.labels.tolist() == [SEMANTICKITTI.reads[r] for r in raw]
        assert cloud.instances.tolist() == instances.tolist()


# -- sweeps ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 2])
def test_a_world_that_stands_still_coincides(tmp_path: Path, step: int) -> None:
    write_drive(tmp_path, num_scans=6)
    single = read(tmp_path, "00_000005")
    cloud = read(tmp_path, "00_000005", num_sweeps=3, sweep_step=step)
    ages = (0, step, 2 * step)
    counts = [40 - (5 - age) for age in ages]
    np.testing.assert_array_equal(cloud.extras["sweep"], np.repeat(ages, counts))
    np.testing.assert_array_equal(cloud.context, cloud.extras["sweep"] > 0)
    xyz, remission, values = world()
    here = (xyz - lidar_pose(5)[:3, 3]) @ lidar_pose(5)[:3, :3]
    for age in ages:
        seen = cloud.select(cloud.extras["sweep"] == age)
        first = 5 - age
        np.testing.assert_allclose(seen.xyz_m, here[first:], atol=1e-4)
        np.testing.assert_allclose(seen.extras["intensity"], remission[first:], atol=1e-6)
        np.testing.assert_array_equal(seen.instances, values[first:] >> 16)
        np.testing.assert_array_equal(seen.labels, SEMANTICKITTI.to_train(values[first:] & 0xFFFF))
    own = cloud.own()
    np.testing.assert_array_equal(own.xyz_m, single.xyz_m)
    np.testing.assert_array_equal(own.labels, single.labels)


def test_a_sequence_begins_with_fewer_sweeps(tmp_path: Path) -> None:
    write_drive(tmp_path)
    first = read(tmp_path, "00_000000", num_sweeps=3)
    assert first.extras["sweep"].tolist() == [0] * 40
    assert not first.context.any()
    for number, ages in ((1, {0, 1}), (3, {0, 1, 2})):
        cloud = read(tmp_path, f"00_{number:06d}", num_sweeps=3)
        assert set(cloud.extras["sweep"].tolist()) == ages
    reader = SemanticKITTIReader(tmp_path, SemanticKITTISettings(2))
    names = ["000003.bin", "000003.label", "000002.bin", "000002.label", "calib.txt", "poses.txt"]
    assert list(reader.source_files("00_000003")) == names


@pytest.mark.parametrize("name", ["calib.txt", "poses.txt", "velodyne/000002.bin"])
def test_only_sweeps_need_poses_and_earlier_scans(tmp_path: Path, name: str) -> None:
    (write_drive(tmp_path) / name).unlink()
    assert read(tmp_path, "00_000003").num_points == 37
    with pytest.raises(FileNotFoundError, match=rf"{name}: no such file"):
        read(tmp_path, "00_000003", num_sweeps=2)


# -- calibration and poses ------------------------------------------------------------------------


def test_no_cut_of_calibration_or_poses_goes_unnoticed(tmp_path: Path) -> None:
    for name, content in (("calib.txt", f"Tr: {IDENTITY}"), ("poses.txt", IDENTITY)):
        path = tmp_path / name
        read_file = read_calibration if name == "calib.txt" else read_poses
        for kept in range(len(content)):
            path.write_text(content[:kept])
            with pytest.raises(ValueError, match=name):
                read_file(path)
        path.write_text(content + "\n \n")  # empty lines at the end shift nothing
        np.testing.assert_array_equal(read_file(path).squeeze(), np.eye(4))


@pytest.mark.parametrize(("line_end", "mark"), [(b"\r\n", b""), (b"\n", b"\xef\xbb\xbf")])
def test_line_ends_and_byte_order_marks_do_no_harm(
    tmp_path: Path, line_end: bytes, mark: bytes
) -> None:
    folder = write_drive(tmp_path)
    expected = lidar_poses(folder)
    np.testing.assert_allclose(expected, [FAR @ lidar_pose(i) for i in range(4)], atol=1e-6)
    for name in ("calib.txt", "poses.txt"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(mark + content.replace(b"\n", line_end))
    np.testing.assert_array_equal(lidar_poses(folder), expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("\n", "the file is empty"),
        (IDENTITY + "1 0 0 0 0 1 0 0 0 0 1\n", r":2: expected 12 finite numbers, got 11"),
        (IDENTITY + IDENTITY[:-1] + " 0\n", r":2: expected 12 finite numbers, got 13"),
        (IDENTITY + "\n" + IDENTITY, r":2: expected 12 finite numbers, got 0"),
        (IDENTITY.replace("1 0 0 0 0 1", "nan 0 0 0 0 1"), r":1: expected 12 finite"),
        (IDENTITY.replace("1 0 0 0 0 1", "inf 0 0 0 0 1"), r":1: expected 12 finite"),
        (IDENTITY.replace("1", "1_0"), r":1: could not convert .*'1_0'"),
        (IDENTITY.replace("1", "one"), r":1: could not convert .*'one'"),
        (IDENTITY + IDENTITY.replace("1", "0"), r":2: the pose is no rotation .*1 of 2 lines"),
        (IDENTITY.replace("1", "-1"), "no rotation"),  # mirrored
        (IDENTITY.replace("1", "2"), "no rotation"),
        ("\xff", "not a text file"),
    ],
)
def test_broken_poses_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "poses.txt").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=rf"poses\.txt.*{message}.*data_odometry_labels\.zip"):
        read_poses(tmp_path / "poses.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"expected one line Tr, got 0 \(lines: none\)"),
        (f"P0: {IDENTITY}P1: {IDENTITY}", r"expected one line Tr, got 0 \(lines: P0, P1\)"),
        (f"Tr: {IDENTITY}Tr: {IDENTITY}", "expected one line Tr, got 2"),
        (f"Tr {IDENTITY}", "expected one line Tr, got 0"),
        ("Tr: 1 0 0\n", "Tr: expected 12 finite numbers, got 3"),
        ("Tr: " + IDENTITY.replace("1", "nan"), "Tr: expected 12 finite numbers"),
        ("Tr: " + IDENTITY.replace("1", "0"), "Tr is no rotation"),
    ],
)
def test_broken_calibrations_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "calib.txt").write_text(text)
    with pytest.raises(ValueError, match=rf"calib\.txt.*{message}.*data_odometry_calib\.zip"):
        read_calibration(tmp_path / "calib.txt")


def test_poses_of_another_sequence_are_too_few(tmp_path: Path) -> None:
    folder = write_drive(tmp_path)
    (folder / "poses.txt").write_text(rows([np.eye(4)] * 3))
    with pytest.raises(ValueError, match=r"poses\.txt: 3 poses, none for scan 000003\.bin"):
        read(tmp_path, "00_000003", num_sweeps=2)
    np.testing.assert_array_equal(read_calibration(folder / "calib.txt"), TR)


@pytest.mark.parametrize("shift", ["2e5", "-1e9", "1e300"])
def test_poses_too_far_apart_for_a_drive_are_named(tmp_path: Path, shift: str) -> None:
    folder = write_drive(tmp_path)
    lines = (folder / "poses.txt").read_text().splitlines(keepends=True)
    lines[2] = IDENTITY.replace("1 0\n", f"1 {shift}\n")
    (folder / "poses.txt").write_text("".join(lines))
    with pytest.raises(ValueError, match=r"poses\.txt:3: the (scan is .* m from|pose is no)"):
        read(tmp_path, "00_000003", num_sweeps=2)


# -- voxels ---------------------------------------------------------------------------------------


def test_channels_of_lidar_scans(tmp_path: Path) -> None:
    write_drive(tmp_path)
    single, both = (read(tmp_path, "00_000001", num_sweeps=n) for n in (1, 2))
    features = ("xyz", "intensity", "range", "sweep")
    scene = voxelize_cloud(both, 0.01, features)  # a point a voxel, or its two sweeps
    per_point = scene.feats[scene.point_to_voxel].numpy()
    distance = np.linalg.norm(both.own().xyz_m, axis=1)
    np.testing.assert_allclose(per_point[:, 4], distance, atol=0.02)
    assert set(np.round(per_point[:, 5], 3)) <= {0.0, 0.5}
    assert (voxelize_cloud(single, 0.01, ("sweep",)).feats == 0).all()
    shifted = single.replace(origin_m=(1000.0, 0.0, 0.0))
    with pytest.raises(ValueError, match="feature 'range' needs coordinates in the frame of a"):
        voxelize_cloud(shifted, 0.01, ("range",))


# -- the real thing -------------------------------------------------------------------------------


def test_a_real_scan(real_data: Path) -> None:
    root = real_data / "semantickitti"
    reader = SPEC.open(root)
    assert reader.listed("train") == ("00_000000",)
    cloud = reader.read_scene("00_000000")
    assert cloud.num_points == 124_668 == reader.num_points(cloud.scene_id)
    for size, voxels in ((0.05, 91_767), (0.1, 60_152)):
        assert len(voxelize_cloud(cloud, size, ("xyz", "intensity")).coords) == voxels
    # The benchmark's own table, applied without ours.
    official = yaml.safe_load((root / "semantic-kitti.yaml").read_text())
    values = np.fromfile(root / "dataset/sequences/00/labels/000000.label", "<u4")
    train = np.vectorize(official["learning_map"].get)(values & 0xFFFF)
    np.testing.assert_array_equal(cloud.labels, train - 1)
    np.testing.assert_array_equal(cloud.instances, values >> 16)
    assert set(RAW_IDS) <= set(official["labels"])


def test_the_table_is_the_benchmarks(real_data: Path) -> None:
    official = yaml.safe_load((real_data / "semantickitti" / "semantic-kitti.yaml").read_text())
    assert {k: v + 1 for k, v in SEMANTICKITTI.reads.items()} == official["learning_map"]
    inverse = official["learning_map_inv"]
    assert SEMANTICKITTI.raw_ids == tuple(inverse[i] for i in range(1, 20))
    assert SEMANTICKITTI.unlabelled == inverse[0]
    assert SEMANTICKITTI.names == tuple(official["labels"][i] for i in SEMANTICKITTI.raw_ids)
    colors = [official["color_map"][i][::-1] for i in SEMANTICKITTI.raw_ids]  # BGR in the file
    assert SEMANTICKITTI.palette.tolist() == colors


def test_a_real_car_drives_forward(real_data: Path) -> None:
    poses = lidar_poses(real_data / "semantickitti" / "dataset" / "sequences" / "00")
    assert poses.shape == (20, 4, 4)
    steps = np.linalg.inv(poses[:-1]) @ poses[1:]
    assert (steps[:, 0, 3] > 0.8).all()  # metres in 0.1 s, along x of the lidar
    assert (np.abs(steps[:, 1:3, 3]) < 0.1).all()
