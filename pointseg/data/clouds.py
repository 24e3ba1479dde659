"""The user's own clouds: ply, pcd, npy, bin and text files; checks of units and orientation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointseg.data import ply as plyio
from pointseg.data.pcd import read_pcd
from pointseg.data.point_rows import read_point_rows
from pointseg.data.text_clouds import read_text
from pointseg.data.types import PointCloud

logger = logging.getLogger(__name__)

Columns = Mapping[str, NDArray[Any]]

# What a channel is called by the programs that write such files, all in lower case.
_ALIASES: dict[str, tuple[str, ...]] = {
    "x": ("x", "//x", "x_coord", "coord_x"),
    "y": ("y", "y_coord", "coord_y"),
    "z": ("z", "z_coord", "coord_z"),
    "red": ("red", "r", "diffuse_red", "color_r"),
    "green": ("green", "g", "diffuse_green", "color_g"),
    "blue": ("blue", "b", "diffuse_blue", "color_b"),
    "nx": ("nx", "normal_x", "n_x", "normalx"),
    "ny": ("ny", "normal_y", "n_y", "normaly"),
    "nz": ("nz", "normal_z", "n_z", "normalz"),
    "intensity": ("intensity", "scalar_intensity", "remission", "reflectance", "i"),
}
# Beyond this float32 resolves no better than 0.1 mm, and map coordinates lose decimetres.
_FAR_M = 1000.0


def read_cloud(
    path: Path | str, *, scale: float = 1.0, up: str = "z", drop_invalid: bool = False
) -> PointCloud:
    """Read a point cloud; the file name's ending says which kind it is.

    ply       any vertex properties; normals from the faces where it has faces and no normals
    pcd       ascii, binary, binary_compressed
    npy       [P, 3] xyz, [P, 4] with intensity, [P, 6] with RGB, [P, 9] with RGB and normals; or a
              structured array with named fields
    bin       float32 x, y, z, intensity (KITTI); ``.pcd.bin`` has a fifth column, and intensities
              0..255, which become 0..1 (nuScenes)
    txt, xyz  (also csv, asc, pts) columns as named by a header, else as for npy

    Colours may be 8 or 16 bit integers or floats in 0..1 or 0..255. Further scalar columns become
    ``extras``. Coordinates beyond 1 km are stored relative to ``origin_m``. Points keep the file's
    order. Points with non-finite coordinates are an error that counts them; ``drop_invalid`` leaves
    them out and stores the row in the file of each remaining point as ``extras["row"]``.

    ``scale`` is the length in metres of the file's unit, ``up`` its upward axis (see
    :func:`to_metres_z_up`).

    Raises FileNotFoundError, or ValueError for a broken file, naming it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise ValueError(f"{path}: unknown ending {suffix!r}; expected one of {', '.join(READERS)}")
    columns, faces = READERS[suffix](path)
    cloud = _to_cloud(path, columns, faces, drop_invalid)
    return cloud if (scale, up) == (1.0, "z") else to_metres_z_up(cloud, scale, up)


def check_units(cloud: PointCloud) -> list[str]:
    """Warnings about likely wrong units or a wrong up-axis, each with what to pass; often empty."""
    if cloud.num_points < 2:
        return [f"only {cloud.num_points} point"]
    # Percentiles, so that a few stray points decide nothing.
    low, high = np.percentile(cloud.xyz_m, (1, 99), axis=0)
    extent = high - low
    shown = " x ".join(f"{e:.4g}" for e in extent)
    largest = float(extent.max())
    warnings = []
    if largest > 200:
        factor, unit = ("0.001", "millimetres") if largest > 2000 else ("0.01", "centimetres")
        warnings.append(
            f"{shown} m is large: coordinates may be in {unit} (or feet, or the scene is a whole "
            f"site); pass --scale {factor} if they are"
        )
    elif largest < 0.3:
        warnings.append(
            f"{shown} m is small: coordinates may be in kilometres or normalised; pass --scale "
            "with the length in metres of one unit"
        )
    thinnest = int(extent.argmin())
    # Rooms and streets are less high than they are long; a corridor is about as wide as it is high.
    if thinnest != 2 and extent[thinnest] < 0.6 * extent[2]:
        axis = "xyz"[thinnest]
        warnings.append(
            f"{shown} m is thinnest along {axis}, but z is taken as up; pass --up {axis} if "
            f"{axis} is up"
        )
    return warnings


UP_AXES = ("x", "y", "z", "-x", "-y", "-z")


