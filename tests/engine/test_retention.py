"""Which checkpoints of a run are kept, and that a run killed while it saves has a whole one."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pointseg.cli.train import main
from pointseg.config import ConfigError
from pointseg.engine.best_metric import check_best_metric, is_better
from pointseg.engine.checkpoint import Checkpoint, load_checkpoint
from pointseg.engine.checkpoint_folder import (
    CheckpointFolder,
    find_checkpoint,
    step_checkpoints,
    step_path,
)
from pointseg.experiment import load_config
from tests.engine.runs import metrics
from tests.engine.test_checkpoint import cut_off, write_version_1

PROGRAM = Path(__file__).with_name("killed_saves.py")
ROOT = PROGRAM.parents[2]


def state(step: int) -> Checkpoint:
    weight = torch.full((3,), float(step))
    return Checkpoint(model={"weight": weight}, config={}, label_map={}, in_channels=1, step=step)


def steps_in(folder: Path) -> dict[str, int]:
    """The step of every checkpoint by name; any other file is an error."""
    return {path.name: load_checkpoint(path).step for path in sorted(folder.iterdir())}


def no_links(*arguments, **options):
    raise OSError(errno.EPERM, "Operation not permitted")


@pytest.fixture(params=["links", "no links"])
def with_and_without_links(request, monkeypatch):
    if request.param == "no links":
        monkeypatch.setattr(os, "link", no_links)


@pytest.mark.usefixtures("with_and_without_links")
def test_the_newest_are_kept_beside_last_and_best(tmp_path):
    folder = CheckpointFolder(tmp_path, keep=2)
    for step in (10, 20, 30, 40, 50):
        folder.save(state(step), is_best=step == 20)
    assert steps_in(tmp_path) == {
        "best.pt": 20,
        "last.pt": 50,
        "step_00000030.pt": 30,
        "step_00000040.pt": 40,
    }


@pytest.mark.usefixtures("with_and_without_links")
def test_milestones_stay_for_ever_and_are_there_at_once(tmp_path):
    folder = CheckpointFolder(tmp_path, keep=0, keep_every=20)
    for step in (10, 20):
        folder.save(state(step))
    assert steps_in(tmp_path) == {"last.pt": 20, "step_00000020.pt": 20}
    for step in (30, 40, 50):
        folder.save(state(step))
    assert steps_in(tmp_path) == {"last.pt": 50, "step_00000020.pt": 20, "step_00000040.pt": 40}


def test_one_state_under_two_names_is_one_file(tmp_path):
    folder = CheckpointFolder(tmp_path, keep_every=1)
    folder.save(state(1), is_best=True)
    assert {path.stat().st_ino for path in tmp_path.iterdir()} == {
        (tmp_path / "last.pt").stat().st_ino
    }
    folder.save(state(1), is_best=True)  # after an evaluation at the same step
    assert steps_in(tmp_path) == {"best.pt": 1, "last.pt": 1, "step_00000001.pt": 1}


def test_saving_a_step_again_does_not_push_the_one_before_it_out(tmp_path):
    folder = CheckpointFolder(tmp_path, keep=1)
    for step in (1, 2, 2, 2):
        folder.save(state(step))
    assert steps_in(tmp_path) == {"last.pt": 2, "step_00000001.pt": 1}


def test_going_back_removes_what_comes_again(tmp_path):
    folder = CheckpointFolder(tmp_path, keep=3)
    for step in (1, 2, 3, 4):
        folder.save(state(step))
    folder.save(state(2))  # resumed from the first
    assert steps_in(tmp_path) == {"last.pt": 2, "step_00000001.pt": 1}


def test_a_damaged_last_checkpoint_is_not_kept_as_a_predecessor(tmp_path):
    folder = CheckpointFolder(tmp_path, keep=1)
    for step in (1, 2):
        folder.save(state(step))
    cut_off(tmp_path / "last.pt")
    folder.save(state(3))
    assert steps_in(tmp_path) == {"last.pt": 3, "step_00000001.pt": 1}


def test_a_last_checkpoint_of_the_first_format_is_kept_as_well(tmp_path):
    write_version_1(tmp_path / "last.pt")
    CheckpointFolder(tmp_path).save(state(2))
    assert steps_in(tmp_path) == {"last.pt": 2, "step_00000001.pt": 1}


def test_other_files_are_left_alone(tmp_path):
    for name in ("step_1.pt", "step_00000001.pt.bak", "mine.pt"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    assert step_checkpoints(tmp_path) == {}
    for step in (2, 3, 4):
        CheckpointFolder(tmp_path).save(state(step))
    assert len(list(tmp_path.iterdir())) == 3 + 2
    assert step_path(tmp_path, 123_456_789).name == "step_123456789.pt"


def killed(folder: Path, *arguments: object) -> list[tuple[int, int]]:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(folder), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    saved_and_found = (line.split() for line in done.stdout.splitlines())
    return [(int(saved), int(found)) for saved, found in saved_and_found]


def test_killed_at_any_call_a_run_goes_on_from_the_last_whole_state(tmp_path):
    kills = killed(tmp_path / "run", "points")
    assert len(kills) > 5 * 5 and kills[-1] == (5, 5)
    # What was being saved may already have its name, or not yet.
    assert all(found in (saved, saved + 1) for saved, found in kills)


def test_killed_at_random_moments_a_run_goes_on(tmp_path):
    kills = killed(tmp_path / "run", "moments", 20, 20)
    assert len(kills) == 20
    assert all(found in (saved, saved + 1) for saved, found in kills)


def test_what_a_killed_save_left_is_removed_on_resuming(tiny_config, tmp_path, caplog):
    run = tmp_path / "run"
    settings = ["--set", "train.save_every=1", "--set", "train.evaluate_every=0"]
    command = ["--config", str(tiny_config), *settings, "--set", "train.steps=3"]
    assert main([*command, "--device", "cpu", "--output", str(run)]) == 0
    checkpoints = run / "checkpoints"
    assert sorted(path.name for path in checkpoints.iterdir()) == [
        *("best.pt", "last.pt", "step_00000002.pt")
    ]
    for folder, name in ((checkpoints, "last.pt"), (run, "config.yaml")):
        (folder / f".{name}.123.part").write_text("half", encoding="utf-8")
    for name in ("last.pt", "best.pt"):
        path = checkpoints / name
        whole = path.read_bytes()
        path.unlink()  # the names may be those of one file
        path.write_bytes(whole[: len(whole) // 2])
    with open(run / "metrics.jsonl", "ab") as rows:
        rows.write(b'{"step": 1, "ki\xff')
    assert main(["--resume", str(run), "--device", "cpu"]) == 0
    assert "last.pt is damaged" in caplog.text and "step_00000002.pt" in caplog.text
    assert [row["step"] for row in metrics(run)] == [1, 2, 3, 3]
    assert load_checkpoint(find_checkpoint(run)).step == 3
    assert not list(run.rglob("*.part"))
    (run / "run.json").write_text("{", encoding="utf-8")
    assert main(["--resume", str(run), "--device", "cpu"]) == 2


@pytest.mark.parametrize(
    ("value", "best", "expected"),
    [
        (0.5, None, True),
        (0.5, 0.4, True),
        (0.5, 0.5, False),
        (float("nan"), None, False),
        (float("nan"), 0.1, False),
        (0.1, float("nan"), True),
    ],
)
def test_is_better(value, best, expected):
    assert is_better(value, best) is expected


def test_the_best_metric_must_be_one_that_an_evaluation_has(tiny_config, tmp_path, capsys):
    for name in ("mean_iou", "accuracy", "mean_accuracy", "iou_chair"):
        check_best_metric(name, ("wall", "chair"))
    for name in ("chair", "iou_chairs", "loss"):
        with pytest.raises(ValueError, match=r"train\.best_metric: no metric.*iou_<class>.*wall"):
            check_best_metric(name, ("wall", "chair"))
    run = tmp_path / "run"
    options = ["--set", "train.best_metric=iou_sofas", "--output", str(run)]
    assert main(["--config", str(tiny_config), *options]) == 2
    assert "no metric 'iou_sofas'" in capsys.readouterr().err and not run.exists()


def test_another_best_metric_starts_anew(tiny_config, tmp_path):
    run = tmp_path / "run"
    short = ["--set", "train.steps=1", "--device", "cpu", "--output", str(run)]
    assert main(["--config", str(tiny_config), *short]) == 0
    on = ["--resume", str(run), "--set", "train.steps=2", "--set", "train.best_metric=iou_wall"]
    assert main([*on, "--device", "cpu"]) == 0
    rows = [row for row in metrics(run) if row["kind"] == "validation"]
    best = load_checkpoint(run / "checkpoints" / "best.pt")
    assert (best.step, best.best_metric_name) == (2, "iou_wall")
    assert best.best_metric == rows[-1]["iou_wall"]


@pytest.mark.parametrize("setting", ["keep_checkpoints=-1", "keep_every=3", "max_failed_saves=0"])
def test_retention_is_checked_with_the_configuration(tiny_config, setting):
    with pytest.raises(ConfigError, match=setting.partition("=")[0]):
        load_config(tiny_config, [f"train.{setting}", "train.save_every=2"])
