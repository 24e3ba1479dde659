"""A real lidar scan handed in to SemanticKITTI; skipped where no real data is set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pointseg.cli import export_preds
from pointseg.data import find_spec, open_dataset, open_reader
from pointseg.evaluation import (
    BENCHMARKS,
    SegReport,
    score_submission,
    split_point_counts,
    written_submission,
)

SCAN, SEQUENCE = "00_000000", "00"


@pytest.fixture(scope="module")
def root(real_data: Path) -> Path:
    return real_data / "semantickitti"


def handed_in(root: Path, path: Path, roll: int) -> SegReport:
    """The scores of the scan's own labels, each given to the point ``roll`` places on."""
    benchmark, reader = BENCHMARKS["semantickitti"], open_reader("semantickitti", root)
    arguments = (benchmark.submission, find_spec("semantickitti").label_map, SEQUENCE)
    sizes = split_point_counts(reader, SEQUENCE)
    assert sizes == {SCAN: 124_668}
    with written_submission(path, sizes, *arguments) as submission:
        submission.add(SCAN, np.roll(reader.read_scene(SCAN).labels, roll))
    scenes = open_dataset("semantickitti", root, SEQUENCE)
    return score_submission(path, scenes, benchmark.submission, SEQUENCE, benchmark.rule)


def test_scores_are_those_of_the_official_evaluation(root, tmp_path, capsys):
    """Against numbers of ``evaluate_semantics.py`` on the same labels."""
    perfect = handed_in(root, tmp_path / "s.zip", 0).scores
    assert perfect.mean_iou == pytest.approx(12 / 19, rel=1e-12)
    assert perfect.accuracy == 1.0
    rolled = handed_in(root, tmp_path / "r.zip", 777).scores
    assert rolled.mean_iou == pytest.approx(0.04904376753063681, rel=1e-12)
    assert rolled.accuracy == pytest.approx(0.3311046663077644, rel=1e-12)
    argv = ["--dataset", "streets", "--root", str(root), "--split", SEQUENCE, "--check"]
    assert export_preds.main([*argv, str(tmp_path / "s.zip")]) == 0
    assert "1 of 1 scenes right (124,668 points), 0 problems" in capsys.readouterr().out


def test_annotations_are_taken_as_they_are(root, tmp_path, capsys):
    """The benchmark's own label file: instances, moving objects and other objects in it."""
    labels = tmp_path / "sequences" / SEQUENCE / "predictions" / "000000.label"
    labels.parent.mkdir(parents=True)
    labels.write_bytes((root / f"dataset/sequences/{SEQUENCE}/labels/000000.label").read_bytes())
    argv = ["--dataset", "streets", "--root", str(root), "--split", SEQUENCE, "--check"]
    assert export_preds.main([*argv, str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "000000.label: bits above the lowest 16 are set" in printed
    assert "1 (4x), 52 (1471x), 60 (1053x), 99 (1227x), 255 (88x)" in printed
    labels.write_bytes(labels.read_bytes()[:-4])
    assert export_preds.main([*argv, str(tmp_path)]) == 1
    assert "124667 labels, but the scene has 124668 points" in capsys.readouterr().err
