"""Triangle meshes made of boxes, tubes, sheets and loose quads.

Things are described by a handful of parametric parts (:class:`Prop`), placed in a scene by a
translation and a yaw, and turned into triangles for all parts at once (:class:`TriangleMesh`), so
that a scene of a thousand parts costs a few milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from pointseg.data.synthetic.palettes import Material

TUBE_SIDES = 12

_CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float64)
_BOX_FACES = np.array(
    [
        [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
        [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3],
    ],
    np.int64,
)  # fmt: skip

_QUAD_FACES = np.array([[0, 1, 2], [0, 2, 3]], np.int64)


def _tube_faces(sides: int) -> np.ndarray:
    """Faces of a frustum: bottom ring, top ring, bottom centre, top centre."""
    faces = []
    for i in range(sides):
        j = (i + 1) % sides
        faces += [
            [i, j, sides + j],
            [i, sides + j, sides + i],
            [2 * sides, j, i],
            [2 * sides + 1, sides + i, sides + j],
        ]
    return np.array(faces, np.int64)


_TUBE_FACES = _tube_faces(TUBE_SIDES)
_ANGLES = np.arange(TUBE_SIDES) * (2 * np.pi / TUBE_SIDES)
_RING = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], 1)


class Part(NamedTuple):
    """One box or tube in its prop's frame: centre, half sizes, turn, instance and material.

    A tube's half sizes are (bottom radius x, bottom radius y, half height); ``taper`` is the top
    radius divided by the bottom radius. Boxes keep ``taper`` at 1.
    """

    center: tuple[float, float, float]
    half: tuple[float, float, float]
    yaw: float
    pitch: float
    taper: float
    instance: int
    material: Material


class Sheet(NamedTuple):
    """A grid of vertices ``[rows, columns, 3]`` in its prop's frame."""

    grid: np.ndarray
    instance: int
    material: Material


class Quads(NamedTuple):
    """Separate quadrilaterals: corners ``[N, 4, 3]`` in their prop's frame, in turn around each."""

    corners: np.ndarray
    instance: int
    material: Material


