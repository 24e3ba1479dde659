from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plyfile import PlyData, PlyElement

from pointseg.data import PointCloud, check_units, read_cloud
from pointseg.data.clouds import SUFFIXES, to_metres_z_up

XYZ = np.array([[0.5, -1.25, 2.0], [3.0, 0.125, -0.75], [1.0, 2.0, 3.0]], dtype=np.float32)
RGB = np.array([[255, 0, 7], [1, 128, 254], [10, 20, 30]], dtype=np.uint8)
NORMALS = np.array([[0, 0, 1], [0, -1, 0], [0.6, 0.8, 0]], dtype=np.float32)


def write_ply(path: Path, columns: dict[str, np.ndarray], text: bool = False) -> Path:
    fields = [(name, array.dtype.str) for name, array in columns.items()]
    vertex = np.zeros(len(next(iter(columns.values()))), fields)
    for name, array in columns.items():
        vertex[name] = array
    PlyData([PlyElement.describe(vertex, "vertex")], text=text).write(str(path))
    return path


def split(names: str, array: np.ndarray) -> dict[str, np.ndarray]:
    return {name: array[:, i] for i, name in enumerate(names.split())}


# -- ply ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [True, False])
@pytest.mark.parametrize(
    "names", ["red green blue", "r g b", "diffuse_red diffuse_green diffuse_blue"]
)
def test_ply(tmp_path: Path, names: str, text: bool) -> None:
    columns = {
        **split("x y z", XYZ),
        **split(names, RGB),
        **split("nx ny nz", NORMALS * 3),
        "scalar_Intensity": np.array([0.1, 0.2, 0.3], np.float32),
        "label": np.array([4, 5, 6], np.int32),
    }
    cloud = read_cloud(write_ply(tmp_path / "a room.ply", columns, text))
    assert cloud.scene_id == "a room"
    np.testing.assert_allclose(cloud.xyz_m, XYZ, rtol=1e-6)
    np.testing.assert_array_equal(cloud.color, RGB)
    np.testing.assert_allclose(cloud.normal, NORMALS, atol=1e-6)
    np.testing.assert_allclose(cloud.extras["intensity"], [0.1, 0.2, 0.3], rtol=1e-6)
    assert cloud.extras["label"].tolist() == [4, 5, 6]
    assert cloud.labels is None


@pytest.mark.parametrize(
    ("dtype", "factor"), [("f4", 1 / 255), ("f8", 1 / 255), ("f4", 1.0), ("u2", 257), ("i4", 1)]
)
def test_ply_colours_of_any_type(tmp_path: Path, dtype: str, factor: float) -> None:
    colors = (RGB.astype(np.float64) * factor).astype(dtype)
    path = write_ply(tmp_path / "c.ply", {**split("x y z", XYZ), **split("red green blue", colors)})
    np.testing.assert_array_equal(read_cloud(path).color, RGB)


def test_ply_mesh_gives_normals(tmp_path: Path) -> None:
    vertex = np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0)], [("x", "f8"), ("y", "f8"), ("z", "f8")])
    face = np.array([([0, 1, 2],)], [("vertex_index", "i4", (3,))])
    elements = [PlyElement.describe(vertex, "vertex"), PlyElement.describe(face, "face")]
    PlyData(elements).write(str(tmp_path / "m.ply"))
    cloud = read_cloud(tmp_path / "m.ply")
    np.testing.assert_allclose(cloud.normal, [[0, 0, 1]] * 3)
    assert cloud.color is None


@given(kept=st.integers(0, 10_000))
def test_no_cut_of_a_ply_goes_unnoticed(tmp_path_factory, kept: int) -> None:
    path = tmp_path_factory.mktemp("cut") / "c.ply"
    write_ply(path, {**split("x y z", XYZ), **split("red green blue", RGB)})
    content = path.read_bytes()
    path.write_bytes(content[: kept % len(content)])
    with pytest.raises(ValueError, match=r"c\.ply"):
        read_cloud(path)