def to_metres_z_up(cloud: PointCloud, scale: float = 1.0, up: str = "z") -> PointCloud:
    """Multiply coordinates by ``scale`` and turn the axis ``up`` (``x``, ``-y``, ...) into +z.

    A proper rotation (cyclic exchange of axes, or half a turn), so that nothing is mirrored.
    """
    if not scale > 0 or not np.isfinite(scale):
        raise ValueError(f"scale must be > 0, got {scale}")
    if up not in UP_AXES:
        raise ValueError(f"up must be one of {', '.join(UP_AXES)}, got {up!r}")
    axis = "xyz".index(up[-1])
    order = [(axis + 1) % 3, (axis + 2) % 3, axis]
    sign = np.array([1, -1, -1] if up[0] == "-" else [1, 1, 1], dtype=np.float32)
    normal = None if cloud.normal is None else cloud.normal[:, order] * sign
    xyz = cloud.xyz_m[:, order] * (sign * np.float32(scale))
    moved = [cloud.origin_m[i] * float(s) * scale for i, s in zip(order, sign, strict=True)]
    origin = (moved[0], moved[1], moved[2])
    return cloud.replace(xyz_m=np.ascontiguousarray(xyz), normal=normal, origin_m=origin)


# -- formats --------------------------------------------------------------------------------------

_Read = tuple[dict[str, NDArray[Any]], NDArray[np.int32] | None]
_AGAIN = "export or copy the file again"


def _read_ply(path: Path) -> _Read:
    ply = plyio.read_ply(path, _AGAIN)
    vertex = plyio.element(ply, "vertex", path, _AGAIN)
    columns = _from_structured(np.asarray(vertex.data))
    faces = plyio.triangles(ply, len(vertex.data), path, _AGAIN)
    return columns, faces if len(faces) else None


def _read_pcd(path: Path) -> _Read:
    columns = _from_structured(read_pcd(path))
    packed = columns.pop("rgb", columns.pop("rgba", None))
    if packed is not None:
        bits = packed.view(np.uint32) if packed.dtype.itemsize == 4 else packed.astype(np.uint32)
        for name, shift in (("red", 16), ("green", 8), ("blue", 0)):
            columns[name] = (bits >> shift & 255).astype(np.uint8)
    return columns, None


def _read_npy(path: Path) -> _Read:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path}: not a complete npy file ({error}); {_AGAIN}") from error
    if array.dtype.names is not None and array.ndim == 1:
        return _from_structured(array), None
    if array.ndim != 2 or array.shape[1] < 3 or array.dtype.kind not in "iuf":
        raise ValueError(
            f"{path}: {array.dtype} {array.shape}; expected numbers [P, 3] or more columns, or a "
            "structured array with fields x, y and z"
        )
    return _from_table(array, path), None


def _read_bin(path: Path) -> _Read:
    names = ["x", "y", "z", "intensity"]
    nuscenes = path.name.lower().endswith(".pcd.bin")
    if nuscenes:
        names.append("ring")
    array = read_point_rows(path, names, _AGAIN)
    if nuscenes:
        array[:, 3] /= 255  # as the reader of that dataset has it
    return {name: array[:, i] for i, name in enumerate(names)}, None


def _read_text(path: Path) -> _Read:
    values, names = read_text(path)
    if names is None:
        return _from_table(values, path), None
    return {name: values[:, i] for i, name in enumerate(names)}, None


READERS: dict[str, Callable[[Path], _Read]] = {
    ".ply": _read_ply,
    ".pcd": _read_pcd,
    ".npy": _read_npy,
    ".bin": _read_bin,
    ".txt": _read_text,
    ".xyz": _read_text,
    ".csv": _read_text,
    ".asc": _read_text,
    ".pts": _read_text,
}
SUFFIXES = tuple(READERS)
"""File name endings that :func:`read_cloud` knows."""


def _from_structured(array: NDArray[Any]) -> dict[str, NDArray[Any]]:
    names = array.dtype.names or ()
    scalars = [n for n in names if array[n].dtype.kind in "iufb" and array[n].ndim == 1]
    return {name.lower(): array[name] for name in scalars}


_TABLES = {
    3: ("x", "y", "z"),
    4: ("x", "y", "z", "intensity"),
    6: ("x", "y", "z", "red", "green", "blue"),
    9: ("x", "y", "z", "red", "green", "blue", "nx", "ny", "nz"),
}


