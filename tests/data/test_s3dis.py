"""S3DIS: both releases, known damage and any other, on small rooms written in its format."""

from __future__ import annotations

import pickle
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest

from pointseg.data import open_dataset, voxelize_cloud
from pointseg.data.s3dis import LAYOUT, ROOMS, S3DIS13, SPEC, S3DISReader, S3DISSettings
from pointseg.data.s3dis_text import read_angles, read_points
from tests.helpers.properties import given, st

ALIGNED = b"-0.870 -0.039 2.674 221 211 175\n-9.160 12.001 0.000 0 255 7\n"
PLAIN = (
    b"-0.870000 -0.039000 2.674000 221.000000 211.000000 175.000000\n"
    b"-9.160000 12.001000 0.000000 0.000000 255.000000 7.000000\n"
)
XYZ = [[-0.870, -0.039, 2.674], [-9.160, 12.001, 0.000]]
COLOR = [[221, 211, 175], [0, 255, 7]]


def write_room(root: Path, area: str = "Area_1", room: str = "office_1", **objects: bytes) -> Path:
    """A room of the given annotation files; without any, two files of two points each."""
    folder = root / area / room / "Annotations"
    folder.mkdir(parents=True)
    for name, text in (objects or {"wall_1": ALIGNED, "chair_2": ALIGNED}).items():
        (folder / f"{name}.txt").write_bytes(text)
    return folder


def points_file(folder: Path, text: bytes) -> Path:
    path = folder / "wall_1.txt"
    path.write_bytes(text)
    return path


# -- rooms ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [ALIGNED, PLAIN], ids=["aligned", "plain"])
def test_a_room_is_its_annotation_files_in_the_order_of_their_names(
    tmp_path: Path, text: bytes
) -> None:
    write_room(tmp_path, wall_1=text, chair_10=text, chair_2=text[: text.index(b"\n") + 1])
    cloud = S3DISReader(tmp_path).read_scene("Area_1_office_1")
    assert cloud.scene_id == "Area_1_office_1"
    chair, wall = S3DIS13.names.index("chair"), S3DIS13.names.index("wall")
    assert cloud.labels is not None and cloud.instances is not None
    assert cloud.labels.tolist() == [chair, chair, chair, wall, wall]
    assert cloud.instances.tolist() == [1, 1, 2, 3, 3]
    np.testing.assert_array_equal(cloud.xyz_m, np.array([*XYZ, XYZ[0], *XYZ], np.float32))
    np.testing.assert_array_equal(cloud.color, [*COLOR, COLOR[0], *COLOR])
    assert cloud.normal is None


def test_stairs_are_clutter_and_other_classes_are_refused(tmp_path: Path) -> None:
    write_room(tmp_path, stairs_1=ALIGNED)
    labels = S3DISReader(tmp_path).read_scene("Area_1_office_1").labels
    assert labels is not None and set(labels) == {S3DIS13.names.index("clutter")}
    write_room(tmp_path, room="office_2", wall_1=ALIGNED, lamp_1=ALIGNED)
    with pytest.raises(ValueError, match=r"lamp_1\.txt: unknown class 'lamp'.*ceiling, .*stairs"):
        S3DISReader(tmp_path).read_scene("Area_1_office_2")


