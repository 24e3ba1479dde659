from __future__ import annotations

import pickle
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pointseg.data.clouds import read_cloud
from pointseg.data.nuscenes import SPEC, NuScenesReader
from pointseg.data.nuscenes_classes import NUSCENES16
from pointseg.data.nuscenes_scans import earlier_scans
from pointseg.data.nuscenes_splits import SPLITS
from tests.data.nuscenes_files import CATEGORIES, SENSOR, Dataset, keyframe_token, matrix, token

FRAME = keyframe_token("scene-0061", 1)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset(tmp_path).write()


def reader(dataset: Dataset, **options: object) -> NuScenesReader:
    opened = SPEC.open(dataset.root, options)
    assert isinstance(opened, NuScenesReader)
    return opened


# -- classes --------------------------------------------------------------------------------------


def test_classes_and_ids_are_those_of_the_challenge() -> None:
    train = NUSCENES16.to_train(np.arange(32))
    # The columns of the challenge's table: index in the release -> index in submissions, 0 ignored.
    submitted = [0, 0, 7, 7, 7, 0, 7, 0, 0, 1, 0, 0, 8, 0, 2, 3, 3, 4, 5, 0, 0, 6, 9, 10, 11, 12]
    submitted += [13, 14, 15, 0, 16, 0]
    np.testing.assert_array_equal(NUSCENES16.to_raw(train), submitted)
    assert NUSCENES16.names[:4] == ("barrier", "bicycle", "bus", "car")
    assert NUSCENES16.palette[0].tolist() == [112, 128, 144]
    with pytest.raises(ValueError, match=r"'nuscenes16': 32 \(1x\)"):
        NUSCENES16.to_train([32])


# -- splits ---------------------------------------------------------------------------------------


def test_splits_are_as_large_as_published_and_disjoint() -> None:
    sizes = {name: len(set(split.scenes)) for name, split in SPLITS.items()}
    assert sizes == {"train": 700, "val": 150, "test": 150, "mini_train": 8, "mini_val": 2}
    for a, b in combinations(("train", "val", "test"), 2):
        assert not set(SPLITS[a].scenes) & set(SPLITS[b].scenes)
    assert {"scene-0001", "scene-0061", "scene-1110"} <= set(SPLITS["train"].scenes)
    assert {"scene-0003", "scene-0553", "scene-1073"} <= set(SPLITS["val"].scenes)
    assert {"scene-0077", "scene-1043"} <= set(SPLITS["test"].scenes)
    mini = set(SPLITS["mini_train"].scenes + SPLITS["mini_val"].scenes)
    assert len(mini) == 10
    assert mini <= set(SPLITS["train"].scenes + SPLITS["val"].scenes)


def test_official_split_is_listed_in_its_order_and_by_time(tmp_path: Path) -> None:
    scenes = SPLITS["mini_val"].scenes
    opened = reader(Dataset(tmp_path, scenes=scenes[::-1], keyframes=3).write())
    assert opened.listed("mini_val") == tuple(
        keyframe_token(s, i) for s in scenes for i in range(3)
    )


def test_scene_is_a_split_and_all_is_what_is_on_disk(dataset: Dataset) -> None:
    opened = reader(dataset)
    expected = keyframe_token("scene-0061", 0), FRAME
    assert opened.listed("scene-0061") == expected
    assert len(opened.listed("all")) == 4
    dataset.points_path("scene-0061", 1).unlink()
    assert opened.listed("scene-0061") == expected  # listed, but
    assert not opened.has(FRAME)
    assert FRAME not in opened.listed("all")
    assert not opened.has("0" * 32)