def _from_table(array: NDArray[Any], path: Path) -> dict[str, NDArray[Any]]:
    """Columns without names: as many as are known by convention, the rest kept by number."""
    width = array.shape[1]
    if width == 7 and path.suffix.lower() == ".pts":
        names: tuple[str, ...] = ("x", "y", "z", "intensity", "red", "green", "blue")
    else:
        names = _TABLES[max(n for n in _TABLES if n <= width)]
    if len(names) < width:
        logger.warning("%s: %d columns, taken as %s and the rest", path, width, " ".join(names))
    columns = {name: array[:, i] for i, name in enumerate(names)}
    columns.update({f"column{i}": array[:, i] for i in range(len(names), width)})
    return columns


# -- columns to a cloud ---------------------------------------------------------------------------


def _pick(columns: Columns, channel: str) -> str | None:
    return next((alias for alias in _ALIASES[channel] if alias in columns), None)


def _to_cloud(
    path: Path, columns: Columns, faces: NDArray[np.int32] | None, drop_invalid: bool
) -> PointCloud:
    used = {channel: _pick(columns, channel) for channel in _ALIASES}
    absent = [axis for axis in "xyz" if used[axis] is None]
    if absent:
        raise ValueError(
            f"{path}: no column {', '.join(absent)} (found: {', '.join(columns) or 'none'})"
        )
    xyz = np.stack([columns[used[a] or ""].astype(np.float64) for a in "xyz"], axis=1)
    if len(xyz) == 0:
        raise ValueError(f"{path}: no points in the file")
    valid = np.asarray(np.isfinite(xyz).all(axis=1))
    if not valid.all() and not drop_invalid:
        raise ValueError(
            f"{path}: {int((~valid).sum())} of {len(xyz)} points have coordinates that are not "
            "finite; remove them from the file, or read it with drop_invalid=True to leave them out"
        )
    if not valid.any():
        raise ValueError(f"{path}: none of its {len(xyz)} points has finite coordinates")
    local, origin = _near_origin(xyz, valid)
    normal = _normals(columns, used)
    if normal is None and faces is not None and valid.all():
        normal = plyio.vertex_normals(local, faces)
    extras = {n: a for n, a in columns.items() if n not in used.values() and n != "alpha"}
    if used["intensity"] is not None:
        extras["intensity"] = columns[used["intensity"]].astype(np.float32)
    cloud = PointCloud(
        scene_id=path.stem,
        xyz_m=local,
        color=_colors(columns, used, path),
        normal=normal,
        extras={name: np.ascontiguousarray(array) for name, array in extras.items()},
        origin_m=origin,
    )
    if valid.all():
        return cloud
    logger.warning("%s: %d points that are not finite left out", path, int((~valid).sum()))
    rows = np.flatnonzero(valid)
    kept = cloud.select(rows)
    return kept.replace(extras={**kept.extras, "row": rows})


def _near_origin(
    xyz: NDArray[np.float64], valid: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], tuple[float, float, float]]:
    points = xyz if valid.all() else xyz[valid]
    low, high = points.min(axis=0), points.max(axis=0)
    if max(abs(low).max(), abs(high).max()) <= _FAR_M:
        return xyz.astype(np.float32), (0.0, 0.0, 0.0)
    origin = np.round(low)
    return (xyz - origin).astype(np.float32), (float(origin[0]), float(origin[1]), float(origin[2]))


def _colors(
    columns: Columns, used: Mapping[str, str | None], path: Path
) -> NDArray[np.uint8] | None:
    names = [used[c] for c in ("red", "green", "blue")]
    arrays = [columns[name] for name in names if name is not None]
    if len(arrays) < 3:
        return None
    if all(a.dtype == np.uint8 for a in arrays):
        return np.stack(arrays, axis=1)
    values = np.stack([a.astype(np.float32) for a in arrays], axis=1)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if not np.isfinite(values).all() or low < 0 or high > 65535:
        raise ValueError(
            f"{path}: columns {', '.join(str(n) for n in names)} hold {low:g}..{high:g} and are "
            "no colours (0..1, 0..255 or 16 bit); name the columns (header line, structured "
            "array) or leave them out"
        )
    if high > 255:
        values /= np.float32(257)
    elif high <= 1 and all(a.dtype.kind == "f" for a in arrays):
        values *= np.float32(255)
    return np.rint(values).astype(np.uint8)


def _normals(columns: Columns, used: Mapping[str, str | None]) -> NDArray[np.float32] | None:
    names = [used[c] for c in ("nx", "ny", "nz")]
    arrays = [columns[name] for name in names if name is not None]
    if len(arrays) < 3:
        return None
    normal = np.stack([a.astype(np.float32) for a in arrays], axis=1)
    np.nan_to_num(normal, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    return np.divide(normal, length, out=np.zeros_like(normal), where=length > 0)