def test_what_systems_leave_behind_does_not_matter(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_room(tmp_path)
    for name in (".DS_Store", "._wall_1.txt", "Icon", "Icon\r", ".hidden.txt"):
        (folder / name).write_bytes(b"\x00")
        (folder.parent / name).write_bytes(b"\x00")
    (folder.parent / "copy_Room_1.txt").write_bytes(2 * ALIGNED)  # misnamed in the aligned release
    (tmp_path / "Area_1" / ".office_9.partial" / "Annotations").mkdir(parents=True)
    (tmp_path / "Area_1" / "__MACOSX").mkdir()
    (tmp_path / "Area_7" / "office_1").mkdir(parents=True)
    reader = S3DISReader(tmp_path)
    assert reader.listed("all") == ("Area_1_office_1",)
    assert list(reader.source_files("Area_1_office_1")) == ["chair_2.txt", "wall_1.txt"]
    assert reader.read_scene("Area_1_office_1").num_points == 4
    assert not caplog.records


def test_missing_annotation_files_are_told_from_the_room_s_own_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_room(tmp_path)
    whole = folder.parent / "office_1.txt"
    whole.write_bytes((2 * ALIGNED).strip())
    S3DISReader(tmp_path).read_scene("Area_1_office_1")
    assert not caplog.records
    for text, told in (
        (3 * ALIGNED, "6 .* have 4: .* missing"),
        (ALIGNED, "2 .* have 4: .* twice"),
    ):
        caplog.clear()
        whole.write_bytes(b"\n" + text + b"\r\n \n")  # empty lines are no points
        S3DISReader(tmp_path).read_scene("Area_1_office_1")
        assert re.search(rf"office_1\.txt: {told}", caplog.text)


def test_copies_of_annotation_files_do_not_count_twice(tmp_path: Path) -> None:
    folder = write_room(tmp_path)
    (folder / "wall_2.txt").mkdir()  # a folder is no annotation file
    assert S3DISReader(tmp_path).read_scene("Area_1_office_1").num_points == 4
    for name in ("wall_1 (copy)", "wall_1 copy", "wall", "wall_", "Wall_1", "wall_1_1"):
        path = folder / f"{name}.txt"
        path.write_bytes(ALIGNED)
        with pytest.raises(ValueError, match="no name of an annotation; .*remove it") as error:
            S3DISReader(tmp_path).read_scene("Area_1_office_1")
        assert str(path) in str(error.value)
        path.unlink()


def test_rooms_that_the_release_has_and_the_disk_has_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_room(tmp_path, "Area_5")
    options = {"workers": 0}
    for split, total in (("val", 68), ("Area_5+Area_6", 116), ("all", 272)):
        caplog.clear()
        assert len(open_dataset("s3dis", tmp_path, split, **options)) == 1
        message = f"{total - 1} of {total} scenes of split '{split}' are not there"
        assert f"{message} and are left out" in caplog.text
        assert "first:" not in caplog.text
        for root in (tmp_path, tmp_path / "prepared"):
            with pytest.raises(FileNotFoundError, match=re.escape(message) + "; download them"):
                open_dataset("s3dis", root, split, require_all=True, **options)
    caplog.clear()
    generated = open_dataset("synthetic_s3dis", tmp_path, "val", require_all=True, **options)
    assert len(generated) == 1
    assert not caplog.records


def test_splits_are_areas(tmp_path: Path) -> None:
    for area in ROOMS:
        write_room(tmp_path, area, "WC_1")
    write_room(tmp_path, "Area_5", "hallway_12")
    reader = SPEC.open(tmp_path)
    assert reader.listed("val") == reader.listed("Area_5")
    assert reader.listed("val") == ("Area_5_WC_1", "Area_5_hallway_12")
    train = tuple(f"Area_{k}_WC_1" for k in (1, 2, 3, 4, 6))
    assert reader.listed("train") == train
    assert reader.listed("all") == tuple(sorted((*train, *reader.listed("val"))))
    with pytest.raises(ValueError, match=r"train, val, Area_1, .*, all, got 'test'"):
        reader.listed("test")
    assert SPEC.is_raw(tmp_path) and not SPEC.is_raw(tmp_path / "Area_1")
    assert SPEC.expected is not None
    assert (SPEC.expected["train"], SPEC.expected["val"], SPEC.expected["all"]) == (204, 68, 272)
    assert set(SPEC.splits) == {"train", "val", *ROOMS}


def test_a_missing_room_is_named_with_the_layout(tmp_path: Path) -> None:
    (tmp_path / "Area_1" / "office_1").mkdir(parents=True)
    reader = S3DISReader(tmp_path)
    assert reader.has("Area_1_office_1")
    for absent in ("Area_1_office_2", "Area_2_office_1", "Area_9_office_1", "office_1", ""):
        assert not reader.has(absent)
    with pytest.raises(FileNotFoundError, match=r"office_1/Annotations: no annotation") as raised:
        reader.read_scene("Area_1_office_1")
    assert LAYOUT in str(raised.value)
    with pytest.raises(ValueError, match=r"like Area_5_office_1, got '\.\./Area_1'"):
        reader.read_scene("../Area_1")


def test_a_reader_can_be_sent_to_another_process(tmp_path: Path) -> None:
    write_room(tmp_path)
    reader = pickle.loads(pickle.dumps(S3DISReader(tmp_path, S3DISSettings(align=True))))
    assert reader.settings == S3DISSettings(align=True)
    assert reader.listed("all") == ("Area_1_office_1",)
    with pytest.raises(ValueError, match=r"no option 'aligned'; did you mean 'align'"):
        SPEC.open(tmp_path, {"aligned": True})
    for value in ("false", 1, None):
        with pytest.raises(ValueError, match=f"align must be true or false, got {value!r}"):
            SPEC.open(tmp_path, {"align": value})


def test_unlabelled_points_have_an_id_of_their_own_in_label_files() -> None:
    assert S3DIS13.to_raw([-1, 0, 12]).tolist() == [255, 0, 12]
    assert S3DIS13.from_raw([255, 0, 12]).tolist() == [-1, 0, 12]


# -- alignment ------------------------------------------------------------------------------------

ANGLES = b"## Global alignment angle ##\r\n## Space Angle ##\r\noffice_1 90\r\noffice_10 183\r\n"


def test_rooms_are_turned_back_by_their_angle_about_the_middle_of_their_box(tmp_path: Path) -> None:
    """A wall along y, at an angle of 90 degrees, comes to lie along x."""
    write_room(tmp_path, wall_1=b"10 20 0 1 2 3\n10 26 1 1 2 3\n12 20 0 1 2 3\n")
    (tmp_path / "Area_1" / "Area_1_alignmentAngle.txt").write_bytes(ANGLES)
    reader = S3DISReader(tmp_path, S3DISSettings(align=True))
    expected = [[8, 24, 0], [14, 24, 1], [8, 22, 0]]  # about (11, 23)
    np.testing.assert_allclose(reader.read_scene("Area_1_office_1").xyz_m, expected, atol=1e-5)
    assert "Area_1_alignmentAngle.txt" in reader.source_files("Area_1_office_1")
    unturned = S3DISReader(tmp_path).read_scene("Area_1_office_1").xyz_m
    np.testing.assert_array_equal(unturned[:, 0], [10, 10, 12])
    write_room(tmp_path, room="hallway_1")
    with pytest.raises(ValueError, match=r"alignmentAngle\.txt: no angle for room hallway_1"):
        reader.read_scene("Area_1_hallway_1")


def test_the_aligned_release_is_not_turned_again(tmp_path: Path) -> None:
    write_room(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"Area_1_alignmentAngle\.txt.*without align"):
        S3DISReader(tmp_path, S3DISSettings(align=True)).read_scene("Area_1_office_1")


@pytest.mark.parametrize(
    "line", [b"office_1", b"office_1 x", b"office_1 nan", b"office_2 1 2", b"office_2 1_0"]
)
def test_broken_angles_are_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "Area_1_alignmentAngle.txt"
    path.write_bytes(ANGLES)
    assert read_angles(path) == {"office_1": 90.0, "office_10": 183.0}
    path.write_bytes(ANGLES + line + b"\n")
    with pytest.raises(ValueError, match=r"alignmentAngle\.txt: line 5: expected a room, once"):
        read_angles(path)


def test_no_cut_of_an_angle_gives_another_one(tmp_path: Path) -> None:
    """Half of ``183`` is an angle, too."""
    path = tmp_path / "Area_1_alignmentAngle.txt"
    for kept in range(len(ANGLES)):
        path.write_bytes(ANGLES[:kept])
        try:
            angles = read_angles(path)
        except ValueError as error:
            assert f"{path}: the last line has no end" in str(error)
        else:
            assert angles.items() <= {"office_1": 90.0, "office_10": 183.0}.items()
            assert kept == 0 or ANGLES[kept - 1] in b"\r\n"


# -- the text of points ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damaged", "meant"),
    [  # the known cases of both releases, each in a line of its own
        (b"1.000 2.000 3.000 186 185\x00187\n", [1, 2, 3, 186, 185, 187]),
        (b"1.000 -9.1\x160 3.000 1 2 3\n", [1, -9.16, 3, 1, 2, 3]),
        (b"1 2 3 56.00\x10000 4.0 5.0\n", [1, 2, 3, 56, 4, 5]),
        (b"1 2 3 2\x111.000000 4.0 5.0\n", [1, 2, 3, 211, 4, 5]),
        (b"1 2 3 103.0\x100000 4.0 5.0\n", [1, 2, 3, 103, 4, 5]),
    ],
)
def test_a_lost_bit_is_set_again(
    tmp_path: Path, damaged: bytes, meant: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    path = points_file(tmp_path, ALIGNED + damaged + ALIGNED)
    xyz, color = read_points(path)
    np.testing.assert_array_equal(xyz, [*XYZ, meant[:3], *XYZ])
    np.testing.assert_array_equal(color, [*COLOR, meant[3:], *COLOR])
    assert [r.getMessage() for r in caplog.records] == [
        f"{path}: 1 bytes with a lost bit repaired, the first in line 3"
    ]


@pytest.mark.parametrize("count", [2, 3, 17])
def test_a_block_of_zeros_is_refused_wherever_it_is(tmp_path: Path, count: int) -> None:
    """As interrupted downloads leave them; a single lost bit would be repaired."""
    for at in range(len(ALIGNED) - count + 1):
        for after in (at, at + count):  # put between the bytes, or in their place
            path = points_file(tmp_path, ALIGNED[:at] + b"\0" * count + ALIGNED[after:])
            line = ALIGNED[:at].count(b"\n") + 1
            message = rf"wall_1\.txt: line {line}: {count} bytes in a row that are no text"
            with pytest.raises(ValueError, match=message):
                read_points(path)


@given(st.integers(0, len(ALIGNED) - 1), st.sampled_from([1 << bit for bit in range(8)]))
def test_one_wrong_bit_is_repaired_refused_or_a_different_number(at: int, bit: int) -> None:
    """Never a crash or another number of points; a lost 0x20 never changes a value."""
    broken = bytearray(ALIGNED)
    broken[at] ^= bit
    with tempfile.TemporaryDirectory() as folder:
        path = points_file(Path(folder), bytes(broken))
        try:
            xyz, color = read_points(path)
        except ValueError as error:
            assert str(path) in str(error)
            return
    assert len(xyz) == len(color) == 2
    if bit == 0x20:
        np.testing.assert_array_equal(xyz, XYZ)
        np.testing.assert_array_equal(color, COLOR)


@pytest.mark.parametrize("cut", range(1, 32))
def test_a_file_cut_off_anywhere_in_its_last_line_is_refused_or_told(
    tmp_path: Path, cut: int, caplog: pytest.LogCaptureFixture
) -> None:
    line = b"-0.870 -0.039 2.674 221 211 175"
    assert len(line) == 31
    path = points_file(tmp_path, ALIGNED + line[:cut])
    if cut > line.rindex(b" ") + 1:  # inside the last colour: only the missing line end tells
        assert len(read_points(path)[0]) == 3
        assert "no line end after the last point" in caplog.text
    else:
        with pytest.raises(ValueError, match=r"wall_1\.txt: line 3: expected x y z .*cut off"):
            read_points(path)


@pytest.mark.parametrize(
    "text",
    [
        ALIGNED.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + ALIGNED,
        ALIGNED.replace(b" ", b"\t"),
        b"\n" + ALIGNED + b" \n\n",
        ALIGNED.replace(b" 7\n", b" 7 \n"),
    ],
    ids=["crlf", "byte order mark", "tabs", "empty lines", "space at the end"],
)
def test_harmless_differences_are_read(
    tmp_path: Path, text: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    xyz, color = read_points(points_file(tmp_path, text))
    np.testing.assert_array_equal(xyz, XYZ)
    np.testing.assert_array_equal(color, COLOR)
    assert not caplog.records


@pytest.mark.parametrize(
    "line",
    [
        *(
            b"1e300 0 0 1 2 3",
            b"0 -1e5 0 1 2 3",
            b"nan 0 0 1 2 3",
            b"0 inf 0 1 2 3",
            b"0 0 -inf 1 2 3",
            b"0 0 0 nan 2 3",
        ),
        *(b"0 0 0 256 2 3", b"0 0 0 1 -1 3", b"0 0 0 1 2 3.5", b"0 0 0 1 2 inf"),
        *(b"0 0 0 1 2 3 4", b"0 0 0 1 2", b"0 0 0", b"x", b"0,0,0,1,2,3", b"0 0 0 1 2 red"),
        *(b"0 0 0\xa01 2 3", b"0 0 0 1 2 \xff", "0 0 0 1 2 ³".encode(), b"0 0 0 1 2 3 # note"),
    ],
)
@pytest.mark.parametrize("before", [b"\n" + ALIGNED, b"\n\n\n"], ids=["inside", "first"])
def test_other_lines_are_named(tmp_path: Path, before: bytes, line: bytes) -> None:
    path = points_file(tmp_path, before + line + b"\n" + ALIGNED)
    with pytest.raises(ValueError, match=r"wall_1\.txt: line 4: expected x y z .* got '.*again"):
        read_points(path)


def test_extra_columns_in_every_line_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"wall_1\.txt: line 1: expected x y z in metres"):
        read_points(points_file(tmp_path, ALIGNED.replace(b"\n", b" 1\n")))


@pytest.mark.parametrize("text", [b"", b"\n\n", b" ", b"\xef\xbb\xbf", b"\r\n"])
def test_files_without_points_are_refused(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(ValueError, match=r"wall_1\.txt: no points in the file"):
        read_points(points_file(tmp_path, text))


@pytest.mark.parametrize("text", [ALIGNED.replace(b"\n", b"\r"), ALIGNED + b"\r" + ALIGNED])
def test_carriage_returns_inside_lines_are_refused(tmp_path: Path, text: bytes) -> None:
    """A minus sign that lost its bit is one."""
    with pytest.raises(ValueError, match=r"wall_1\.txt: line \d has a carriage return inside"):
        read_points(points_file(tmp_path, text))


def test_utf_16_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"wall_1\.txt: "):
        read_points(points_file(tmp_path, ALIGNED.decode().encode("utf-16")))


# -- a real room ----------------------------------------------------------------------------------


def test_a_real_room(real_data: Path) -> None:
    reader = S3DISReader(real_data / "s3dis")
    cloud = reader.read_scene("Area_3_hallway_3")
    assert cloud.labels is not None and cloud.instances is not None
    counts = np.bincount(cloud.labels, minlength=S3DIS13.num_classes)
    found = {name: int(n) for name, n in zip(S3DIS13.names, counts, strict=True) if n}
    assert found == {
        "ceiling": 34283, "floor": 33948, "wall": 57387, "door": 35890, "clutter": 13567,
    }  # fmt: skip
    assert cloud.num_points == 175_075 == reader.num_points(cloud.scene_id)
    assert np.unique(cloud.instances).tolist() == list(range(1, 13))
    # Counted in integer millimetres: 44,425, 11,755 and 7,623. In float32, as voxels are computed,
    # some of the points that lie exactly between two voxels of 2 cm go the other way.
    for size, num_voxels in ((0.02, 44_428), (0.04, 11_755), (0.05, 7_623)):
        assert len(voxelize_cloud(cloud, size, ("color",)).coords) == num_voxels
