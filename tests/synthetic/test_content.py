"""What the rooms hold: every class often enough, plausible layouts, a scan's faults."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from pointseg.data.labels import SCANNET20
from pointseg.data.synthetic import Scan, ScanSettings, generate_scan
from pointseg.data.synthetic.control import score_control, train_control
from pointseg.data.synthetic.dataset import FIRST_VALIDATION_ROOM
from pointseg.data.synthetic.mesh import Prop, build_mesh
from pointseg.data.synthetic.palettes import Material
from pointseg.data.synthetic.raycasting import load_open3d
from pointseg.data.synthetic.rooms import RECIPES, furnish
from pointseg.data.types import PointCloud

NUM_ROOMS = 24
NAMES = SCANNET20.names


@pytest.fixture(scope="module")
def scans() -> list[Scan]:
    """A validation split of the size the demonstration uses."""
    return [generate_scan(0, FIRST_VALIDATION_ROOM + i) for i in range(NUM_ROOMS)]


def aligned(scan: Scan) -> np.ndarray:
    matrix = scan.axis_alignment
    return scan.xyz_m @ matrix[:3, :3].T + matrix[:3, 3]


def as_cloud(scan: Scan, name: str = "room") -> PointCloud:
    a, b, c = (scan.xyz_m[scan.faces[:, i]] for i in range(3))
    cross = np.cross(b - a, c - a)
    normal = np.zeros_like(scan.xyz_m)
    for i in range(3):
        np.add.at(normal, scan.faces[:, i], cross)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    return PointCloud(
        name, scan.xyz_m, scan.color, normal, SCANNET20.to_train(scan.labels.astype(np.int32))
    )


def test_every_class_has_several_instances_and_thousands_of_points(scans: list[Scan]) -> None:
    points = np.zeros(len(NAMES), int)
    instances = np.zeros(len(NAMES), int)
    for scan in scans:
        train = SCANNET20.to_train(scan.labels.astype(np.int32))
        for label in range(len(NAMES)):
            mask = train == label
            points[label] += mask.sum()
            _, sizes = np.unique(scan.instances[mask], return_counts=True)
            instances[label] += (sizes >= 50).sum()
    few = {n: (int(i), int(p)) for n, i, p in zip(NAMES, instances, points, strict=True)}
    assert all(i >= 6 and p >= 3000 for i, p in few.values()), few


def test_rooms_have_the_size_of_a_scan(scans: list[Scan]) -> None:
    counts = [len(scan.xyz_m) for scan in scans]
    assert min(counts) > 40_000
    assert max(counts) < 250_000
    ignored = [np.mean(SCANNET20.to_train(scan.labels.astype(np.int32)) < 0) for scan in scans]
    assert 0.02 < np.mean(ignored) < 0.25


def test_every_room_is_turned(scans: list[Scan]) -> None:
    turns = [
        np.degrees(np.arctan2(scan.axis_alignment[1, 0], scan.axis_alignment[0, 0])) % 90
        for scan in scans
    ]
    assert len({round(float(turn)) for turn in turns}) > NUM_ROOMS // 2


def test_faces_are_seen_from_inside(scans: list[Scan]) -> None:
    cloud = as_cloud(scans[0])
    assert cloud.labels is not None and cloud.normal is not None
    floor = cloud.normal[cloud.labels == NAMES.index("floor")]
    assert np.median(floor[:, 2]) > 0.98
    xyz = aligned(scans[0])
    wall = cloud.labels == NAMES.index("wall")
    turn = scans[0].axis_alignment[:3, :3]
    inwards = (xyz[wall].mean(0) - xyz[wall])[:, :2]
    normal = (cloud.normal[wall] @ turn.T)[:, :2]
    assert ((inwards * normal).sum(1) > 0).mean() > 0.9


def test_scans_are_occluded_and_have_holes(scans: list[Scan]) -> None:
    floor_cells, area = 0, 0.0
    for index, scan in enumerate(scans[:4]):
        xyz = aligned(scan)[scan.labels == 2]
        floor_cells += len(np.unique(np.floor(xyz[:, :2] / 0.1), axis=0))
        space = furnish(0, FIRST_VALIDATION_ROOM + index).space
        area += space.width * space.depth * 100
    assert 0.3 < floor_cells / area < 0.95


@pytest.mark.parametrize(("label", "deepest"), [(8, 0.10), (9, 0.10)])
def test_doors_and_windows_lie_back_in_the_wall(
    scans: list[Scan], label: int, deepest: float
) -> None:
    """Of the points in the middle of an opening, most are behind the wall's face."""
    depths = []
    for index, scan in enumerate(scans):
        space = furnish(0, FIRST_VALIDATION_ROOM + index).space
        xyz = aligned(scan)[scan.labels == label]
        size = np.array([space.width, space.depth])
        behind = np.maximum(-xyz[:, :2], xyz[:, :2] - size).max(1)
        depths.append(behind[behind > -0.3])
    depth = np.concatenate(depths)
    assert np.mean(depth > deepest) > 0.35
    assert np.quantile(depth, 0.99) < 0.35


