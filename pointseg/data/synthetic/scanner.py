"""Ray-cast scan of a room: depth images with sensor faults, fused into one coloured mesh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pointseg.data.synthetic.camera import CameraPath, ScanSettings, camera_path, view_rays
from pointseg.data.synthetic.lighting import Lighting, surface_colors
from pointseg.data.synthetic.mesh import build_mesh
from pointseg.data.synthetic.raycasting import Raycaster
from pointseg.data.synthetic.rooms import Room

_FAR_M = 7.5
_GRAZING_COSINE = 0.20
_NUM_HOLES = 22


@dataclass(frozen=True)
class Scan:
    """A fused scan of P vertices and F triangles, in the scan's own frame.

    ``xyz_m`` float32 [P, 3]; ``color`` uint8 [P, 3]; ``labels`` uint16 [P] nyu40 ids;
    ``instances`` int32 [P]; ``faces`` int32 [F, 3], counter-clockwise seen from the camera's side;
    ``axis_alignment`` float64 [4, 4] turns the walls parallel to the axes with the floor at 0.
    """

    xyz_m: np.ndarray
    color: np.ndarray
    labels: np.ndarray
    instances: np.ndarray
    faces: np.ndarray
    axis_alignment: np.ndarray
    scene_type: str


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Row-wise scalar product of two [R, 3] arrays."""
    return a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1] + a[:, 2] * b[:, 2]


def _returned(
    rng: np.random.Generator, distance: np.ndarray, cosine: np.ndarray, dropout: np.ndarray
) -> np.ndarray:
    """Which rays give a depth: near enough, not grazing, not lost in a dark or shiny surface."""
    grazing = np.clip((_GRAZING_COSINE - cosine) / _GRAZING_COSINE, 0.0, 1.0)
    lost = 0.01 + dropout + grazing
    kept = rng.random(len(distance), dtype=np.float32) >= lost
    return kept & (distance < _FAR_M)


def _lattice(points: np.ndarray, cell_m: float) -> tuple[np.ndarray, int]:
    """Index of each point's lattice cell, and the number of cells of the points' bounding box."""
    index = np.zeros(len(points), np.int64)
    total = 1
    for axis in range(3):
        cells = np.floor(points[:, axis] * np.float32(1.0 / cell_m)).astype(np.int32)
        low = int(cells.min())
        size = int(cells.max()) - low + 1
        index *= size
        index += cells - low
        total *= size
    return index, total


def _first_in_cell(cell: np.ndarray, num_cells: int) -> tuple[np.ndarray, np.ndarray]:
    """The first sample of every occupied cell, ascending, and each sample's cell as a position
    among those."""
    first = np.full(num_cells, -1, np.int32)
    first[cell[::-1]] = np.arange(len(cell) - 1, -1, -1, dtype=np.int32)
    owner = first[cell]
    winners = np.flatnonzero(owner == np.arange(len(cell), dtype=np.int32))
    position = np.empty(len(cell), np.int32)
    position[winners] = np.arange(len(winners), dtype=np.int32)
    return winners, position[owner]


def _punch_holes(rng: np.random.Generator, xyz: np.ndarray) -> np.ndarray:
    """Mask of the vertices that lie outside some random balls (unseen patches)."""
    keep = np.ones(len(xyz), bool)
    centers = xyz[rng.integers(0, len(xyz), _NUM_HOLES)]
    radii = rng.uniform(0.06, 0.20, _NUM_HOLES)
    for center, radius in zip(centers, radii, strict=True):
        near = np.flatnonzero(np.abs(xyz[:, 0] - center[0]) < radius)
        offset = xyz[near] - center
        keep[near[_dot(offset, offset) < radius * radius]] = False
    return keep