def test_ply_without_coordinates_or_vertices(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no column z \(found: x, y\)"):
        read_cloud(write_ply(tmp_path / "a.ply", split("x y", XYZ)))
    with pytest.raises(ValueError, match="no points in the file"):
        read_cloud(write_ply(tmp_path / "b.ply", split("x y z", XYZ[:0])))
    PlyData([PlyElement.describe(np.zeros(1, [("x", "f4")]), "other")]).write(
        str(tmp_path / "c.ply")
    )
    with pytest.raises(ValueError, match="no element 'vertex'"):
        read_cloud(tmp_path / "c.ply")


# -- npy and bin ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_npy_tables(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "c.npy"
    np.save(path, XYZ.astype(dtype))
    cloud = read_cloud(path)
    np.testing.assert_array_equal(cloud.xyz_m, XYZ)
    assert cloud.xyz_m.dtype == np.float32
    assert cloud.color is None
    np.save(path, np.column_stack([XYZ, RGB, NORMALS, [7, 8, 9]]).astype(dtype))
    cloud = read_cloud(path)
    np.testing.assert_array_equal(cloud.color, RGB)
    np.testing.assert_allclose(cloud.normal, NORMALS, atol=1e-6)
    assert cloud.extras["column9"].tolist() == [7, 8, 9]
    np.save(path, np.column_stack([XYZ, [0.5, 0.25, 1]]).astype(dtype))
    assert read_cloud(path).extras["intensity"].tolist() == [0.5, 0.25, 1]


def test_npy_structured(tmp_path: Path) -> None:
    array = np.zeros(
        3, [("X", "f8"), ("Y", "f8"), ("Z", "f8"), ("R", "u1"), ("G", "u1"), ("B", "u1")]
    )
    for i, name in enumerate("XYZ"):
        array[name] = XYZ[:, i]
    for i, name in enumerate("RGB"):
        array[name] = RGB[:, i]
    np.save(tmp_path / "s.npy", array)
    cloud = read_cloud(tmp_path / "s.npy")
    np.testing.assert_array_equal(cloud.xyz_m, XYZ)
    np.testing.assert_array_equal(cloud.color, RGB)


@pytest.mark.parametrize(
    "array", [np.zeros((3, 2)), np.zeros(7), np.zeros((2, 3, 3)), np.array("x")]
)
def test_npy_of_another_shape(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "s.npy", array)
    with pytest.raises(ValueError, match=r"s\.npy: .* expected numbers \[P, 3\]"):
        read_cloud(tmp_path / "s.npy")


def test_broken_npy(tmp_path: Path) -> None:
    path = tmp_path / "s.npy"
    np.save(path, XYZ)
    content = path.read_bytes()
    for size in (0, 5, 60, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match="not a complete npy file"):
            read_cloud(path)
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="not a complete npy file"):
        read_cloud(path)


def test_bin(tmp_path: Path) -> None:
    rows = np.column_stack([XYZ, [0.1, 0.2, 0.3]]).astype("<f4")
    (tmp_path / "000000.bin").write_bytes(rows.tobytes())
    cloud = read_cloud(tmp_path / "000000.bin")
    np.testing.assert_array_equal(cloud.xyz_m, XYZ)
    np.testing.assert_array_equal(cloud.extras["intensity"], rows[:, 3])
    five = np.column_stack([rows, [1, 2, 3]]).astype("<f4")
    (tmp_path / "k.pcd.bin").write_bytes(five.tobytes())
    assert read_cloud(tmp_path / "k.pcd.bin").extras["ring"].tolist() == [1, 2, 3]
    for size in (0, 47):
        (tmp_path / "000000.bin").write_bytes(rows.tobytes()[:size])
        with pytest.raises(ValueError, match=f"{size} bytes are no whole number of points"):
            read_cloud(tmp_path / "000000.bin")


# -- text -----------------------------------------------------------------------------------------


def text_cloud(tmp_path: Path, text: str, name: str = "c.txt") -> PointCloud:
    (tmp_path / name).write_text(text)
    return read_cloud(tmp_path / name)