def test_split_takes_the_version_it_belongs_to(tmp_path: Path) -> None:
    """A root with several versions, whose common scenes have the same tokens."""
    for version, scenes in (
        ("v1.0-test", SPLITS["test"].scenes),
        ("v1.0-mini", SPLITS["mini_val"].scenes),
        ("v1.0-trainval", SPLITS["val"].scenes),
    ):
        labelled = version != "v1.0-test"
        Dataset(tmp_path, version, scenes, 1, num_points=2, labelled=labelled).write()
    opened = NuScenesReader(tmp_path)
    assert opened.listed("val") == tuple(keyframe_token(s, 0) for s in SPLITS["val"].scenes)
    assert len(opened.listed("test")) == 150
    assert opened.read_scene(opened.listed("test")[0]).labels is None
    assert set(opened.listed("mini_val")) <= set(opened.listed("val"))
    # Labels are those of the version that the split is from, in another process, too.
    small = NuScenesReader(tmp_path)
    (token, _) = small.listed("mini_val")
    for one in (small, pickle.loads(pickle.dumps(small))):
        assert (
            tmp_path / f"lidarseg/v1.0-mini/{token}_lidarseg.bin"
            in one.source_files(token).values()
        )
    assert len(opened.listed("all")) == len(set(opened.listed("all"))) == 300
    # A fresh reader finds a token in whichever version has it.
    assert NuScenesReader(tmp_path).has(keyframe_token(SPLITS["test"].scenes[0], 0))
    assert not reader(Dataset(tmp_path), version="v1.0-mini").has(opened.listed("test")[0])


def test_errors_of_splits_say_what_is_there(dataset: Dataset) -> None:
    opened = reader(dataset)
    with pytest.raises(ValueError, match="one of train, val, .*, all or the name of a scene"):
        opened.listed("valid")
    with pytest.raises(ValueError, match="no scene 'scene-0002' in v1.0-mini"):
        opened.listed("scene-0002")
    with pytest.raises(FileNotFoundError, match=r"'val' needs v1.0-trainval/.*found: v1.0-mini"):
        opened.listed("val")
    with pytest.raises(ValueError, match=r"7 of 8 scenes of split 'mini_train' .*scene-0553"):
        opened.listed("mini_train")
    with pytest.raises(ValueError, match=r"149 of 150 scenes of split 'val'"):
        reader(dataset, version="v1.0-mini").listed("val")
    with pytest.raises(FileNotFoundError, match=r"no v1.0-\*/scene.json; expected"):
        NuScenesReader(dataset.root / "lidarseg").listed("all")
    for version in ("../other", "..", "v1.0-*", "", "v[1].0", 3):
        with pytest.raises(ValueError, match="version must be the name of a folder"):
            reader(dataset, version=version)


# -- scans ----------------------------------------------------------------------------------------


def test_reads_all_of_a_scan(dataset: Dataset) -> None:
    opened = reader(dataset)
    assert opened.has(FRAME)
    sent = pickle.dumps(opened)
    assert FRAME.encode() not in sent  # the tables stay here
    cloud = pickle.loads(sent).read_scene(FRAME)
    points = dataset.points("scene-0061", 1)
    assert cloud.scene_id == FRAME
    np.testing.assert_array_equal(cloud.xyz_m, points[:, :3])
    np.testing.assert_allclose(cloud.extras["intensity"], points[:, 3] / 255, rtol=1e-7)
    np.testing.assert_array_equal(cloud.extras["ring"], points[:, 4])
    np.testing.assert_array_equal(cloud.labels, NUSCENES16.to_train(dataset.raw_labels(1)))
    assert opened.num_points(FRAME) == dataset.num_points
    files = opened.source_files(FRAME)
    assert {*files.values()} == {
        dataset.points_path("scene-0061", 1),
        dataset.labels_path("scene-0061", 1),
        dataset.table_path("category"),
    }


def test_the_same_scan_as_an_own_cloud_has_the_same_features(dataset: Dataset) -> None:
    own = read_cloud(dataset.points_path("scene-0061", 1))
    cloud = reader(dataset).read_scene(FRAME)
    np.testing.assert_array_equal(own.xyz_m, cloud.xyz_m)
    np.testing.assert_allclose(own.extras["intensity"], cloud.extras["intensity"], rtol=1e-6)


def test_category_ids_are_followed_by_name(dataset: Dataset) -> None:
    """The ids 25 to 30 are listed in another order elsewhere: the table decides."""
    order = list(CATEGORIES)
    order[25:31] = [order[i] for i in (26, 27, 25, 28, 30, 29)]
    for row in dataset.tables["category"]:
        row["index"] = order.index(row["name"])
    dataset.write_table("category")
    labels = reader(dataset).read_scene(FRAME).labels
    assert labels is not None
    names = [order[raw] for raw in dataset.raw_labels(1)]
    train = NUSCENES16.to_train([CATEGORIES.index(name) for name in names])
    np.testing.assert_array_equal(labels, train)


