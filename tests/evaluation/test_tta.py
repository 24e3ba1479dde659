"""Views are fixed transforms, votes are sums of logits on raw points, and both are named."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pointseg.data import LabelMap, PointCloud, SceneDataset, collate, voxelize_cloud
from pointseg.evaluation import (
    SCANNET_RULE,
    SINGLE_PASS,
    Protocol,
    Tiling,
    View,
    ViewedScenes,
    Views,
    evaluate,
    evaluate_single_pass,
    parse_views,
    predict_cloud,
    predict_points,
    predict_scenes,
    vote_cloud,
    vote_scenes,
)
from pointseg.evaluation.score_files import scores_path, write_scores
from pointseg.evaluation.views import PRESETS
from pointseg.models import build_model

from .stand_ins import LargestFeature

LABELS = LabelMap("toy", ("a", "b", "c"), (1, 2, 3), np.zeros((3, 3), np.uint8))
SIZE_M = 0.5
VAL = {"rule": SCANNET_RULE, "split": "val"}


def make_cloud(num_points: int = 300, seed: int = 0, **changes: object) -> PointCloud:
    """Points at multiples of 1/8 m, odd ones: every view below moves them without rounding."""
    rng = np.random.default_rng(seed)
    eighths = 2 * rng.integers(-20, 20, (num_points, 3)) + 1
    eighths[:2] = [[-39, -39, -39], [41, 41, 39]]  # the middle in x and y is 1/8
    cloud = PointCloud(
        f"scene{seed}",
        (eighths / 8).astype(np.float32),
        color=rng.integers(0, 256, (num_points, 3)).astype(np.uint8),
        labels=rng.integers(-1, 3, num_points).astype(np.int16),
    )
    return cloud.replace(**changes)


class Position(nn.Module):
    """Logits are whole numbers made of the coordinates of a voxel: sums of them are exact."""

    def forward(self, x) -> Tensor:
        c = x.grid.coords[:, 1:].float()
        return torch.stack([c[:, 0], c[:, 1] * 2, c[:, 2] - c[:, 0]], dim=1)


def position_by_hand(xyz: np.ndarray) -> np.ndarray:
    x, y, z = np.floor(xyz / SIZE_M).T
    return np.stack([x, 2 * y, z - x], axis=1)


def moved_by_hand(xyz: np.ndarray, view: View, middle: float) -> np.ndarray:
    x, y, z = xyz.astype(np.float64).T
    x, y = x - middle, y - middle
    if view.mirrored:
        x = -x
    for _ in range(round(view.yaw_deg / 90)):
        x, y = -y, x
    moved = np.stack([x + middle, y + middle, z], axis=1) * view.scale
    return moved + view.offset * SIZE_M


# --- views ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("views", "count"),
    [
        (Views(), 1),
        (Views(rotations=3), 3),
        (Views(flips="xy"), 4),
        (Views(rotations=4, flips="x"), 8),
        (Views(rotations=4, flips="xy"), 8),  # both axes mirrored is half a turn
        (Views(rotations=3, flips="xy"), 12),
        (Views(rotations=14, flips="xy", offsets=2), 56),
        (Views(rotations=4, flips="y", scales=(0.5, 1, 2), offsets=3), 72),
    ],
)
def test_every_distinct_view_comes_once(views, count):
    assert len(views) == len(list(views)) == len(set(views)) == count
    assert next(iter(dataclasses.replace(views, scales=(1.0,)))) == View()
    moved = [view.apply(make_cloud(40), SIZE_M).xyz_m for view in views]
    alike = [np.abs(a - b).max() < 1e-3 for i, a in enumerate(moved) for b in moved[:i]]
    assert not any(alike)


def test_a_view_moves_points_and_turns_normals():
    normal = np.array([[1, 0, 0], [0, 0.6, 0.8]], np.float32)
    cloud = PointCloud("pair", np.array([[0, 0, 0], [4, 2, 1]], np.float32), normal=normal)
    seen = View(yaw_deg=90, mirrored=True).apply(cloud, SIZE_M)
    # about (2, 1): (0, 0) is mirrored to (4, 0), which a quarter turn brings to (3, 3)
    np.testing.assert_array_equal(seen.xyz_m, [[3, 3, 0], [1, -1, 1]])
    np.testing.assert_array_equal(seen.normal, np.array([[0, -1, 0], [-0.6, 0, 0.8]], np.float32))
    kept = View(yaw_deg=180, about="origin", scale=2).apply(cloud, SIZE_M)
    np.testing.assert_array_equal(kept.xyz_m, [[0, 0, 0], [-8, -4, 2]])
    np.testing.assert_array_equal(
        View(offset=0.5).apply(cloud, 0.2).xyz_m[0], np.float32([0.1] * 3)
    )
    assert View().apply(cloud, SIZE_M) is cloud
    np.testing.assert_array_equal(cloud.xyz_m[1], [4, 2, 1])


def test_views_are_read_from_text():
    assert parse_views("dihedral") == PRESETS["dihedral"] == Views(rotations=4, flips="x")
    assert parse_views("rotations=2 flips=xy scales=0.95,1,1.05 offsets=2") == Views(
        2, "xy", (0.95, 1.0, 1.05), 2
    )
    assert parse_views("full about=origin scales=1").about == "origin"
    assert parse_views("full", about="origin").about == "origin"
    assert parse_views("full about=middle", about="origin").about == "middle"
    for text, message in {
        "": "got nothing",
        "dihedrals": "unknown views 'dihedrals' .valid: flip",
        "rotate flips": "flips must be one of",
        "rotate rotations": "rotations: invalid literal",
        "spins=4": "spins=4",
        "rotations=2 rotations=4": "once",
        "rotations=four": "rotations=four",
        "rotations=0": "rotations must be at least 1",
        "offsets=0": "offsets must be",
        "flips=z": "flips must be one of none, x, y, xy",
        "scales=1,1": "scales must be",
        "scales=-1": "scales must be",
        "scales=nan": "scales must be",
        "about=here": "about must be one of middle, origin",
    }.items():
        with pytest.raises(ValueError, match=message):
            parse_views(text)


def test_the_protocol_is_named():
    assert SINGLE_PASS.name == "single pass, raw points"
    assert Protocol(PRESETS["full"], Tiling(20_000, 16)).name == (
        "TTA: 24 views, 4 rotations x 2 flips (x) x 3 scales (0.95, 1, 1.05), votes summed in "
        "logits, tiles of at most 20,000 voxels with a margin of 16, raw points"
    )
    assert Protocol(Views(2, scales=(0.9,), offsets=2, about="origin")).name == (
        "TTA: 4 views, 2 rotations x 1 scale (0.9) x 2 grid offsets, about the origin, votes "
        "summed in logits, raw points"
    )
    assert "origin" not in Protocol(Views(offsets=2, about="origin")).name  # nothing is turned
    assert "8 views, 4 rotations x 4 flips (xy)" in Protocol(Views(4, "xy")).name


# --- votes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "views",
    [Views(), Views(4, "xy"), Views(2, "y", (0.5, 1, 2), 2), Views(rotations=4, offsets=4)],
    ids=str,
)
def test_votes_are_the_sums_of_all_views(views):
    cloud = make_cloud()
    votes = vote_cloud(Position(), cloud, SIZE_M, ["ones"], Protocol(views))
    expected = sum(position_by_hand(moved_by_hand(cloud.xyz_m, view, 1 / 8)) for view in views)
    assert votes.logits.dtype == np.float32 and votes.num_views == len(views)
    np.testing.assert_array_equal(votes.logits, expected)
    np.testing.assert_array_equal(votes.target, cloud.labels)
    labels = predict_cloud(Position(), cloud, SIZE_M, ["ones"], Protocol(views))
    assert labels.dtype == np.int16
    np.testing.assert_array_equal(labels, expected.argmax(axis=1))  # numpy's is the first, too
    tiled = Protocol(views, Tiling(200, 0))
    np.testing.assert_array_equal(predict_cloud(Position(), cloud, SIZE_M, ["ones"], tiled), labels)


def test_one_identity_view_is_the_single_pass_to_the_last_bit():
    torch.manual_seed(0)
    model = build_model("minkunet", 3, 3, depths=[1, 1], widths=[8, 8], stem_width=8)
    cloud = make_cloud(800)
    batch = collate([voxelize_cloud(cloud, SIZE_M, ["color"])])
    with torch.no_grad():
        logits = model.eval()(batch.voxels)[batch.point_to_voxel]
    votes = vote_cloud(model, cloud, SIZE_M, ["color"])
    np.testing.assert_array_equal(votes.logits, logits)
    (single,) = predict_points(model, batch)
    assert len(np.unique(single)) > 1
    np.testing.assert_array_equal(votes.labels(), single)
    np.testing.assert_array_equal(predict_cloud(model, cloud, SIZE_M, ["color"]), single)


def test_a_model_that_views_cannot_change_gives_the_same_labels():
    # one point in the middle of each voxel, so that every view keeps them apart
    cells = np.stack(np.meshgrid(*[np.arange(5)] * 3), axis=-1).reshape(-1, 3)
    color = np.random.default_rng(1).integers(0, 256, (125, 3)).astype(np.uint8)
    cloud = PointCloud("cells", ((cells + 0.5) * SIZE_M).astype(np.float32), color=color)
    single = predict_cloud(LargestFeature(), cloud, SIZE_M, ["color"])
    voted = predict_cloud(LargestFeature(), cloud, SIZE_M, ["color"], Protocol(Views(4, "xy")))
    np.testing.assert_array_equal(voted, single)
    np.testing.assert_array_equal(single, color.astype(int).argmax(axis=1))


def test_ties_go_to_the_lower_class_and_scores_are_means():
    class Constant(nn.Module):
        def forward(self, x) -> Tensor:
            return torch.tensor([[0.0, 2.0, 2.0]]).expand(x.num_voxels, 3)

    votes = vote_cloud(Constant(), make_cloud(20), SIZE_M, ["ones"], Protocol(Views(3)))
    assert (votes.labels() == 1).all() and (votes.logits[:, 1] == 6).all()
    scores = votes.scores()
    assert scores.dtype == np.float16 and scores.shape == (20, 3)
    weights = np.exp([0.0, 2.0, 2.0])
    np.testing.assert_allclose(scores[0], weights / weights.sum(), rtol=1e-3)  # half precision


def test_scores_are_written_once(tmp_path):
    scores = np.full((4, 3), 1 / 3, np.float16)
    assert write_scores(tmp_path, "a", scores) == scores_path(tmp_path, "a")
    np.testing.assert_array_equal(np.load(tmp_path / "a.scores.npy"), scores)
    with pytest.raises(FileExistsError):
        write_scores(tmp_path, "a", scores)
    with pytest.raises(TypeError, match="expected float16"):
        write_scores(tmp_path, "b", scores.astype(np.float32))


@pytest.mark.parametrize("protocol", [SINGLE_PASS, Protocol(Views(4), Tiling(150, 0))], ids=str)
def test_context_is_seen_and_gets_no_prediction(protocol):
    context = np.arange(300) % 3 == 0
    cloud = make_cloud(color=None, context=context)
    whole = vote_cloud(Position(), cloud.replace(context=None), SIZE_M, ["ones"], protocol)
    own = vote_cloud(Position(), cloud, SIZE_M, ["ones"], protocol)
    np.testing.assert_array_equal(own.logits, whole.logits[~context])
    np.testing.assert_array_equal(own.target, cloud.labels[~context])
    nobody = cloud.replace(context=np.ones(300, bool))
    assert predict_cloud(Position(), nobody, SIZE_M, ["ones"], protocol).shape == (0,)


@pytest.mark.parametrize(
    "protocol", [SINGLE_PASS, Protocol(PRESETS["full"], Tiling(1, 5))], ids=str
)
def test_a_single_point_without_labels(protocol):
    cloud = PointCloud("dot", np.array([[0.3, -2, 7]], np.float32))
    votes = vote_cloud(Position(), cloud, SIZE_M, ["ones"], protocol)
    assert votes.logits.shape == (1, 3) and votes.target is None
    assert predict_cloud(Position(), cloud, SIZE_M, ["ones"], protocol).shape == (1,)
    with pytest.raises(ValueError, match="empty: the cloud has no points"):
        empty = PointCloud("empty", np.zeros((0, 3), np.float32))
        predict_cloud(Position(), empty, SIZE_M, ["ones"], protocol)


# --- over a data set -----------------------------------------------------------------------------


def dataset(*clouds: PointCloud) -> SceneDataset:
    return SceneDataset(clouds, SIZE_M, ["ones"], label_map=LABELS)


def test_scores_under_views_are_those_of_the_votes():
    clouds = [make_cloud(100 + 9 * seed, seed) for seed in range(3)]
    protocol = Protocol(Views(4, "x"))
    viewed = ViewedScenes(dataset(*clouds), protocol.views)
    assert len(viewed) == 24
    scenes = [viewed[i] for i in range(len(viewed))]
    seen = []
    report = evaluate(
        Position(), map(collate, zip(scenes)), LABELS, protocol, lambda *s: seen.append(s), **VAL
    )
    assert report.protocol == protocol.name and report.scene_ids == ("scene0", "scene1", "scene2")
    expected = np.zeros((3, 3), int)
    for cloud, (scene_id, labels, _) in zip(clouds, seen, strict=True):
        assert cloud.scene_id == scene_id
        by_hand = predict_cloud(Position(), cloud, SIZE_M, ["ones"], protocol)
        np.testing.assert_array_equal(labels, by_hand)
        valid = cloud.labels >= 0
        np.add.at(expected, (cloud.labels[valid], labels[valid]), 1)
    np.testing.assert_array_equal(report.confusion[:, :3], expected)
    # how views are batched does not matter, nor does a neighbour in the batch
    pairs = [collate(scenes[i : i + 2]) for i in range(0, 24, 2)]
    again = evaluate(Position(), pairs, LABELS, protocol, **VAL)
    np.testing.assert_array_equal(again.confusion, report.confusion)
    with pytest.raises(IndexError, match=r"\[0, 24\)"):
        viewed[24]


def test_one_view_of_a_data_set_is_the_data_set():
    scenes = dataset(make_cloud())
    (scene,) = [ViewedScenes(scenes, Views())[0]]
    for name in ("coords", "feats", "voxel_labels", "point_to_voxel", "point_labels"):
        assert torch.equal(getattr(scene, name), getattr(scenes[0], name))
    single = evaluate_single_pass(Position(), [collate([scene])], LABELS, **VAL)
    assert single.protocol == "single pass, raw points"


def test_missing_views_and_labels_are_refused():
    protocol = Protocol(Views(4))
    batches = [
        collate([scene])
        for scene in map(ViewedScenes(dataset(make_cloud()), protocol.views).__getitem__, range(3))
    ]
    with pytest.raises(ValueError, match="scene0 came in 3 of 4 views"):
        list(predict_scenes(Position(), batches, protocol))
    with pytest.raises(ValueError, match="scene0 comes twice"):
        evaluate(Position(), batches * 4, LABELS, protocol, **VAL)
    blind = dataset(make_cloud(labels=None))
    batches = [collate([blind[0]])]
    with pytest.raises(ValueError, match="no labels to score against in scene0"):
        evaluate(Position(), batches, LABELS, SINGLE_PASS, **VAL)
    (votes,) = vote_scenes(Position(), batches)
    assert votes.target is None
