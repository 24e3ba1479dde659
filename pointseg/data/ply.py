"""Reading ply files through plyfile, with errors that name the file and what to do about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from plyfile import PlyData, PlyElement, PlyHeaderParseError, PlyParseError

_FACE_LISTS = ("vertex_indices", "vertex_index")


def read_ply(path: Path, remedy: str) -> PlyData:
    """Parse a ply file. FileNotFoundError or ValueError with the path and ``remedy`` otherwise.

    Triangle lists are memory-mapped, which is far faster than the general parser; a mesh with other
    polygons is read by the general one.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {remedy}")
    triangles = {"face": dict.fromkeys(_FACE_LISTS, 3)}
    try:
        try:
            return PlyData.read(str(path), known_list_len=triangles)
        except PlyHeaderParseError:
            raise
        except (PlyParseError, ValueError):  # no triangle mesh, or cut off: the slow parser knows
            return PlyData.read(str(path))
    except (PlyParseError, ValueError, UnicodeDecodeError, EOFError, OSError) as error:
        raise ValueError(f"{path}: not a complete ply file ({error}); {remedy}") from error
    except (KeyError, IndexError, TypeError, MemoryError, OverflowError) as error:
        raise ValueError(f"{path}: broken ply header ({error!r}); {remedy}") from error


def element(ply: PlyData, name: str, path: Path, remedy: str) -> PlyElement:
    """An element by name, or a ValueError."""
    if name not in ply:
        found = ", ".join(e.name for e in ply.elements) or "none"
        raise ValueError(f"{path}: no element {name!r} (found: {found}); {remedy}")
    return ply[name]


def num_vertices(path: Path, remedy: str) -> int:
    """The number of vertices that the header states; the rest of the file is not read."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {remedy}")
    with path.open("rb") as file:
        for line in iter(lambda: file.readline(1024), b""):
            words = line.split()
            if words[:2] == [b"element", b"vertex"] and len(words) == 3 and words[2].isdigit():
                return int(words[2])
            if words == [b"end_header"]:
                break
    raise ValueError(f"{path}: no 'element vertex <count>' in its header; {remedy}")


def columns(
    vertex: PlyElement, names: tuple[str, ...], dtype: Any, path: Path, remedy: str
) -> NDArray[Any]:
    """Scalar properties side by side, [P, len(names)]; a missing one is a ValueError."""
    found = vertex.data.dtype.names or ()
    missing = [name for name in names if name not in found]
    if missing:
        raise ValueError(
            f"{path}: vertices lack {', '.join(missing)} (found: {', '.join(found)}); {remedy}"
        )
    kinds = {vertex.data.dtype[name].kind for name in names}
    if not kinds <= set("iu" if np.issubdtype(dtype, np.integer) else "iuf"):
        raise ValueError(f"{path}: {', '.join(names)} must be {np.dtype(dtype)}; {remedy}")
    out = np.empty((len(vertex.data), len(names)), dtype=dtype)
    for column, name in enumerate(names):
        out[:, column] = vertex.data[name]
    return out


def triangles(ply: PlyData, num_vertices: int, path: Path, remedy: str) -> NDArray[np.int32]:
    """Faces as int32 [F, 3], polygons split into fans. Bad indices are a ValueError."""
    if "face" not in ply or len(ply["face"].data) == 0:
        return np.empty((0, 3), dtype=np.int32)
    face = ply["face"].data
    name = next((n for n in _FACE_LISTS if n in (face.dtype.names or ())), None)
    if name is None:
        raise ValueError(f"{path}: faces have no {_FACE_LISTS[0]!r} list; {remedy}")
    lists = face[name]
    if lists.dtype == np.dtype(object):
        fans = [[(p[0], p[i], p[i + 1]) for i in range(1, len(p) - 1)] for p in lists]
        corners = np.array([t for fan in fans for t in fan], dtype=np.int64).reshape(-1, 3)
    else:
        corners = lists
    if len(corners) and (corners.min() < 0 or corners.max() >= num_vertices):
        raise ValueError(
            f"{path}: faces refer to vertices {corners.min()}..{corners.max()}, but there are "
            f"{num_vertices} vertices; {remedy}"
        )
    return np.ascontiguousarray(corners, dtype=np.int32)


def vertex_normals(xyz_m: NDArray[np.float32], faces: NDArray[np.int32]) -> NDArray[np.float32]:
    """Unit normals [P, 3] of a mesh: the sum of the adjoining faces' normals, weighted by area.

    A vertex on no face, or only on faces without area, gets a zero vector.
    """
    corners = xyz_m[faces]  # [F, 3, 3]
    # Twice the area times the unit normal: the weighting is in the cross product already.
    weighted = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    index = faces.T.ravel()
    normal = np.empty((len(xyz_m), 3), dtype=np.float32)
    for axis in range(3):
        per_corner = np.tile(weighted[:, axis], 3)
        normal[:, axis] = np.bincount(index, weights=per_corner, minlength=len(xyz_m))
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    return np.divide(normal, length, out=np.zeros_like(normal), where=length > 0)