def _triangles(
    vertex_at: np.ndarray, pixels: np.ndarray, distance: np.ndarray, xyz: np.ndarray,
    normals: np.ndarray, settings: ScanSettings,
) -> np.ndarray:  # fmt: skip
    """Two triangles a vertex from its depth image: with the right and lower, left and upper pixel.

    The neighbours are taken about one lattice cell away. A triangle is left out where a corner is
    missing, corners share a vertex, an edge bridges a depth jump, or it does not face the same way
    as the surface.

    Args:
        vertex_at: int32 [views, height, width], the vertex a pixel was fused into, -1 where none.
        pixels: int64 [P], flat pixel of each vertex.
        distance: float32 [P], range of that pixel.
        xyz: float32 [P, 3].
        normals: float32 [P, 3], of the surface hit, towards the camera.
        settings: image size and lattice.
    """
    height, width = settings.height, settings.width
    row, column = pixels // width % height, pixels % width
    step = np.ceil(1.2 * settings.cell_m / (distance * settings.pixel_pitch)).astype(np.int64)
    step = np.clip(step, 1, 6)
    flat = vertex_at.reshape(-1)
    count = len(pixels)
    faces = []
    for sign in (1, -1):
        to_column, to_row = column + sign * step, row + sign * step
        inside = (to_column >= 0) & (to_column < width) & (to_row >= 0) & (to_row < height)
        at = np.flatnonzero(inside)
        across = flat[pixels[at] + sign * step[at]]
        down = flat[pixels[at] + sign * step[at] * width]
        whole = (across >= 0) & (down >= 0) & (across != at) & (down != at) & (across != down)
        faces.append(np.stack([at[whole], down[whole], across[whole]], 1))
    corners = np.concatenate(faces)
    a = xyz[corners[:, 0]]
    u, v = xyz[corners[:, 1]] - a, xyz[corners[:, 2]] - a
    limit = np.maximum(4.0 * settings.cell_m, 3.5 * settings.pixel_pitch * distance)
    limit = limit[corners[:, 0]] ** 2
    short = (_dot(u, u) < limit) & (_dot(v, v) < limit)
    cross = np.cross(u, v)
    facing = _dot(cross, normals[corners[:, 0]])
    good = short & (facing > 0.4 * np.sqrt(_dot(cross, cross)))
    assert count == len(xyz)
    return corners[good].astype(np.int32)


def scan_room(
    room: Room,
    seed: int,
    index: int,
    settings: ScanSettings | None = None,
    path: CameraPath = camera_path,
) -> Scan:
    """Scan a furnished room from a camera path, in a frame turned by a random yaw.

    Depth noise grows with the square of the distance; rays are lost on grazing, dark and shiny
    surfaces; some patches are missing altogether; vertices are the mean of what falls into one
    lattice cell. Depends on the arguments alone.

    Args:
        room: what to scan.
        seed: the data set's seed.
        index: the room's index.
        settings: resolution; the data set's default where None.
        path: the camera's poses.
    """
    settings = settings or ScanSettings()
    rng = np.random.default_rng((seed, index, 1_000_003))
    yaw = float(rng.uniform(0.0, 2 * np.pi))
    shift = tuple(float(value) for value in rng.uniform(3.0, 6.0, 2)) + (
        float(rng.uniform(0, 0.2)),
    )
    mesh = build_mesh(room.space.contents, yaw, (shift[0], shift[1], shift[2]))
    poses = path(room.space, rng, settings.num_views)
    cos, sin = np.cos(yaw), np.sin(yaw)
    x, y = poses[:, 0].copy(), poses[:, 1].copy()
    poses[:, 0], poses[:, 1] = cos * x - sin * y + shift[0], sin * x + cos * y + shift[1]
    poses[:, 2] += shift[2]
    poses[:, 3] += yaw
    rays = view_rays(poses, settings)
    rays = rays.reshape(-1, 6)
    distance, part, normal = Raycaster(mesh).cast(rays)
    direction = rays[:, 3:]
    toward = -_dot(normal, direction)
    kept = np.flatnonzero(_returned(rng, distance, np.abs(toward), mesh.dropout[part]))
    ranges = distance[kept]
    noise = rng.standard_normal(len(kept), dtype=np.float32) * (0.0015 + 0.0010 * ranges**2)
    points = rays[kept, :3] + direction[kept] * (ranges + noise)[:, None]
    winners, vertex = _first_in_cell(*_lattice(points, settings.cell_m))
    count = np.bincount(vertex)
    xyz = np.stack([np.bincount(vertex, points[:, i]) / count for i in range(3)], 1)
    xyz = xyz.astype(np.float32)
    pixels = kept[winners]
    solid = _punch_holes(rng, xyz)
    vertex_at = np.full(len(distance), -1, np.int32)
    vertex_at[kept] = np.where(solid[vertex], vertex, -1)
    facing = normal[pixels] * np.sign(toward[pixels])[:, None]
    faces = _triangles(vertex_at, pixels, ranges[winners], xyz, facing, settings)
    faces = faces[solid[faces[:, 0]]]
    used = np.zeros(len(xyz), bool)
    used[faces] = True
    number = np.cumsum(used, dtype=np.int32) - 1
    chosen = np.flatnonzero(used)
    xyz, faces, pixels = xyz[chosen], number[faces], pixels[chosen]
    aligned = np.eye(4)
    aligned[:2, :2] = [[cos, sin], [-sin, cos]]
    aligned[:3, 3] = -(aligned[:3, :3] @ np.array(shift))
    color = surface_colors(
        rng, Lighting.draw(rng, room.space), mesh, part[pixels], xyz, facing[chosen], aligned,
        pixels // (settings.height * settings.width), settings.num_views,
    )  # fmt: skip
    return Scan(
        xyz_m=xyz,
        color=color,
        labels=mesh.labels[part[pixels]],
        instances=mesh.instances[part[pixels]],
        faces=faces,
        axis_alignment=aligned,
        scene_type=room.scene_type,
    )
