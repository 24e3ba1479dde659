"""Rooms in S3DIS's format: its layout, its classes often enough, the same bytes every time."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("open3d", reason="open3d is not installed: no ray casting")

from pointseg.cli.synthesize_rooms import main
from pointseg.data.s3dis import S3DIS13, SPEC, VALIDATION_AREA
from pointseg.data.synthetic import FORMATS, RoomSet, ScanSettings, synthesize_rooms
from pointseg.data.synthetic.control import score_control, train_control
from pointseg.data.synthetic.dataset import FIRST_VALIDATION_ROOM, MANIFEST
from pointseg.data.synthetic.rooms import furnish
from pointseg.data.synthetic.s3dis_recipes import RECIPES
from pointseg.data.synthetic.s3dis_rooms import room_folder
from pointseg.data.types import PointCloud

S3DIS = FORMATS["s3dis"]
SEED = 3
COARSE = ScanSettings(num_views=16, width=84, height=66, cell_m=0.05)
KINDS = [kind for kind, _ in RECIPES]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two training rooms and one validation room, as the command makes them."""
    root = tmp_path_factory.mktemp("s3dis") / "rooms"
    arguments = ("--train", "2", "--val", "1", "--seed", str(SEED), "--workers", "1")
    assert main(["--format", "s3dis", "--out", str(root), *arguments]) == 0
    return root


@pytest.fixture(scope="module")
def clouds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[PointCloud]]:
    """Twelve rooms of either split, coarse."""
    root = tmp_path_factory.mktemp("s3dis") / "coarse"
    synthesize_rooms(root, RoomSet(train=12, val=12, settings=COARSE), form=S3DIS)
    reader = SPEC.open(root)
    return {split: [reader.read_scene(i) for i in reader.listed(split)] for split in SPEC.splits}


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_the_layout_is_that_of_the_aligned_release(root: Path) -> None:
    files = contents(root)
    assert MANIFEST in files
    rooms = {"Area_1/office_1", "Area_2/conferenceRoom_1", "Area_5/office_1"}
    assert {str(Path(*Path(name).parts[:2])) for name in files if name != MANIFEST} == rooms
    line = rb"-?\d+\.\d{3} -?\d+\.\d{3} -?\d+\.\d{3} \d{1,3} \d{1,3} \d{1,3}\n"
    for room in rooms:
        whole = files[f"{room}/{room.partition('/')[2]}.txt"].splitlines(keepends=True)
        objects = {n: t for n, t in files.items() if n.startswith(f"{room}/Annotations/")}
        assert sorted(whole) == sorted(b"".join(objects.values()).splitlines(keepends=True))
        assert all(re.fullmatch(line, row) for row in whole)
        names = [Path(name).stem.split("_") for name in objects]
        for kind in {kind for kind, _ in names}:
            assert kind in S3DIS13.names
            numbers = sorted(int(number) for other, number in names if other == kind)
            assert numbers == list(range(1, len(numbers) + 1))


