"""Reading run directories: whole ones, those that are still written, and damaged ones."""

from __future__ import annotations

import json

import pytest

from pointseg.engine.run_history import config_differences, flattened, read_history
from tests.helpers.run_folders import write_run


def test_all_that_a_run_has(tmp_path):
    run = read_history(write_run(tmp_path / "rooms"))
    assert (run.name, run.step, run.num_steps) == ("rooms", 40, 40)
    assert [row["step"] for row in run.of_kind("train")] == [10, 20, 30, 40]
    assert [row["mean_iou"] for row in run.of_kind("validation")] == [0.2, 0.4]
    assert [row["kind"] for row in run.events] == ["note"]
    assert run.evaluation["scenes"][0]["scene_id"] == "scene0000_00"
    assert run.facts["resumed"][0]["step"] == 20
    assert run.problems == ()


def test_a_row_that_is_being_written_is_left_out(tmp_path):
    folder = write_run(tmp_path / "rooms")
    with open(folder / "metrics.jsonl", "a", encoding="utf-8") as stream:
        stream.write('{"step": 50, "kind": "tr')
    run = read_history(folder)
    assert run.step == 40
    assert run.problems == ("metrics.jsonl: 1 line cut off or not a row, left out",)


@pytest.mark.parametrize("damage", ["", "{", "[1]", "null"])
@pytest.mark.parametrize("name", ["run.json", "evaluation.json", "config.yaml", "metrics.jsonl"])
def test_what_is_damaged_is_told_and_left_out(tmp_path, name, damage):
    folder = write_run(tmp_path / "rooms")
    (folder / name).write_text(damage or "\n", encoding="utf-8")
    run = read_history(folder)
    assert [problem.split(":")[0] for problem in run.problems] == [name]
    left = {
        "run.json": run.facts,
        "evaluation.json": run.evaluation,
        "config.yaml": run.config,
        "metrics.jsonl": run.rows,
    }
    assert not left[name]
    assert all(value for other, value in left.items() if other != name)


def test_a_run_that_has_only_begun(tmp_path):
    folder = tmp_path / "new"
    folder.mkdir()
    with pytest.raises(FileNotFoundError, match=r"new: no run in this folder .*metrics.jsonl"):
        read_history(folder)
    (folder / "config.yaml").write_text("train: {steps: 9}", encoding="utf-8")
    run = read_history(folder)
    assert (run.step, run.num_steps, run.evaluation) == (0, 9, None)
    missing = [f"{name}: not there" for name in ("metrics.jsonl", "run.json", "evaluation.json")]
    assert list(run.problems) == missing


def test_differences_of_configurations(tmp_path):
    first = read_history(write_run(tmp_path / "first"))
    second = read_history(write_run(tmp_path / "second", lr=0.5, loss={"lovasz": 1.0}))
    assert config_differences([first, first]) == {}
    assert config_differences([first, second]) == {
        "optimizer.lr": [0.1, 0.5],
        "loss.lovasz": [None, 1.0],
    }
    nested = {"a": {"b": {"c": 1}, "d": [{"e": 2}], "f": {}}}
    assert flattened(nested) == {"a.b.c": 1, "a.d": [{"e": 2}], "a.f": {}}


def test_runs_of_the_trainer_can_be_read(tiny_config, tmp_path):
    from pointseg.cli.train import main

    folder = tmp_path / "run"
    sets = ("steps=4", "evaluate_every=2", "log_every=2", "batch_size=1", "accumulate=1")
    options = [part for key in sets for part in ("--set", f"train.{key}")]
    options += ["--output", str(folder), "--device", "cpu"]
    assert main(["--config", str(tiny_config), *options]) == 0
    run = read_history(folder)
    assert run.problems == ()
    assert (run.step, run.num_steps) == (4, 4)
    rows = run.of_kind("train")
    phases = {"data", "forward", "backward", "optimizer", "other"}
    assert {f"time_s/{phase}" for phase in phases} <= rows[0].keys()
    assert {"evaluation", "checkpoint"} <= {key.removeprefix("time_s/") for key in rows[1]}
    split = sum(v for k, v in rows[1].items() if k.startswith("time_s/"))
    pauses = rows[1]["time_s/evaluation"] + rows[1]["time_s/checkpoint"]
    assert rows[1]["step_time_s"] == pytest.approx(split - pauses, rel=1e-3)
    assert rows[1]["points_per_s"] > rows[1]["voxels_per_s"] > rows[1]["scenes_per_s"] > 0
    last = run.of_kind("validation")[-1]
    assert run.evaluation["step"] == last["step"] == 4
    assert run.evaluation["mean_iou"] == pytest.approx(last["mean_iou"], abs=1e-12)
    assert last["evaluation_time_s"] > 0
    assert len(run.evaluation["scenes"]) == run.evaluation["num_scenes"] == 2
    assert json.dumps(run.evaluation)
