"""--tta, --max-voxels and --margin of the commands that predict, on a tiny data set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pointseg.cli import evaluate, export_preds, predict
from pointseg.evaluation import Protocol, margin_of, parse_views, vote_cloud
from pointseg.experiment import build_dataset, load_trained
from pointseg.nn import folded

from ..helpers.scenes import VAL_IDS
from .conftest import FEATURES, write_checkpoint

VIEWS = "rotations=2 scales=1,1.05"


@pytest.fixture(scope="module")
def exported(tmp_path_factory, checkpoint) -> Path:
    out = tmp_path_factory.mktemp("voted") / "preds"
    argv = ["--checkpoint", str(checkpoint), "--out", str(out), "--format", "npy", "--scores"]
    assert export_preds.main([*argv, "--tta", VIEWS]) == 0
    return out


def test_votes_are_exported_with_their_scores(exported, checkpoint):
    trained = load_trained(checkpoint)
    model = folded(trained.model)  # as the command does, so that sums are rounded alike
    scenes = build_dataset(trained.config, "val", training=False)
    for index, scene in enumerate(VAL_IDS):
        cloud = scenes.point_cloud(index)
        protocol = Protocol(parse_views(VIEWS))
        votes = vote_cloud(model, cloud, 0.1, FEATURES, protocol)
        scores = np.load(exported / f"{scene}.scores.npy")
        assert scores.dtype == np.float16 and scores.shape == (cloud.num_points, 20)
        np.testing.assert_array_equal(scores, votes.scores().astype(np.float16))
        labels = np.load(exported / f"{scene}.npy")
        np.testing.assert_array_equal(labels, votes.labels())
        single = vote_cloud(model, cloud, 0.1, FEATURES).labels()
        assert (labels != single).any()  # else the views would show nothing


def test_scores_are_those_of_the_exported_labels(exported, checkpoint, tmp_path, capsys):
    argv = ["--checkpoint", str(checkpoint), "--out", str(tmp_path), "--tta", VIEWS]
    assert evaluate.main([*argv, "--set", "data.num_workers=2"]) == 0
    stored = json.loads((tmp_path / "evaluation.json").read_text())
    assert stored["protocol"] == (
        "TTA: 4 views, 2 rotations x 2 scales (1, 1.05), votes summed in logits, raw points"
    )
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"({stored['protocol']})")
    trained = load_trained(checkpoint)
    scenes = build_dataset(trained.config, "val", training=False)
    right = total = 0
    for index, scene in enumerate(VAL_IDS):
        truth = scenes.point_cloud(index).labels
        labels = np.load(exported / f"{scene}.npy")
        right += (labels == truth)[truth >= 0].sum()
        total += (truth >= 0).sum()
    assert stored["accuracy"] == pytest.approx(right / total, rel=1e-12)


def test_tiles_with_the_margin_of_the_model_change_no_label(tmp_path, small_root, capsys):
    model = {"name": "minkunet", "depths": [1, 1], "widths": [6, 6], "stem_kernel": 3}
    checkpoint = write_checkpoint(tmp_path / "shallow.pt", small_root, FEATURES, model)
    margin = margin_of(load_trained(checkpoint).model)
    for name, options in {
        "whole": [],
        "auto": ["--max-voxels", "1500", "--margin", "auto"],
        "narrow": ["--max-voxels", "800", "--margin", "1"],
    }.items():
        out = str(tmp_path / name)
        argv = ["--checkpoint", str(checkpoint), "--out", out, "--format", "npy", *options]
        assert export_preds.main(argv) == 0
        said = capsys.readouterr()
        assert ("the model looks" in said.err) == (name == "narrow")
        if name == "auto":
            assert f"tiles of at most 1,500 voxels with a margin of {margin}" in said.out
    whole, auto, narrow = (
        np.concatenate([np.load(tmp_path / name / f"{scene}.npy") for scene in VAL_IDS])
        for name in ("whole", "auto", "narrow")
    )
    np.testing.assert_array_equal(auto, whole)
    assert (narrow != whole).any()


def test_own_clouds_are_voted_on(tmp_path, checkpoint, exported, small_root, capsys):
    trained = load_trained(checkpoint)
    cloud = build_dataset(trained.config, "val", training=False).point_cloud(0)
    np.save(tmp_path / "room.npy", np.hstack([cloud.xyz_m, cloud.color]).astype(np.float32))
    argv = [str(tmp_path / "room.npy"), "--checkpoint", str(checkpoint), "--no-page"]
    assert predict.main([*argv, "--out", str(tmp_path / "out"), "--tta", VIEWS]) == 0
    assert "(TTA: 4 views, 2 rotations x 2 scales (1, 1.05), votes" in capsys.readouterr().out
    expected = np.load(exported / f"{VAL_IDS[0]}.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "room.npy"), expected)


def test_arguments_that_do_not_go_together_are_refused(tmp_path, small_root, checkpoint, capsys):
    argv = ["--checkpoint", str(checkpoint)]
    for options, message in (
        (["--margin", "3"], "pass --max-voxels too"),
        (["--tta", "twice"], "unknown views 'twice'"),
        (["--max-voxels", "0"], "max_voxels must be at least 1"),
        (["--max-voxels", "40", "--margin", "20"], "--max-voxels"),
    ):
        assert evaluate.main([*argv, *options]) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        evaluate.main([*argv, "--margin", "wide"])
    assert "expected a number of voxels or auto" in capsys.readouterr().err
    for options in (["--tta", "flip"], ["--max-voxels", "900"], ["--scores"]):
        assert export_preds.main([*argv, "--out", str(tmp_path), "--choices", *options]) == 2
        assert "--choices are those of a single pass" in capsys.readouterr().err