def test_category_table_without_ids_means_those_of_the_release(dataset: Dataset) -> None:
    for row in dataset.tables["category"]:
        del row["index"]
    dataset.tables["category"] = dataset.tables["category"][::-1][:23]
    dataset.write_table("category")
    labels = reader(dataset).read_scene(FRAME).labels
    np.testing.assert_array_equal(labels, NUSCENES16.to_train(dataset.raw_labels(1)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"0 bytes are no whole number of points of 20 bytes"),
        (np.zeros((7, 4), np.float32).tobytes(), "112 bytes are no whole number"),
        (np.full((40, 5), np.nan, np.float32).tobytes(), r"40 of 40 points are not finite"),
        (np.full((40, 5), 0.5, np.float32).tobytes(), "fifth column is no ring number"),
        (np.full((40, 5), 256, np.float32).tobytes(), "fifth column is no ring number"),
        (np.full((40, 5), 1e5, np.float32).tobytes(), "40 of 40 points are 100 km and more away"),
        (np.zeros((39, 5), np.float32).tobytes(), r"40 labels of one byte, but .* has 39 points"),
    ],
    ids=["empty", "cut off", "not finite", "other columns", "ring 256", "far", "other scan"],
)
def test_broken_scan(dataset: Dataset, content: bytes, message: str) -> None:
    dataset.points_path("scene-0061", 1).write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        reader(dataset).read_scene(FRAME)
    assert "scene-0061-1.pcd.bin" in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bytes(39), "39 labels of one byte, but .* has 40 points"),
        (b"", "0 labels of one byte"),
        (bytes(39) + b"\x20", r"1 ids are not in the label map 'nuscenes16': 32 \(1x\)"),
    ],
    ids=["cut off", "empty", "unknown id"],
)
def test_broken_labels(dataset: Dataset, content: bytes, message: str) -> None:
    dataset.labels_path("scene-0061", 1).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{FRAME}_lidarseg\.bin: {message}"):
        reader(dataset).read_scene(FRAME)


def test_missing_files_are_named(dataset: Dataset) -> None:
    opened = reader(dataset)
    dataset.labels_path("scene-0061", 1).unlink()
    assert opened.has(FRAME)
    with pytest.raises(FileNotFoundError, match=r"_lidarseg\.bin: no such file; unpack"):
        opened.read_scene(FRAME)
    dataset.points_path("scene-0061", 1).unlink()
    with pytest.raises(FileNotFoundError, match=r"\.pcd\.bin: no such file; unpack"):
        opened.read_scene(FRAME)
    with pytest.raises(ValueError, match="'beef' is no token of a keyframe of LIDAR_TOP"):
        opened.read_scene("beef")


@pytest.mark.parametrize("table", [None, []])
def test_labels_that_were_not_unpacked_are_asked_for(dataset: Dataset, table: list | None) -> None:
    if table is None:
        dataset.table_path("lidarseg").unlink()
    else:
        dataset.tables["lidarseg"] = table
        dataset.write_table("lidarseg")
    with pytest.raises(FileNotFoundError, match=r"lidarseg\.json: no labels .*unpack nuScenes-lid"):
        reader(dataset).read_scene(FRAME)


# -- sweeps ---------------------------------------------------------------------------------------


def test_sweeps_are_moved_into_the_frame_of_the_keyframe(dataset: Dataset) -> None:
    # Returns from the car itself: three of the sweep's points, two of them close to the bound.
    path = dataset.sweep_path("scene-0061", 0)
    sweep = dataset.sweep("scene-0061", 0)
    kept = (np.abs(sweep[:, :2]) >= 1).any(axis=1)
    assert kept.all()
    for index, (x, y) in enumerate(((0.99, -0.99), (-0.99, 0.99), (0, 0))):
        sweep[index, :2] = x, y
        kept[index] = False
    path.write_bytes(sweep.tobytes())
    alone = reader(dataset).read_scene(FRAME)
    cloud = reader(dataset, num_sweeps=2).read_scene(FRAME)
    assert cloud.context is not None
    own = cloud.own()
    for name in ("xyz_m", "labels"):
        np.testing.assert_array_equal(getattr(own, name), getattr(alone, name))
    np.testing.assert_array_equal(own.extras["ring"], alone.extras["ring"])
    # The sweep sees the same points from another place, except for what was the car there.
    earlier = cloud.select(cloud.context)
    assert kept.sum() == 37 == earlier.num_points
    np.testing.assert_allclose(earlier.xyz_m, alone.xyz_m[kept], atol=1e-4)
    np.testing.assert_array_equal(earlier.extras["intensity"], alone.extras["intensity"][kept])
    assert earlier.labels is not None
    assert (earlier.labels == -1).all()
    np.testing.assert_array_equal(cloud.extras["sweep"], cloud.context)