def test_layouts_keep_inside_the_room_and_apart() -> None:
    for index in range(2 * len(RECIPES)):
        space = furnish(7, index).space
        assert 2.0 < space.width < 7.5
        assert 2.0 < space.depth < 6.5
        for i, one in enumerate(space.taken):
            assert one.x[0] >= -0.01 and one.x[1] <= space.width + 0.01
            assert one.y[0] >= -0.01 and one.y[1] <= space.depth + 0.01
            for other in space.taken[:i]:
                assert not one.overlaps(other), (index, one, other)


def test_a_single_point_does_not_tell_its_class(scans: list[Scan]) -> None:
    """Colour, height and normal alone stay far below what shape and context give."""
    settings = ScanSettings(num_views=10, width=100, height=80, cell_m=0.05)
    training = [as_cloud(generate_scan(0, index, settings)) for index in range(28)]
    forest = train_control(training, points_per_cloud=1500, num_trees=8, max_depth=12)
    report = score_control(forest, [as_cloud(scan) for scan in scans[::3]], NAMES)
    assert report.num_points > 500_000
    assert report.mean_iou < 0.25
    assert report.iou[NAMES.index("floor")] > 0.8


def test_control_is_deterministic_and_names_what_is_missing() -> None:
    rng = np.random.default_rng(0)
    xyz = rng.random((200, 3)).astype(np.float32)
    color = rng.integers(0, 255, (200, 3)).astype(np.uint8)
    labels = (xyz[:, 2] > 0.5).astype(np.int16)
    labels[:10] = -1
    cloud = PointCloud("a", xyz, color, np.ones_like(xyz), labels)
    scores = [
        score_control(train_control([cloud], num_jobs=jobs), [cloud], ("low", "high", "none"))
        for jobs in (1, 2)
    ]
    assert scores[0].mean_iou == scores[1].mean_iou > 0.9
    assert np.isnan(scores[0].iou[2])
    assert scores[0].num_points == 190
    with pytest.raises(ValueError, match="colours"):
        train_control([cloud.replace(color=None)])
    with pytest.raises(ValueError, match="labels"):
        train_control([cloud.replace(labels=None)])
    with pytest.raises(ValueError, match="no"):
        train_control([])


def test_boxes_tubes_and_sheets_become_closed_outward_surfaces() -> None:
    material = Material((0.5, 0.5, 0.5))
    prop = Prop()
    one = prop.instance(3)
    prop.box(one, material, (0.0, 2.0), (0.0, 1.0), (0.0, 0.5), yaw=0.4, pitch=0.3)
    prop.tube(one, material, (5.0, 0.0), (0.0, 1.0), (0.3, 0.2), taper=0.8, pitch=1.0)
    mesh = build_mesh(prop, 0.7, (1.0, 2.0, 3.0))
    a, b, c = (mesh.vertices[mesh.faces[:, i]].astype(np.float64) for i in range(3))
    signed = (a * np.cross(b, c)).sum(1) / 6.0
    assert signed[mesh.face_part == 0].sum() == pytest.approx(1.0, rel=1e-4)
    tube = signed[mesh.face_part == 1].sum()
    rings = np.pi * 0.3 * 0.2 * (1 + 0.8 + 0.64) / 3
    assert 0.93 * rings < tube < rings  # a polygon of twelve corners inside the ellipse
    assert (mesh.labels == 3).all()


def test_rods_and_quads_lie_where_they_are_said_to() -> None:
    material = Material((0.5, 0.5, 0.5))
    prop, start, end = Prop(), np.array([1.0, -2.0, 0.5]), np.array([-0.5, 1.0, 2.0])
    one = prop.instance(7)
    prop.rod(one, material, (1.0, -2.0, 0.5), (-0.5, 1.0, 2.0), 0.2, taper=0.5)
    square = np.array([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]]])
    prop.add_quads(one, material, square)
    whole = Prop()
    whole.add(prop, (0.0, 0.0, 3.0), yaw=np.pi / 2)
    mesh = build_mesh(whole, -np.pi / 2, (0.0, 0.0, -3.0))
    a, b, c = (mesh.vertices[mesh.faces[:, i]].astype(np.float64) for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    assert area[mesh.face_part == 1].tolist() == pytest.approx([0.5, 0.5])
    rod = mesh.vertices[np.unique(mesh.faces[mesh.face_part == 0])]
    axis = (end - start) / np.linalg.norm(end - start)
    along = (rod - start) @ axis
    off = np.linalg.norm(rod - start - along[:, None] * axis, axis=1)
    near = along < 0.1
    assert along[near] == pytest.approx(0.0, abs=1e-5)
    assert along[~near] == pytest.approx(np.linalg.norm(end - start), abs=1e-5)
    assert off[near].max() == pytest.approx(0.2, abs=1e-5)
    assert off[~near].max() == pytest.approx(0.1, abs=1e-5)


def test_missing_open3d_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open3d", None)
    with pytest.raises(ImportError, match="pip install open3d.*apt-get install"):
        load_open3d()