def test_the_reader_reads_every_room(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    reader = SPEC.open(root)
    assert SPEC.is_raw(root)
    assert reader.listed("train") == ("Area_1_office_1", "Area_2_conferenceRoom_1")
    assert reader.listed("val") == ("Area_5_office_1",)
    for scene_id in reader.listed("all"):
        cloud = reader.read_scene(scene_id)
        assert cloud.labels is not None and cloud.instances is not None
        assert cloud.num_points > 30_000
        assert cloud.instances.min() == 1
        floor = cloud.xyz_m[cloud.labels == S3DIS13.names.index("floor"), 2]
        ceiling = cloud.xyz_m[cloud.labels == S3DIS13.names.index("ceiling"), 2]
        assert abs(float(np.median(floor))) < 0.02
        assert 2.3 < float(np.median(ceiling)) < 2.7
        assert cloud.xyz_m[:, :2].min() > -2.0  # a corner at the origin, doors open outwards
    assert not caplog.records  # nothing repaired, nothing missing


def test_bytes_do_not_depend_on_the_other_rooms_and_other_processes_can_make_them(
    root: Path, tmp_path: Path
) -> None:
    rooms = RoomSet(train=1, val=1, seed=SEED, settings=S3DIS.settings)
    assert synthesize_rooms(tmp_path, rooms, form=S3DIS) == 2
    assert pickle.loads(pickle.dumps(S3DIS.generate)) is S3DIS.generate
    expected, found = contents(root), contents(tmp_path)
    assert found.keys() < expected.keys()
    assert all(expected[name] == found[name] for name in found)


def test_a_second_run_adds_what_is_missing_and_other_folders_are_refused(
    root: Path, tmp_path: Path
) -> None:
    rooms = RoomSet(train=1, val=0, settings=COARSE)
    synthesize_rooms(tmp_path, rooms, form=S3DIS)
    before = contents(tmp_path)
    (tmp_path / "Area_2").mkdir()
    (tmp_path / "Area_2" / ".conferenceRoom_1.partial").mkdir()
    rooms = RoomSet(train=2, val=0, settings=COARSE)
    assert synthesize_rooms(tmp_path, rooms, form=S3DIS) == 1
    assert before.items() < contents(tmp_path).items()
    assert [p.name for p in (tmp_path / "Area_2").iterdir()] == ["conferenceRoom_1"]
    with pytest.raises(ValueError, match="another generator version, seed, format or resolution"):
        synthesize_rooms(root, RoomSet(train=2, val=1, seed=SEED))


def test_rooms_are_numbered_by_type_within_their_area() -> None:
    val = range(FIRST_VALIDATION_ROOM, FIRST_VALIDATION_ROOM + 60)
    folders = [room_folder(i) for i in (*range(60), *val)]
    assert len(set(folders)) == 120
    assert {f.parts[0] for f in folders[:60]} == {f"Area_{k}" for k in (1, 2, 3, 4, 6)}
    assert {f.parts[0] for f in folders[60:]} == {VALIDATION_AREA}
    for area in {f.parts[0] for f in folders}:
        numbers: dict[str, list[int]] = {kind: [] for kind in KINDS}
        for kind, number in (f.name.split("_") for f in folders if f.parts[0] == area):
            numbers[kind].append(int(number))
        assert all(n == list(range(1, len(n) + 1)) and n for n in numbers.values()), numbers


def test_every_class_occurs_often(clouds: dict[str, list[PointCloud]]) -> None:
    for split in ("train", "val"):
        points = np.zeros(S3DIS13.num_classes, int)
        rooms = np.zeros(S3DIS13.num_classes, int)
        for cloud in clouds[split]:
            assert cloud.labels is not None
            counts = np.bincount(cloud.labels, minlength=S3DIS13.num_classes)
            points += counts
            rooms += counts > 100
        shares = points / points.sum()
        found = dict(zip(S3DIS13.names, zip(rooms, shares.round(4), strict=True), strict=True))
        assert rooms.min() >= 2 and shares.min() > 0.004, found
        assert shares[S3DIS13.names.index("clutter")] < 0.15, found


def test_layouts_keep_inside_the_room_and_apart() -> None:
    for index in range(4 * len(RECIPES)):
        space = furnish(7, index, RECIPES).space
        for i, one in enumerate(space.taken):
            assert one.x[0] >= -0.01 and one.x[1] <= space.width + 0.01
            assert one.y[0] >= -0.01 and one.y[1] <= space.depth + 0.01
            for other in space.taken[:i]:
                assert not one.overlaps(other), (index, one, other)


def test_a_single_point_does_not_tell_its_class(clouds: dict[str, list[PointCloud]]) -> None:
    """Colour and height alone: there are no normals, and the control does without."""
    forest = train_control(clouds["train"], points_per_cloud=1500, num_trees=8, max_depth=12)
    report = score_control(forest, clouds["val"], S3DIS13.names)
    assert report.mean_iou < 0.3
    assert report.iou[S3DIS13.names.index("floor")] > 0.8