@dataclass
class Prop:
    """A thing (or several that belong together) in a frame of its own.

    The origin is on the floor, +z up. Of a piece of furniture ``-y`` is the back (the wall side)
    and ``+y`` the front; ``size`` is the footprint's (width, depth) centred on x and reaching from
    y = 0 to y = depth, and the height, all in metres. ``labels[i]`` is the raw id of the prop's
    i-th instance.
    """

    size: tuple[float, float, float] = (0.0, 0.0, 0.0)
    labels: list[int] = field(default_factory=list)
    boxes: list[Part] = field(default_factory=list)
    tubes: list[Part] = field(default_factory=list)
    sheets: list[Sheet] = field(default_factory=list)
    quads: list[Quads] = field(default_factory=list)

    def instance(self, label: int) -> int:
        """Start a new instance of a class, given by its raw id; return its index in this prop."""
        self.labels.append(label)
        return len(self.labels) - 1

    def box(
        self,
        instance: int,
        material: Material,
        x: tuple[float, float],
        y: tuple[float, float],
        z: tuple[float, float],
        yaw: float = 0.0,
        pitch: float = 0.0,
    ) -> None:
        """Add a box by its extent on each axis, turned about its own centre."""
        center = ((x[0] + x[1]) / 2, (y[0] + y[1]) / 2, (z[0] + z[1]) / 2)
        half = ((x[1] - x[0]) / 2, (y[1] - y[0]) / 2, (z[1] - z[0]) / 2)
        self.boxes.append(Part(center, half, yaw, pitch, 1.0, instance, material))

    def tube(
        self,
        instance: int,
        material: Material,
        xy: tuple[float, float],
        z: tuple[float, float],
        radius: float | tuple[float, float],
        taper: float = 1.0,
        yaw: float = 0.0,
        pitch: float = 0.0,
    ) -> None:
        """Add an upright (elliptic) frustum from z[0] to z[1]; ``pitch`` tips it over."""
        rx, ry = radius if isinstance(radius, tuple) else (radius, radius)
        center = (xy[0], xy[1], (z[0] + z[1]) / 2)
        half = (rx, ry, (z[1] - z[0]) / 2)
        self.tubes.append(Part(center, half, yaw, pitch, taper, instance, material))

    def rod(
        self,
        instance: int,
        material: Material,
        start: tuple[float, float, float],
        end: tuple[float, float, float],
        radius: float,
        taper: float = 1.0,
    ) -> None:
        """Add a round frustum from one point to another; ``radius`` is that at ``start``."""
        a, b = np.array(start), np.array(end)
        length = float(np.linalg.norm(b - a))
        x, y, z = (b - a) / length
        center = (a + b) / 2
        part = Part(
            (float(center[0]), float(center[1]), float(center[2])),
            (radius, radius, length / 2),
            float(np.arctan2(x, -y)),
            float(np.arccos(np.clip(z, -1.0, 1.0))),
            taper,
            instance,
            material,
        )
        self.tubes.append(part)

    def sheet(self, instance: int, material: Material, grid: np.ndarray) -> None:
        """Add a surface through a grid of vertices ``[rows, columns, 3]``."""
        self.sheets.append(Sheet(grid, instance, material))

    def add_quads(self, instance: int, material: Material, corners: np.ndarray) -> None:
        """Add quadrilaterals by their corners ``[N, 4, 3]``."""
        self.quads.append(Quads(corners, instance, material))

    def add(
        self,
        other: Prop,
        xyz: tuple[float, float, float],
        yaw: float = 0.0,
        into: int | None = None,
    ) -> None:
        """Merge another prop in, moved and turned about z.

        Its instances are kept apart, or all become part of this prop's instance ``into``.
        """
        first = len(self.labels)
        if into is None:
            self.labels += other.labels
        cos, sin = float(np.cos(yaw)), float(np.sin(yaw))

        def moved(part: Part) -> Part:
            x, y, z = part.center
            center = (cos * x - sin * y + xyz[0], sin * x + cos * y + xyz[1], z + xyz[2])
            instance = part.instance + first if into is None else into
            return part._replace(center=center, yaw=part.yaw + yaw, instance=instance)

        self.boxes += [moved(part) for part in other.boxes]
        self.tubes += [moved(part) for part in other.tubes]
        for sheet in other.sheets:
            instance = sheet.instance + first if into is None else into
            grid = _yawed(sheet.grid, yaw) + np.array(xyz)
            self.sheets.append(Sheet(grid, instance, sheet.material))
        for quads in other.quads:
            instance = quads.instance + first if into is None else into
            corners = _yawed(quads.corners, yaw) + np.array(xyz)
            self.quads.append(Quads(corners, instance, quads.material))


def _yawed(points: np.ndarray, yaw: float) -> np.ndarray:
    """Points ``[..., 3]`` turned about z."""
    cos, sin = float(np.cos(yaw)), float(np.sin(yaw))
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    return np.stack([cos * x - sin * y, sin * x + cos * y, z], -1)


@dataclass(frozen=True)
class TriangleMesh:
    """A scene's triangles and what each is part of.

    ``vertices`` float32 [V, 3] metres; ``faces`` uint32 [F, 3]; ``face_part`` int32 [F]; per part
    (Q parts): ``labels`` uint16 [Q] raw ids, ``instances`` int32 [Q], ``rgb`` float32 [Q, 3] in
    [0, 1], ``pattern`` int8 [Q], ``contrast`` float32 [Q], ``dropout`` float32 [Q].
    """

    vertices: np.ndarray
    faces: np.ndarray
    face_part: np.ndarray
    labels: np.ndarray
    instances: np.ndarray
    rgb: np.ndarray
    pattern: np.ndarray
    contrast: np.ndarray
    dropout: np.ndarray


def _turned(parts: list[Part], local: np.ndarray) -> np.ndarray:
    """Turn ``local`` [Q, V, 3] by each part's pitch (about x), then yaw (about z), and move it."""
    yaw = np.array([part.yaw for part in parts])[:, None]
    pitch = np.array([part.pitch for part in parts])[:, None]
    center = np.array([part.center for part in parts])[:, None, :]
    x, y, z = local[..., 0], local[..., 1], local[..., 2]
    cos, sin = np.cos(pitch), np.sin(pitch)
    y, z = cos * y - sin * z, sin * y + cos * z
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.stack([cos * x - sin * y, sin * x + cos * y, z], -1) + center