def test_sweeps_go_back_over_keyframes_to_the_begin_of_the_scene(dataset: Dataset) -> None:
    opened = reader(dataset, num_sweeps=11)
    ages = np.unique(opened.read_scene(FRAME).extras["sweep"])
    assert ages.tolist() == [0, 1, 2]  # the sweep between them and the first keyframe
    assert {*opened.source_files(FRAME).values()} >= {
        dataset.points_path("scene-0061", 0),
        dataset.sweep_path("scene-0061", 0),
    }
    first = opened.read_scene(keyframe_token("scene-0061", 0))
    assert first.context is not None
    assert not first.context.any()


def test_errors_of_sweeps(dataset: Dataset) -> None:
    with pytest.raises(ValueError, match="num_sweeps must be an integer >= 1, got 0"):
        reader(dataset, num_sweeps=0)
    dataset.sweep_path("scene-0061", 0).unlink()
    with pytest.raises(FileNotFoundError, match=r"sweeps/LIDAR_TOP/.*: no such file"):
        reader(dataset, num_sweeps=2).read_scene(FRAME)


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("sample_data", {"prev": "beef"}, r"prev 'beef', before the keyframe .* no scan of LIDAR"),
        ("sample_data", {"ego_pose_token": "beef"}, "ego_pose_token 'beef' is in no record"),
        ("ego_pose", {"rotation": [1, 0, 0]}, "rotation must be 4 numbers"),
        ("ego_pose", {"rotation": [1, 1, 0, 0]}, "is no unit quaternion"),
        ("ego_pose", {"rotation": [1.002, 0, 0, 0]}, "is no unit quaternion"),
        ("ego_pose", {"translation": [10**400, 0, 0]}, "rotation and translation: int too large"),
        ("ego_pose", {"translation": [0, -1e300, 0]}, "is no unit quaternion and a transl"),
        (
            "ego_pose",
            {"rotation": [1, 0, 0, "none"]},
            "rotation and translation: could not convert",
        ),
        ("ego_pose", {"translation": [0, 0, float("nan")]}, "is no unit quaternion and a transl"),
        ("calibrated_sensor", {"translation": "here"}, "'translation' must be list, got 'here'"),
    ],
)
def test_broken_poses(dataset: Dataset, table: str, change: dict, message: str) -> None:
    for row in dataset.tables[table]:
        if table != "sample_data" or row["token"] == FRAME:
            row.update(change)
    dataset.write_table(table)
    with pytest.raises(ValueError, match=rf"{table}\.json: .*{message}"):
        reader(dataset, num_sweeps=2).read_scene(FRAME)


def test_a_quaternion_is_brought_to_unit_length(dataset: Dataset) -> None:
    """Digits that were rounded off must not stretch the world."""
    moves = []
    for scale in (1, 1.0005):
        for row in dataset.tables["ego_pose"]:
            row["rotation"] = [scale * v for v in row["rotation"]]
        dataset.write_table("ego_pose")
        ((_, move),) = earlier_scans(dataset.root / dataset.version, FRAME, 1)
        moves.append(move)
    np.testing.assert_allclose(moves[1], moves[0], atol=1e-9)


def test_sweeps_too_far_apart_for_a_drive_are_named(dataset: Dataset) -> None:
    at = dataset.tables["ego_pose"][1]["translation"]
    at[0] += 2e5
    dataset.write_table("ego_pose")
    message = r"later\.pcd\.bin: by ego_pose\.json .* the scan is .* m from the one"
    with pytest.raises(ValueError, match=message):
        reader(dataset, num_sweeps=2).read_scene(FRAME)