@pytest.mark.parametrize("separator", [" ", ",", ", ", "\t", ";", "  "])
@pytest.mark.parametrize(
    "header", ["", "x y z r g b", "# x y z red green blue", "//X Y Z R G B", "# made by hand", "3"]
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_text(tmp_path: Path, header: str, separator: str, newline: str) -> None:
    lines = [header.replace(" ", separator if "," in separator else " ")] if header else []
    for point, color in zip(XYZ.tolist(), RGB.tolist(), strict=True):
        lines.append(separator.join(map(str, point + color)))
    cloud = text_cloud(tmp_path, newline.join(lines) + newline)
    np.testing.assert_array_equal(cloud.xyz_m, XYZ)
    np.testing.assert_array_equal(cloud.color, RGB)


@given(
    rows=st.lists(
        st.tuples(*[st.floats(-900, 900, width=32)] * 3, *[st.integers(0, 255)] * 3), min_size=1
    ),
    with_header=st.booleans(),
)
def test_text_round_trip(tmp_path_factory, rows, with_header: bool) -> None:
    lines = ["x y z r g b"] * with_header + [" ".join(map(repr, row)) for row in rows]
    folder = tmp_path_factory.mktemp("text")
    cloud = text_cloud(folder, "\n".join(lines), "c.xyz")
    expected = np.array(rows)
    np.testing.assert_array_equal(cloud.xyz_m, expected[:, :3].astype(np.float32))
    # Floats of 0..1 could mean either scale; as text they are taken as 0..1.
    scale = 255 if expected[:, 3:].max() <= 1 else 1
    np.testing.assert_array_equal(cloud.color, expected[:, 3:] * scale)


def test_text_columns(tmp_path: Path) -> None:
    cloud = text_cloud(tmp_path, "x,y,z,nx,ny,nz,class\n1,2,3,0,0,2,7\n4,5,6,1,0,0,8\n")
    assert cloud.normal.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert cloud.color is None
    assert cloud.extras["class"].tolist() == [7, 8]
    cloud = text_cloud(tmp_path, "1 2 3 0.5\n4 5 6 0.25\n\n")
    assert cloud.extras["intensity"].tolist() == [0.5, 0.25]
    cloud = text_cloud(tmp_path, "1\n1 2 3 -7 10 20 30\n", "c.pts")
    assert cloud.color.tolist() == [[10, 20, 30]]
    assert cloud.extras["intensity"].tolist() == [-7]
    assert text_cloud(tmp_path, "1 2 3 0.0 1.0 0.5\n").color.tolist() == [[0, 255, 128]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no points"),
        ("x y z\n", "no points"),
        ("1 2\n3 4\n", "2 columns"),
        ("1 2 3\n4 5\n", "about line 2: expected 3 numbers, got '4 5'"),
        ("1 2 3\n4 5 x\n", "about line 2: expected 3 numbers, got '4 5 x'"),
        ("3\n1 2 3\n4 5 6\n", "2 points, but the first line says 3"),
        ("x y z r\n1 2 3\n", "names 4 columns"),
        ("1 2 3 -0.5 0.5 0.1\n", "no colours"),
        ("\x00\x01\x02", "no points|expected"),
    ],
)
def test_broken_text(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        text_cloud(tmp_path, text)
    assert "c.txt" in str(error.value)


# -- all formats ----------------------------------------------------------------------------------


def test_invalid_points_are_counted(tmp_path: Path) -> None:
    xyz = XYZ.copy()
    xyz[1, 2] = np.nan
    path = tmp_path / "c.npy"
    np.save(path, xyz)
    with pytest.raises(ValueError, match=r"1 of 3 points .*drop_invalid=True"):
        read_cloud(path)
    cloud = read_cloud(path, drop_invalid=True)
    np.testing.assert_array_equal(cloud.xyz_m, XYZ[[0, 2]])
    assert cloud.extras["row"].tolist() == [0, 2]
    np.save(path, np.full((4, 3), np.inf))
    with pytest.raises(ValueError, match="none of its 4 points"):
        read_cloud(path, drop_invalid=True)
    with pytest.raises(ValueError, match="1 of 2 points"):
        text_cloud(tmp_path, "1 2 3\nnan 1 1\n")


def test_map_coordinates_keep_their_precision(tmp_path: Path) -> None:
    origin = np.array([691_000.0, 5_336_000.0, 500.0])
    np.save(tmp_path / "utm.npy", XYZ.astype(np.float64) + origin)
    cloud = read_cloud(tmp_path / "utm.npy")
    np.testing.assert_allclose(cloud.xyz_m + np.array(cloud.origin_m), XYZ + origin, atol=1e-6)
    assert np.abs(cloud.xyz_m).max() < 10


def test_unknown_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"a\.ply: no such file"):
        read_cloud(tmp_path / "a.ply")
    (tmp_path / "a.las").write_bytes(b"LASF")
    with pytest.raises(ValueError, match=r"unknown ending '\.las'; expected one of \.ply"):
        read_cloud(tmp_path / "a.las")
    assert {".ply", ".npy", ".bin", ".txt", ".xyz", ".pcd"} <= set(SUFFIXES)


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(content=st.binary(max_size=300))
def test_noise_is_read_or_refused_by_name(tmp_path_factory, suffix: str, content: bytes) -> None:
    path = tmp_path_factory.mktemp("noise") / f"c{suffix}"
    path.write_bytes(content)
    try:
        cloud = read_cloud(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert np.isfinite(cloud.xyz_m).all()


# -- units and orientation ------------------------------------------------------------------------


def room(scale: float = 1.0, order: str = "xyz") -> PointCloud:
    rng = np.random.default_rng(0)
    xyz = rng.random((2000, 3)) * [5.0, 4.0, 2.2] * scale
    return PointCloud("room", xyz[:, ["xyz".index(a) for a in order]].astype(np.float32))


def test_units_and_up_axis() -> None:
    assert check_units(room()) == []
    assert "--scale 0.001" in check_units(room(1000))[0]
    assert "--scale 0.01" in check_units(room(100))[0]
    assert "--scale" in check_units(room(0.01))[0]
    assert "--up y" in check_units(room(order="xzy"))[0]
    assert "--up x" in check_units(room(order="zxy"))[0]
    assert len(check_units(room(1000, "xzy"))) == 2
    corridor = PointCloud("corridor", room().xyz_m * np.float32([4, 0.4, 1]))
    assert check_units(corridor) == []  # 1.6 m wide, 2.2 m high
    assert check_units(room().select(np.array([0])))


@pytest.mark.parametrize("up", ["x", "y", "z", "-x", "-y", "-z"])
def test_any_axis_can_become_up(tmp_path: Path, up: str) -> None:
    axis = np.zeros(3, np.float32)
    axis["xyz".index(up[-1])] = -1 if up[0] == "-" else 1
    points = np.concatenate([np.eye(3, dtype=np.float32), axis[None]])
    cloud = PointCloud("axes", points, normal=points)
    turned = to_metres_z_up(cloud, 0.5, up)
    np.testing.assert_allclose(turned.xyz_m[3], [0, 0, 0.5])
    np.testing.assert_allclose(turned.normal[3], [0, 0, 1])
    assert np.linalg.det(turned.normal[:3]) == pytest.approx(1)  # not mirrored
    np.save(tmp_path / "c.npy", points)
    np.testing.assert_allclose(read_cloud(tmp_path / "c.npy", scale=0.5, up=up).xyz_m, turned.xyz_m)


def test_bad_scale_and_up() -> None:
    with pytest.raises(ValueError, match="scale must be > 0, got 0"):
        to_metres_z_up(room(), 0)
    with pytest.raises(ValueError, match="up must be one of x, y, z"):
        to_metres_z_up(room(), 1, "w")


def test_real_lidar_scan(real_data: Path) -> None:
    path = real_data / "semantickitti/dataset/sequences/00/velodyne/000000.bin"
    cloud = read_cloud(path)
    assert cloud.num_points == 124_668
    assert 0 <= cloud.extras["intensity"].min() <= cloud.extras["intensity"].max() <= 1
    assert check_units(cloud) == []


def test_real_text_scan(real_data: Path) -> None:
    cloud = read_cloud(real_data / "s3dis/Area_3/hallway_3/Annotations/floor_1.txt")
    assert cloud.num_points == 33_948
    assert cloud.color is not None


def test_real_mesh(real_data: Path) -> None:
    path = real_data / "scannet/scans/scene0000_00/scene0000_00_vh_clean_2.ply"
    cloud = read_cloud(path)
    assert cloud.num_points == 81_369
    assert cloud.normal is not None
    assert check_units(cloud) == []