def _grid_faces(rows: int, columns: int) -> np.ndarray:
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b = index[:-1, :-1].ravel(), index[:-1, 1:].ravel()
    c, d = index[1:, :-1].ravel(), index[1:, 1:].ravel()
    return np.concatenate([np.stack([a, b, d], 1), np.stack([a, d, c], 1)])


def build_mesh(prop: Prop, yaw: float, shift: tuple[float, float, float]) -> TriangleMesh:
    """Triangulate a prop (a whole scene is one) after a final yaw about z and a shift."""
    vertices, faces, face_part = [], [], []
    first_vertex = 0
    if prop.boxes:
        half = np.array([part.half for part in prop.boxes])
        corners = _turned(prop.boxes, _CORNERS * half[:, None, :])
        count = len(prop.boxes)
        vertices.append(corners.reshape(-1, 3))
        faces.append((np.arange(count)[:, None, None] * 8 + _BOX_FACES).reshape(-1, 3))
        face_part.append(np.repeat(np.arange(count), len(_BOX_FACES)))
        first_vertex = count * 8
    if prop.tubes:
        half = np.array([part.half for part in prop.tubes])
        taper = np.array([part.taper for part in prop.tubes])[:, None, None]
        count, rings = len(prop.tubes), 2 * TUBE_SIDES + 2
        local = np.zeros((count, rings, 3))
        local[:, :TUBE_SIDES, :2] = _RING * half[:, None, :2]
        local[:, TUBE_SIDES : 2 * TUBE_SIDES, :2] = _RING * half[:, None, :2] * taper
        bottom = [*range(TUBE_SIDES), 2 * TUBE_SIDES]
        local[:, :, 2] = half[:, None, 2]
        local[:, bottom, 2] = -half[:, None, 2]
        vertices.append(_turned(prop.tubes, local).reshape(-1, 3))
        offset = first_vertex + np.arange(count)[:, None, None] * rings
        faces.append((offset + _TUBE_FACES).reshape(-1, 3))
        face_part.append(np.repeat(np.arange(count) + len(prop.boxes), len(_TUBE_FACES)))
        first_vertex += count * rings
    for i, sheet in enumerate(prop.sheets):
        rows, columns = sheet.grid.shape[:2]
        sheet_faces = _grid_faces(rows, columns) + first_vertex
        vertices.append(sheet.grid.reshape(-1, 3))
        faces.append(sheet_faces)
        part = len(prop.boxes) + len(prop.tubes) + i
        face_part.append(np.full(len(sheet_faces), part))
        first_vertex += rows * columns
    for i, quads in enumerate(
        prop.quads, start=len(prop.boxes) + len(prop.tubes) + len(prop.sheets)
    ):
        count = len(quads.corners)
        vertices.append(quads.corners.reshape(-1, 3))
        corner = first_vertex + np.arange(count)[:, None, None] * 4
        faces.append((corner + _QUAD_FACES).reshape(-1, 3))
        face_part.append(np.full(2 * count, i))
        first_vertex += count * 4
    xyz = _yawed(np.concatenate(vertices), yaw)
    owners: list[Part | Sheet | Quads] = [*prop.boxes, *prop.tubes, *prop.sheets, *prop.quads]
    instances = np.array([owner.instance for owner in owners], np.int32)
    materials = [owner.material for owner in owners]
    return TriangleMesh(
        vertices=(xyz + np.array(shift)).astype(np.float32),
        faces=np.concatenate(faces).astype(np.uint32),
        face_part=np.concatenate(face_part).astype(np.int32),
        labels=np.array(prop.labels, np.uint16)[instances],
        instances=instances,
        rgb=np.array([material.rgb for material in materials], np.float32),
        pattern=np.array([material.pattern for material in materials], np.int8),
        contrast=np.array([material.contrast for material in materials], np.float32),
        dropout=np.array([material.dropout for material in materials], np.float32),
    )
