from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pointseg.benchmark import Options, suites
from pointseg.benchmark.inputs import Scene, rooms
from pointseg.benchmark.network_cost import Task, grouped, input_coords, measure, measure_apart
from pointseg.benchmark.suites import model
from pointseg.cli import benchmark

TASK = Task("minkunet_s", True, 0.3, None, torch.get_num_threads(), 1, shares=True)


def test_operators_are_grouped_and_large_ones_keep_their_name() -> None:
    found = grouped(
        {
            "pointseg::sparse_conv": 30,
            "GeneratedBackwardFor_pointseg_sparse_conv_default": 20,
            "pointseg::sparse_conv_weight_grad": 10,
            "pointseg::codebook_attention_values_grad": 8,
            "aten::native_batch_norm_backward": 6,
            "pointseg::kernel_map": 5,
            "aten::mm": 4,
            "aten::cat": 12,
            "aten::_log_softmax": 4,
            "aten::empty": 0.5,
            "aten::view": 0.5,
        }
    )
    assert found == {
        "convolution": 0.5,
        "aten::cat": 0.12,
        "weight gradient": 0.1,
        "attention": 0.08,
        "norm": 0.06,
        "maps": 0.05,
        "loss": 0.04,
        "matrix product": 0.04,
        "everything else": 0.01,
    }
    assert list(found)[:2] == ["convolution", "aten::cat"]


def test_inputs_are_the_room_or_a_hall_of_the_size_asked_for() -> None:
    assert torch.equal(input_coords(TASK), Scene("room", 0.3).grid().coords)
    assert len(input_coords(replace(TASK, num_voxels=1234))) == 1234


@pytest.mark.parametrize("training", [True, False])
def test_cost_of_a_network(training: bool) -> None:
    task = replace(TASK, training=training)
    cost = measure(task)
    assert cost.num_voxels == len(input_coords(task))
    assert cost.ms > 0
    assert 0 < cost.allocated_mib < cost.resident_mib
    assert sum(cost.shares.values()) == pytest.approx(1)
    assert {"convolution", "maps"} <= cost.shares.keys()
    assert ("norm" in cost.shares) == training  # folded into the convolutions
    assert ("weight gradient" in cost.shares) == training
    case = f"{task.name}_tiny"
    rows = list(model.cost_rows(case, cost))
    assert [row.case for row in rows[:3]] == [case, f"{case}_allocated", f"{case}_resident"]
    assert sum(row.ours for row in rows if row.unit == "%") == pytest.approx(100)


def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="nosuch_training.*unknown model 'nosuch'"):
        measure_apart(replace(TASK, model="nosuch"))


def test_sweep_by_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "MODELS", ("minkunet_s",))
    monkeypatch.setattr(model, "MAX_TRAINING_VOXELS", 200)
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    out = tmp_path / "rows.json"
    argv = ["model", "--quick", "--voxels", "300,500", "--threads", "1", "--json", str(out)]
    assert benchmark.main(argv) == 0
    rows = json.loads(out.read_text())["rows"]
    times = [row["case"] for row in rows if row["unit"] == "ms"]
    assert times == ["minkunet_s_inference_300", "minkunet_s_inference_500"]
    fits = {row["case"] for row in rows if row["suite"] == "model_fit"}
    assert fits == {
        f"minkunet_s_inference_{what}_{kind}"
        for what in ("time", "allocated", "resident")
        for kind in ("per_voxel", "from_line")
    }
    assert all(row["ratio"] is None and row["other"] == "-" for row in rows)


def test_sizes_are_checked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    assert benchmark.main(["ops", "--voxels", "100"]) == 2
    assert "only suite model" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        benchmark.main(["model", "--voxels", "100,0"])


def test_the_suite_covers_what_is_reported() -> None:
    assert model.MODELS == ("minkunet34c", "codedvtr_m")
    suite = suites.SUITES["model"]
    assert [room.voxel_size_m for room in suite.scenes(Options(1))] == [0.02]
    assert suite.quick_scenes == rooms("20k")