def test_any_rotation_of_the_car_is_followed(dataset: Dataset) -> None:
    """Not only about the vertical: against scipy's rotations."""
    rng = np.random.default_rng(0)
    poses = Rotation.random(4, random_state=0)
    for row, turn in zip(dataset.tables["ego_pose"][:4], poses, strict=True):
        row["rotation"] = np.roll(turn.as_quat(), 1).tolist()  # scipy has the real part last
        row["translation"] = rng.normal(scale=1000, size=3).tolist()
    dataset.write_table("ego_pose")
    ((_, move),) = earlier_scans(dataset.root / dataset.version, FRAME, 1)
    matrices = []
    for row in dataset.tables["ego_pose"][1:3]:  # of the sweep, and of the keyframe after it
        car_to_world = np.eye(4)
        car_to_world[:3, :3] = Rotation.from_quat(np.roll(row["rotation"], -1)).as_matrix()
        car_to_world[:3, 3] = row["translation"]
        matrices.append(car_to_world @ matrix(SENSOR))
    np.testing.assert_allclose(move, np.linalg.inv(matrices[1]) @ matrices[0], atol=1e-8)


# -- tables ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "table", ["scene", "sample", "sensor", "calibrated_sensor", "sample_data", "category"]
)
def test_missing_table(dataset: Dataset, table: str) -> None:
    opened = reader(dataset)
    dataset.table_path(table).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{table}\.json"):
        opened.listed("all")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_line_ends_and_byte_order_marks(dataset: Dataset, encoding: str, newline: str) -> None:
    expected = reader(dataset).listed("all")
    for table in dataset.tables:
        dataset.write_table(table, encoding, newline)
    assert reader(dataset).listed("all") == expected


@pytest.mark.parametrize("field", ["token", "sample_token", "filename", "is_key_frame"])
def test_missing_field_is_named_with_its_record(dataset: Dataset, field: str) -> None:
    del dataset.tables["sample_data"][3][field]
    dataset.write_table("sample_data")
    with pytest.raises(ValueError, match=rf"sample_data\.json: record 3: no field '{field}'"):
        reader(dataset).listed("all")


def test_table_that_is_nested_too_deep(dataset: Dataset) -> None:
    path = dataset.table_path("sample")
    path.write_text('[{"token": ' + "[" * 100_000)
    with pytest.raises(ValueError, match=r"sample\.json: record 0: not valid json \(nested"):
        reader(dataset).listed("all")


def test_wrong_type_is_named_with_its_record(dataset: Dataset) -> None:
    dataset.tables["sample_data"][2]["timestamp"] = "now"
    dataset.write_table("sample_data")
    with pytest.raises(ValueError, match=r"record 2: 'timestamp' must be int, got 'now'"):
        reader(dataset).listed("all")


@pytest.mark.parametrize(
    ("table", "field"),
    [
        ("sample", "scene_token"),
        ("sample_data", "sample_token"),
        ("sample_data", "calibrated_sensor_token"),
        ("calibrated_sensor", "sensor_token"),
        ("lidarseg", "sample_data_token"),
    ],
)
def test_dangling_token(dataset: Dataset, table: str, field: str) -> None:
    row = dataset.tables[table][1 if table == "sample_data" else 0]
    row[field] = token("nowhere")
    dataset.write_table(table)
    with pytest.raises(ValueError, match=rf"{table}\.json: .*{field} '{token('nowhere')}'"):
        reader(dataset).listed("all")


def test_token_given_twice(dataset: Dataset) -> None:
    dataset.tables["sample_data"] *= 2
    dataset.write_table("sample_data")
    with pytest.raises(ValueError, match=r"sample_data\.json: some records have the same token"):
        reader(dataset).listed("all")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"index": 4}, "index 4 is given twice"),
        ({"name": "vehicle.tram"}, "'vehicle.tram' is none of the 32 categories"),
        ({"index": None}, "record 9: 'index' must be int, got None"),
        ({"index": -1}, r"index -1 is not in 0\.\.255"),
        ({"index": 256}, r"index 256 is not in 0\.\.255"),
        ({"index": 10**12}, r"index 1000000000000 is not in"),
    ],
)
def test_broken_category_table(dataset: Dataset, change: dict, message: str) -> None:
    dataset.tables["category"][9].update(change)
    dataset.write_table("category")
    with pytest.raises(ValueError, match=rf"category\.json: .*{message}"):
        reader(dataset).listed("all")


def test_expected_numbers_of_keyframes() -> None:
    assert SPEC.expected is not None
    assert set(SPEC.expected) == set(SPEC.splits) == set(SPLITS)
