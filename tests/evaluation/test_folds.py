"""Folds of a cross-validation: one matrix of all points, and what must not be joined."""

from __future__ import annotations

import json
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
    return SegReport.of(matrix, **{**fields, **changes})


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
    parts = ["--rings", "0", "2", "--boundary", "0.2"]
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
    assert list(stored["parts"]) == ["0-2 m", "from 2 m", "boundary", "inner"]
    for names in (("0-2 m", "from 2 m"), ("boundary", "inner")):
        counts = sum(np.array(stored["parts"][name]["confusion"]) for name in names)
        np.testing.assert_array_equal(counts, stored["confusion"])
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
    assert f"the scene {VAL_IDS[0]} comes twice" in capsys.readouterr().err
    assert evaluate.main(["--sixfold", str(checkpoint), "--split", "val"]) == 2
    assert "--split does not go with --sixfold" in capsys.readouterr().err
    mixed = write_checkpoint(
        tmp_path / "mixed.pt", small_root, FEATURES, train_split="train+val", val_split="val"
    )
    assert evaluate.main(["--sixfold", str(checkpoint), str(mixed)]) == 2
    assert f"was trained on {VAL_IDS[0]} (data.train_split 'train+val')" in capsys.readouterr().err
    assert evaluate.main(["--checkpoint", str(checkpoint), "--rings", "5"]) == 2
    assert "ascending distances" in capsys.readouterr().err
    (tmp_path / "scores.json").write_text("{}", encoding="utf-8")
    assert evaluate.main(["--sixfold", str(checkpoint), str(tmp_path / "scores.json")]) == 2
    assert "scores.json: not a report of this version (no 'rule')" in capsys.readouterr().err


def test_files_of_six_areas_need_no_data(tmp_path, capsys):
    paths = []
    for area in (1, 2, 4, 5, 6):
        write_json(fold(area), tmp_path / f"{area}.json")
        paths.append(str(tmp_path / f"{area}.json"))
    assert evaluate.main(["--sixfold", *paths]) == 0
    assert f"(5 of 6 folds, without Area_3, {PROTOCOL})" in capsys.readouterr().out
