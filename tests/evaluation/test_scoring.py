"""One label for every raw point, and the report of a single pass."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from pointseg.data import LabelMap, collate
from pointseg.evaluation import (
    NUSCENES_RULE,
    S3DIS_RULE,
    SCANNET_RULE,
    ConfusionMatrix,
    SceneScore,
    SegReport,
    evaluate_single_pass,
    predict_points,
    predict_voxels,
    read_json,
    write_heatmap,
    write_json,
)

from .oracle import accuracy_by_points, iou_by_sets, mean_of_present
from .stand_ins import LargestFeature, voxel_scene

LABELS = LabelMap(
    "toy", ("wall", "floor", "chair", "lamp"), (1, 2, 5, 35), np.zeros((4, 3), np.uint8)
)
VAL = {"rule": SCANNET_RULE, "split": "val"}


def batches():
    scenes = [voxel_scene(f"scene{i}", 20 + i, 90 + 7 * i, seed=i) for i in range(3)]
    return scenes, [collate(scenes[:2]), collate(scenes[2:])]


def test_every_point_gets_the_class_of_its_voxel():
    scenes, (batch, _) = batches()
    predictions = predict_points(LargestFeature(), batch)
    assert len(predictions) == 2
    for scene, pred in zip(scenes, predictions, strict=False):
        assert pred.dtype == np.int16
        expected = scene.feats.numpy().argmax(axis=1)[scene.point_to_voxel.numpy()]
        np.testing.assert_array_equal(pred, expected)


def test_every_scene_has_scores_of_its_own():
    scenes, parts = batches()
    report = evaluate_single_pass(LargestFeature(), parts, LABELS, **VAL)
    assert [scene.scene_id for scene in report.scenes] == [scene.scene_id for scene in scenes]
    for scene, score in zip(scenes, report.scenes, strict=True):
        alone = evaluate_single_pass(LargestFeature(), [collate([scene])], LABELS, **VAL)
        assert (score.mean_iou, score.accuracy) == (alone.mean_iou, alone.accuracy)
        assert score.num_points == alone.num_points
    assert sum(score.num_points for score in report.scenes) == report.num_points


def test_a_scene_without_a_labelled_point_has_no_score(tmp_path):
    empty = SceneScore.of("dark", ConfusionMatrix(2), S3DIS_RULE)  # whose mean would be 0
    assert math.isnan(empty.mean_iou) and math.isnan(empty.accuracy)
    confusion = ConfusionMatrix.of([[2, 0, 0], [1, 0, 0]])
    report = SegReport.of(confusion, ("a", "b"), "p", S3DIS_RULE, ("room", "dark"), "val")
    report = report.with_scenes([SceneScore.of("room", confusion, S3DIS_RULE), empty])
    write_json(report, tmp_path / "evaluation.json")
    stored = json.loads((tmp_path / "evaluation.json").read_text())
    assert stored["scenes"][1] == {
        "scene_id": "dark",
        "mean_iou": None,
        "accuracy": None,
        "num_points": 0,
    }
    again = read_json(tmp_path / "evaluation.json", lambda name: S3DIS_RULE)
    assert again.scenes[0] == report.scenes[0] and math.isnan(again.scenes[1].mean_iou)
    del stored["scenes"]  # as older versions wrote
    (tmp_path / "evaluation.json").write_text(json.dumps(stored), encoding="utf-8")
    assert read_json(tmp_path / "evaluation.json", lambda name: S3DIS_RULE).scenes == ()


def test_the_models_modes_come_back():
    model = LargestFeature().train()
    model.dropout.eval()  # a frozen part of a training model
    predict_points(model, batches()[1][0])
    assert model.training and not model.dropout.training
    with pytest.raises(ValueError, match="nan or infinity"):
        model.scale.data.fill_(math.nan)
        predict_points(model, batches()[1][0])
    assert model.training and not model.dropout.training


def test_a_model_of_the_wrong_shape_is_named():
    class Short(nn.Module):
        def forward(self, x):
            return x.feats[1:]

    batch = batches()[1][0]
    with pytest.raises(ValueError, match=rf"\[{batch.voxels.num_voxels}, C\]"):
        predict_voxels(Short(), batch.voxels)


def test_report_equals_sets_of_all_points():
    scenes, loader = batches()
    seen = []
    report = evaluate_single_pass(
        LargestFeature(), loader, LABELS, on_scene=lambda *scene: seen.append(scene), **VAL
    )
    pred, target = [], []
    for scene in scenes:
        pred += scene.feats.argmax(dim=1)[scene.point_to_voxel].tolist()
        target += scene.point_labels.tolist()
    iou = iou_by_sets(pred, target, 4)
    np.testing.assert_allclose(report.iou, iou, rtol=1e-15)  # one float64 division
    assert report.mean_iou == pytest.approx(mean_of_present(iou), rel=1e-14)
    assert report.accuracy == pytest.approx(accuracy_by_points(pred, target, 4), rel=1e-14)
    assert report.protocol == "single pass, raw points"
    assert report.headline == f"mIoU {report.mean_iou:.3f} (single pass, raw points)"
    assert report.scene_ids == ("scene0", "scene1", "scene2") and report.num_scenes == 3
    assert report.num_points + report.num_ignored == len(pred)
    assert [scene for scene, _, _ in seen] == list(report.scene_ids)
    assert np.concatenate([p for _, p, _ in seen]).tolist() == pred
    assert np.concatenate([t for _, _, t in seen]).tolist() == target
    with pytest.raises(ValueError, match="read-only"):
        report.confusion[0, 0] = 1


def test_how_scenes_are_batched_does_not_matter():
    scenes, loader = batches()
    apart = evaluate_single_pass(LargestFeature(), [collate([s]) for s in scenes], LABELS, **VAL)
    together = evaluate_single_pass(LargestFeature(), loader, LABELS, **VAL)
    np.testing.assert_array_equal(apart.confusion, together.confusion)


def test_what_cannot_be_scored_is_refused():
    scenes, loader = batches()
    with pytest.raises(ValueError, match="scene0 comes twice"):
        evaluate_single_pass(LargestFeature(), [loader[0], loader[0]], LABELS, **VAL)
    with pytest.raises(ValueError, match="no scene"):
        evaluate_single_pass(LargestFeature(), [], LABELS, **VAL)
    blind = collate([dataclasses.replace(scenes[0], point_labels=None)])
    with pytest.raises(ValueError, match="no labels to score against in scene0"):
        evaluate_single_pass(LargestFeature(), [blind], LABELS, **VAL)


# --- the report's forms ------------------------------------------------------------------------


@pytest.fixture
def report():
    matrix = ConfusionMatrix(4)
    matrix.update(np.array([0, 0, 1, 2, 9, 1]), np.array([0, 0, 0, 1, 1, -1]))
    return SegReport.of(
        matrix, LABELS.names, "single pass, raw points", SCANNET_RULE, ["a", "b"], "val"
    )


def test_the_mean_says_what_it_averages(report):
    assert report.mean_statement == "mean over 3 of 4 classes (absent: lamp)"
    np.testing.assert_allclose(report.iou, [2 / 3, 0, 0, math.nan], rtol=1e-15)
    matrix = ConfusionMatrix.of(report.confusion)
    counted = SegReport.of(matrix, LABELS.names, "", S3DIS_RULE, ["a"], "val")
    assert counted.mean_statement == "mean over 4 of 4 classes (absent, counted as 0: lamp)"


def test_further_numbers_are_in_table_and_json(tmp_path):
    matrix = ConfusionMatrix(4)
    matrix.update(np.array([0, 0, 1]), np.array([0, 0, 0]))
    report = SegReport.of(matrix, LABELS.names, "", NUSCENES_RULE, ["a"], "val")
    assert report.to_dict()["further"] == {"fwIoU": pytest.approx(2 / 3)}
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(report.table())
    assert "fwIoU" in console.export_text()


def test_json_holds_everything_and_nan_as_null(report, tmp_path):
    path = tmp_path / "run" / "evaluation.json"
    write_json(report, path, {"checkpoint": "best.pt"})
    stored = json.loads(path.read_text())
    assert stored["checkpoint"] == "best.pt"
    assert stored["protocol"] == "single pass, raw points"
    assert (stored["rule"], stored["split"], stored["num_scenes"]) == ("ScanNet official", "val", 2)
    assert stored["num_classes_in_mean"] == 3
    assert stored["classes"][3] == {"name": "lamp", "iou": None, "accuracy": None, "num_points": 0}
    assert stored["confusion"] == report.confusion.tolist()
    assert stored["scene_ids"] == ["a", "b"]
    with pytest.raises(FileExistsError):
        write_json(report, path)
    write_json(report, path, overwrite=True)
    assert [p.name for p in path.parent.iterdir()] == ["evaluation.json"]


def test_table_names_protocol_rule_and_mean(report):
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(report.table())
    text = " ".join(console.export_text().split())
    for part in (
        "single pass, raw points",
        "ScanNet official",
        "split val: 2 scenes",
        "mean over 3 of 4",
        "0.667",
        "lamp",
    ):
        assert part in text


def test_heat_map_is_one_file_of_row_shares(report, tmp_path):
    path = tmp_path / "confusion.html"
    write_heatmap(report, path)
    page = path.read_text(encoding="utf-8")
    assert "<script src" not in page.lower() and "plotly.js" in page.lower()
    assert "mIoU 0.222 (single pass, raw points)" in page
    assert "(none)" in page and "predicted" in page
    figure_part = page[page.rindex("Plotly.newPlot") :]
    assert "66.66666666666667" in figure_part and "null" in figure_part


@pytest.mark.browser
def test_heat_map_opens_without_errors(report, tmp_path, browser):
    path = tmp_path / "confusion.html"
    write_heatmap(report, path)
    page = browser.new_page()
    messages = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.goto(path.as_uri())
    page.wait_for_selector(".heatmaplayer image, .heatmaplayer path")
    labels = page.locator(".ytick text").all_text_contents()
    page.close()
    assert sorted(labels) == sorted(LABELS.names)
    assert messages == []


def test_empty_batch_of_voxels_has_no_labels():
    batch = collate([voxel_scene(num_voxels=1, num_points=1)])
    empty = torch.zeros(0, 4, dtype=torch.int32)
    voxels = type(batch.voxels)(
        batch.voxels.feats[:0], type(batch.voxels.grid)(empty, num_scenes=1)
    )
    assert predict_voxels(LargestFeature(), voxels).shape == (0,)
