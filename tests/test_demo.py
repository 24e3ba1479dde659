"""The demo from rooms to pages, small, and again on what it left."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pointseg.cli import demo

pytest.importorskip("open3d", reason="open3d does not import here: no rooms can be made")

SMALL = (
    *("--train", "2", "--val", "2"),
    *("--set", "train.steps=2"),
    *("--set", "model.widths=[8, 8, 8, 8, 8, 8, 8, 8]"),
    *("--set", "data.num_workers=0"),
)


def test_demo_leaves_scores_labels_and_pages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo.main(["--out", str(tmp_path), *SMALL]) == 0
    lines = capsys.readouterr().out.splitlines()
    score = re.fullmatch(r"mIoU (0\.\d{3}) \(single pass, raw points\)", lines[-1])
    assert score, lines[-1]
    report = json.loads((tmp_path / "scores" / "evaluation.json").read_text())
    assert float(score[1]) == pytest.approx(report["mean_iou"], abs=5e-4)
    assert any(re.match(r"training plus evaluation: \d+ s", line) for line in lines)
    assert any(re.match(r"control: .* 0\.\d{3} ", line) for line in lines)
    rooms = (tmp_path / "rooms" / "meta" / "scannetv2_val.txt").read_text().split()
    assert len(rooms) == 2
    for room in rooms:
        assert {path.suffix for path in (tmp_path / "labels").glob(f"{room}.*")} == {
            ".txt",
            ".npy",
            ".ply",
        }
        assert (tmp_path / "pages" / f"{room}.html").is_file()

    assert demo.main(["--out", str(tmp_path), *SMALL]) == 0
    again = capsys.readouterr().out.splitlines()
    assert any("going on after step 2" in line for line in again)
    assert again[-1] == lines[-1]


def test_a_failed_step_ends_the_demo(tmp_path: Path) -> None:
    (tmp_path / "rooms").mkdir()
    (tmp_path / "rooms" / "something").write_text("else")
    with pytest.raises(SystemExit) as stopped:
        demo.main(["--out", str(tmp_path), *SMALL])
    assert stopped.value.code == 2
