from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointseg.data import read_cloud
from pointseg.data.pcd import lzf_decompress


def lzf_compress(data: bytes) -> bytes:
    """A small LZF encoder: literals, short, long and overlapping matches."""
    out, literal, seen, i = bytearray(), bytearray(), {}, 0

    def flush() -> None:
        for start in range(0, len(literal), 32):
            run = literal[start : start + 32]
            out.append(len(run) - 1)
            out.extend(run)
        literal.clear()

    while i < len(data):
        key = data[i : i + 3]
        before = seen.get(key, -1)
        seen[key] = i
        if len(key) < 3 or before < 0 or i - before > 8192:
            literal.append(data[i])
            i += 1
            continue
        length = 3
        while length < 264 and i + length < len(data) and data[before + length] == data[i + length]:
            length += 1
        flush()
        distance, code = i - before - 1, length - 2
        if code < 7:
            out.append(code << 5 | distance >> 8)
        else:
            out.extend((7 << 5 | distance >> 8, code - 7))
        out.append(distance & 255)
        i += length
    flush()
    return bytes(out)


@given(st.lists(st.binary(max_size=40).flatmap(lambda b: st.integers(1, 30).map(lambda n: b * n))))
def test_lzf_round_trip(parts: list[bytes]) -> None:
    data = b"".join(parts)
    assert lzf_decompress(lzf_compress(data), len(data)) == data


@given(st.binary(max_size=60), st.integers(0, 200))
def test_damaged_lzf_is_an_error_or_of_the_right_size(data: bytes, size: int) -> None:
    with contextlib.suppress(ValueError):
        assert len(lzf_decompress(data, size)) == size


def pcd_bytes(points: np.ndarray, encoding: str) -> bytes:
    names = points.dtype.names
    kinds = {"f": "F", "u": "U", "i": "I"}
    bases = [points.dtype[n].base for n in names]
    counts = [int(np.prod(points.dtype[n].shape, dtype=int)) for n in names]
    header = [
        "# .PCD v0.7 - Point Cloud Data file format",
        "VERSION 0.7",
        "FIELDS " + " ".join(names),
        "SIZE " + " ".join(str(b.itemsize) for b in bases),
        "TYPE " + " ".join(kinds[b.kind] for b in bases),
        "COUNT " + " ".join(map(str, counts)),
        f"WIDTH {len(points)}",
        "HEIGHT 1",
        "VIEWPOINT 0 0 0 1 0 0 0",
        f"POINTS {len(points)}",
        f"DATA {encoding}",
    ]
    head = ("\n".join(header) + "\n").encode()
    if encoding == "ascii":
        rows = [" ".join(repr(v.item()) for n in names for v in np.ravel(p[n])) for p in points]
        return head + ("\n".join(rows) + "\n").encode()
    if encoding == "binary":
        return head + points.tobytes()
    columns = b"".join(np.ascontiguousarray(points[n]).tobytes() for n in names)
    packed = lzf_compress(columns)
    return head + struct.pack("<II", len(packed), len(columns)) + packed


def pcd_points(num_points: int = 3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    fields = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4"), ("normal_x", "<f4")]
    fields += [("normal_y", "<f4"), ("normal_z", "<f4"), ("ring", "<u2"), ("fpfh", "<f4", 3)]
    points = np.zeros(num_points, fields)
    for name in ("x", "y", "z", "normal_x", "normal_y", "normal_z"):
        points[name] = rng.standard_normal(num_points).round(3)
    points["rgb"] = rng.integers(0, 1 << 24, num_points)
    points["ring"] = rng.integers(0, 64, num_points)
    return points


@pytest.mark.parametrize("encoding", ["ascii", "binary", "binary_compressed"])
@given(num_points=st.integers(1, 300), seed=st.integers(0, 99))
def test_pcd_round_trip(tmp_path_factory, encoding: str, num_points: int, seed: int) -> None:
    points = pcd_points(num_points, seed)
    path = tmp_path_factory.mktemp("pcd") / "c.pcd"
    path.write_bytes(pcd_bytes(points, encoding))
    cloud = read_cloud(path)
    np.testing.assert_array_equal(cloud.xyz_m, np.stack([points[a] for a in "xyz"], axis=1))
    expected = np.stack([points["rgb"] >> s & 255 for s in (16, 8, 0)], axis=1)
    np.testing.assert_array_equal(cloud.color, expected)
    np.testing.assert_allclose(np.linalg.norm(cloud.normal, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(cloud.extras["ring"], points["ring"])


def test_pcd_colours_packed_in_a_float(tmp_path: Path) -> None:
    points = np.zeros(2, [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<f4")])
    points["rgb"] = np.array([0x0A141E, 0xFF0080], np.uint32).view(np.float32)
    for encoding in ("ascii", "binary"):
        (tmp_path / "c.pcd").write_bytes(pcd_bytes(points, encoding))
        assert read_cloud(tmp_path / "c.pcd").color.tolist() == [[10, 20, 30], [255, 0, 128]]


@pytest.mark.parametrize("encoding", ["ascii", "binary", "binary_compressed"])
def test_no_cut_of_a_pcd_goes_unnoticed(tmp_path: Path, encoding: str) -> None:
    content = pcd_bytes(pcd_points(20), encoding)
    path = tmp_path / "c.pcd"
    # Where a text file ends inside its last number, the rest of that number is lost unnoticed.
    last = [] if encoding == "ascii" else [len(content) - 3]
    for size in [*range(0, len(content) - 40, 37), len(content) - 30, *last]:
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"c\.pcd"):
            read_cloud(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"SIZE 4", b"SIZE 3"),
        (b"TYPE F", b"TYPE Q"),
        (b"COUNT 1 ", b"COUNT "),
        (b"POINTS 3", b"POINTS x"),
        (b"POINTS 3", b"POINTS -1"),
        (b"POINTS 3", b"POINTS"),
        (b"DATA ascii", b"DATA zip"),
        (b"FIELDS x", b"FIELDS y"),
        (b"FIELDS x y z", b"FIELDS a b c"),
    ],
)
def test_broken_pcd_header(tmp_path: Path, old: bytes, new: bytes) -> None:
    content = pcd_bytes(pcd_points(), "ascii")
    assert old in content
    (tmp_path / "c.pcd").write_bytes(content.replace(old, new))
    with pytest.raises(ValueError, match=r"c\.pcd"):
        read_cloud(tmp_path / "c.pcd")


@pytest.mark.parametrize("options", [{}, {"compressed": True}, {"write_ascii": True}])
def test_pcd_of_another_writer(tmp_path: Path, options: dict[str, bool]) -> None:
    open3d = pytest.importorskip("open3d")
    rng = np.random.default_rng(0)
    xyz = rng.random((500, 3)).round(3)
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(xyz))
    colors = rng.integers(0, 256, (500, 3))
    cloud.colors = open3d.utility.Vector3dVector(colors / 255)
    assert open3d.io.write_point_cloud(str(tmp_path / "o.pcd"), cloud, **options)
    found = read_cloud(tmp_path / "o.pcd")
    np.testing.assert_allclose(found.xyz_m, xyz, atol=1e-6)
    np.testing.assert_array_equal(found.color, colors)
