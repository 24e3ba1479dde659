"""Folds of a cross-validation: one matrix of all points, and what must not be joined."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pointseg.cli import evaluate
from pointseg.evaluation import (
    BENCHMARKS,
    S3DIS_RULE,
    SCANNET_RULE,
    BoundaryArea,
    ConfusionMatrix,
    PartCounter,
    ScoredData,
    SegReport,
    join_folds,
    write_json,
)

from ..helpers.scenes import TRAIN_IDS, VAL_IDS
from .conftest import FEATURES, write_checkpoint
from .oracle import iou_by_sets

NAMES = ("ceiling", "floor", "beam")
AREAS = BENCHMARKS["s3dis"].folds
PROTOCOL = "single pass, raw points"
DATA = ScoredData("s3dis", train_split="other areas", trained_on=())


def points_of(area: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(area)
    target = rng.choice(3, size=40 * area, p=[0.6, 0.35, 0.05])
    return np.where(rng.random(len(target)) < 0.7, target, rng.integers(0, 3, len(target))), target


def fold(area: int, **changes) -> SegReport:
    matrix = ConfusionMatrix(3)
    matrix.update(*points_of(area))
    fields = {
        "names": NAMES,
        "protocol": PROTOCOL,
        "rule": S3DIS_RULE,
        "scene_ids": [f"Area_{area}_office_1", f"Area_{area}_hall_2"],
        "split": f"Area_{area}",
    }
    data = changes.pop("data", DATA)
    return SegReport.of(matrix, **{**fields, **changes}).with_data(data)


def folds(*areas: int) -> list[tuple[str, SegReport]]:
    return [(f"run{area}", fold(area)) for area in areas]


def test_points_of_all_folds_are_scored_as_one_set():
    joined = join_folds(folds(1, 2, 3, 4, 5, 6), S3DIS_RULE, AREAS)
    pred, target = (np.concatenate(a) for a in zip(*map(points_of, range(1, 7)), strict=True))
    iou = iou_by_sets(pred.tolist(), target.tolist(), 3)
    np.testing.assert_allclose(joined.iou, iou, rtol=1e-10)  # the rule adds 1e-10 to counts
    assert joined.mean_iou == pytest.approx(np.mean(iou), rel=1e-10)
    mean_of_means = np.mean([fold(area).mean_iou for area in range(1, 7)])
    assert abs(joined.mean_iou - mean_of_means) > 1e-3  # which is what must not be reported
    assert joined.protocol == f"6-fold, {PROTOCOL}"
    assert joined.split == "+".join(AREAS)
    assert (joined.num_scenes, joined.num_points) == (12, len(target))


def test_missing_areas_are_in_the_protocol():
    joined = join_folds(folds(6, 1, 2, 5), S3DIS_RULE, AREAS)
    assert joined.protocol == f"4 of 6 folds, without Area_3, Area_4, {PROTOCOL}"
    assert joined.headline.endswith(f"({joined.protocol})")
    # two areas held out at once are two of the six
    both = [f"Area_{area}_office_1" for area in (1, 2)]
    pairs = [("a", fold(1, split="Area_1+Area_2", scene_ids=both)), ("b", fold(3))]
    joined = join_folds(pairs, S3DIS_RULE, AREAS)
    assert joined.protocol == f"3 of 6 folds, without Area_4, Area_5, Area_6, {PROTOCOL}"
    assert joined.split == "Area_1+Area_2+Area_3"
    # without a list of all folds there is none to miss
    assert join_folds(folds(1, 2), S3DIS_RULE).protocol == f"2-fold, {PROTOCOL}"


def test_parts_are_joined_too():
    def with_parts(area: int) -> SegReport:
        counter = PartCounter([BoundaryArea(1.0)], 3, lambda _: None)
        report = fold(area)
        return report.with_parts(counter.parts(S3DIS_RULE) | {"half": part_of(report)})

    def part_of(report: SegReport):
        from pointseg.evaluation import Part

        return Part.of("half", ConfusionMatrix.of(report.confusion // 2), S3DIS_RULE)

    joined = join_folds([(str(a), with_parts(a)) for a in (1, 2)], S3DIS_RULE)
    assert list(joined.parts) == ["boundary", "inner", "half"]
    expected = fold(1).confusion // 2 + fold(2).confusion // 2
    np.testing.assert_array_equal(joined.parts["half"].confusion, expected)
    with pytest.raises(ValueError, match="2 has the parts none, 1 has .*--rings and --boundary"):
        join_folds([("1", with_parts(1)), ("2", fold(2))], S3DIS_RULE)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (fold(1), "the split Area_1 comes twice, in run1 and other"),
        (fold(1, split="Area_2"), "the scene Area_1_office_1 comes twice, in run1 and other"),
        (fold(2, split="Area_2+Area_1"), "the split Area_1 comes twice"),
        (fold(2, names=("floor", "ceiling", "beam")), "other classes: floor, ceiling, beam"),
        (fold(2, protocol="10 votes"), "other has the protocol '10 votes', run1 has 'single pass"),
        (fold(2, rule=SCANNET_RULE), "other has the rule 'ScanNet official'"),
        (
            fold(2, data=replace(DATA, trained_on=("Area_2_hall_2",))),
            "other was trained on Area_2_hall_2 .data.train_split 'other areas'., which the scored "
            "split 'Area_2' has too",
        ),
        (
            fold(2, data=replace(DATA, options={"align": True})),
            "other scores s3dis .align True., run1 s3dis; folds are of one dataset, read with",
        ),
        (fold(2, data=replace(DATA, dataset="rooms")), "other scores rooms, run1 s3dis"),
    ],
)
def test_what_cannot_be_joined_is_refused(other, message):
    with pytest.raises(ValueError, match=message.replace("+", r"\+")):
        join_folds([*folds(1), ("other", other)], S3DIS_RULE)


def test_one_fold_or_another_rule_is_refused():
    with pytest.raises(ValueError, match="two or more folds, got 1"):
        join_folds(folds(1), S3DIS_RULE)
    with pytest.raises(ValueError, match="run1: scored by 'S3DIS convention'"):
        join_folds(folds(1, 2), SCANNET_RULE)


# -- the command -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def other_fold(tmp_path_factory, small_root) -> Path:
    """A run that was trained on what the other one is scored on, and the other way round."""
    path = tmp_path_factory.mktemp("fold") / "best.pt"
    return write_checkpoint(path, small_root, FEATURES, train_split="val", val_split="train")


def test_runs_and_files_are_joined_by_the_command(
    checkpoint, other_fold, small_root, tmp_path, capsys
):
    first, joined = tmp_path / "first", tmp_path / "joined"
    parts = ["--boundary", "0.2"]
    assert evaluate.main(["--checkpoint", str(checkpoint), "--out", str(first), *parts]) == 0
    capsys.readouterr()
    sources = [str(first / "evaluation.json"), str(other_fold)]
    assert evaluate.main(["--sixfold", *sources, "--out", str(joined), *parts]) == 0
    printed = capsys.readouterr().out
    stored = json.loads((joined / "evaluation.json").read_text(encoding="utf-8"))
    assert stored["protocol"] == f"2-fold, {PROTOCOL}"
    assert stored["scene_ids"] == [*VAL_IDS, *TRAIN_IDS]
    assert stored["split"] == "val+train"
    assert [row["source"] for row in stored["folds"]] == sources
    assert stored["missing_folds"] == []
    assert list(stored["parts"]) == ["boundary", "inner"]
    counts = sum(np.array(part["confusion"]) for part in stored["parts"].values())
    np.testing.assert_array_equal(counts, stored["confusion"])
    assert (stored["data"]["dataset"], stored["data"]["trained_on"]) == ("scannet", [])
    assert "split val+train of scannet: 5 of 1513 scenes" in printed
    only = json.loads((first / "evaluation.json").read_text(encoding="utf-8"))
    assert 0 < only["num_points"] < stored["num_points"]
    assert printed.splitlines()[-1] == f"mIoU {stored['mean_iou']:.3f} (2-fold, {PROTOCOL})"
    assert "another class within 0.2 m" in " ".join(printed.split())


def test_what_the_command_refuses_it_refuses_before_any_work(
    checkpoint, small_root, tmp_path, capsys, monkeypatch
):
    def no_work(*_, **__):
        raise AssertionError("a run was scored")

    monkeypatch.setattr(evaluate, "score", no_work)
    assert evaluate.main([]) == 2
    assert evaluate.main(["--checkpoint", str(checkpoint), "--sixfold", str(checkpoint)]) == 2
    assert "pass either --checkpoint, or --sixfold" in capsys.readouterr().err
    assert evaluate.main(["--sixfold", str(checkpoint), str(checkpoint)]) == 2
    assert "the split val comes twice" in capsys.readouterr().err
    assert evaluate.main(["--sixfold", str(checkpoint)]) == 2
    assert "two or more folds, got 1" in capsys.readouterr().err
    assert evaluate.main(["--sixfold", str(checkpoint), "--split", "val"]) == 2
    assert "--split: it does not go with --sixfold" in capsys.readouterr().err
    mixed = write_checkpoint(
        tmp_path / "mixed.pt", small_root, FEATURES, train_split="train+val", val_split="val"
    )
    assert evaluate.main(["--sixfold", str(checkpoint), str(mixed)]) == 2
    assert f"was trained on {VAL_IDS[0]} (data.train_split 'train+val')" in capsys.readouterr().err
    assert evaluate.main(["--checkpoint", str(checkpoint), "--overwrite"]) == 2
    assert "--overwrite: nothing is written without --out" in capsys.readouterr().err
    (tmp_path / "scores.json").write_text("{}", encoding="utf-8")
    assert evaluate.main(["--sixfold", str(checkpoint), str(tmp_path / "scores.json")]) == 2
    assert "scores.json: not a report of this version (no 'rule')" in capsys.readouterr().err
    assert evaluate.main(["--sixfold", str(checkpoint), str(tmp_path / "nothere.json")]) == 2
    assert "nothere.json: no such file; pass the evaluation.json" in capsys.readouterr().err


def test_folds_that_cannot_be_joined_are_refused_before_any_work(
    checkpoint, other_fold, small_root, tmp_path, capsys, monkeypatch
):
    scores = str(tmp_path / "evaluation.json")
    assert evaluate.main(["--checkpoint", str(checkpoint), "--out", str(tmp_path)]) == 0
    synthetic = write_checkpoint(
        tmp_path / "synthetic.pt",
        small_root,
        FEATURES,
        dataset="synthetic",
        train_split="val",
        val_split="train",
    )
    write_json(fold(1), tmp_path / "area.json")

    def no_work(*_, **__):
        raise AssertionError("a run was scored")

    monkeypatch.setattr(evaluate, "score", no_work)
    for sources, message in (
        ([scores, str(other_fold), "--boundary", "0.2"], "has the parts"),
        ([scores, str(other_fold), "--tta", "flip"], "has the protocol 'TTA: 4 views"),
        ([scores, str(synthetic)], f"scores synthetic, {scores} scannet; folds are of one dataset"),
        ([str(tmp_path / "area.json"), str(other_fold)], "have other classes"),
        ([scores, scores, "--boundary", "1"], "--boundary: nothing is scored again"),
        ([scores, scores, "--rings"], "--rings: nothing is scored again"),
        ([scores, scores, "--tta", "flip", "--device", "cpu"], "--device, --tta: nothing"),
        ([scores, scores, "--max-voxels", "9", "--margin", "1"], "--max-voxels, --margin: nothing"),
        ([scores, scores, "--set", "data.root=x"], "--set: nothing is scored again"),
    ):
        capsys.readouterr()
        assert evaluate.main(["--sixfold", *sources]) == 2
        assert message in capsys.readouterr().err


def test_files_do_not_hide_what_a_model_was_trained_on(checkpoint, tmp_path, capsys):
    """One checkpoint, scored on what it was trained on and on what it was not."""
    paths = []
    for split in ("val", "train"):
        argv = ["--checkpoint", str(checkpoint), "--split", split, "--out", str(tmp_path / split)]
        assert evaluate.main(argv) == 0
        paths.append(tmp_path / split / "evaluation.json")
    val, train = (json.loads(path.read_text(encoding="utf-8")) for path in paths)
    assert (val["data"]["trained_on"], train["data"]["trained_on"]) == ([], list(TRAIN_IDS))
    capsys.readouterr()
    assert evaluate.main(["--sixfold", *map(str, paths)]) == 2
    assert f"was trained on {TRAIN_IDS[0]} (data.train_split 'train')" in capsys.readouterr().err
    for data, message in (
        ("absent", "no 'data'"),
        (None, "does not say what the model was trained on"),
        ({**val["data"], "train_split": None, "trained_on": None}, "does not say what the model"),
        ({**val["data"], "trained_on": None}, "scenes of data.train_split 'train' are not known"),
    ):
        stored = {key: value for key, value in val.items() if key != "data"}
        paths[0].write_text(json.dumps(stored if data == "absent" else {**stored, "data": data}))
        assert evaluate.main(["--sixfold", *map(str, paths)]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert ("write it again with `pointseg evaluate --out`" in error) == (
            "not known" not in error
        )


def test_files_of_six_areas_need_no_data(tmp_path, capsys):
    paths = []
    for area, rooms in {1: 44, 2: 40, 4: 49, 5: 68, 6: 48}.items():
        report = fold(area, data=replace(DATA, num_scenes_in_release=rooms))
        write_json(report, tmp_path / f"{area}.json")
        paths.append(str(tmp_path / f"{area}.json"))
    assert evaluate.main(["--sixfold", *paths]) == 0
    printed = capsys.readouterr().out
    assert f"(5 of 6 folds, without Area_3, {PROTOCOL})" in printed
    assert "of s3dis: 10 of 249 scenes" in " ".join(printed.split())
