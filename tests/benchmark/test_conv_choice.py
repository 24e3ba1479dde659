"""The table of algorithms can be measured: on emulated threads, where its times mean nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from pointseg.benchmark import Options, timing
from pointseg.benchmark.suites import conv_choice as suite
from pointseg.cli import benchmark as command
from pointseg.ops import conv_choice
from pointseg.sparse import VoxelGrid
from tests.helpers.kernels import run_with
from tests.ops import scenes


def test_every_algorithm_is_measured_and_makes_a_table(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(timing, "BUDGET_S", 0.0)
    monkeypatch.setattr(suite, "QUICK_CHANNELS", (4, 16))
    grid = VoxelGrid(scenes.surface_voxels(40, seed=1), num_scenes=1)
    with run_with("emulated", monkeypatch):
        rows = list(suite.measure(Options(threads=1, quick=True), grid))
    kernels, sizes = len(suite.KERNELS), 4
    assert len(rows) == len(suite.PRODUCTS) * kernels * sizes * (4 + 2)
    assert {row.num_taps for row in rows} == {1, 8, 27, 125}
    table = tmp_path / "table.json"
    conv_choice.write_table(rows, "here", table)
    assert len(json.loads(table.read_text())["rows"]) == len(rows) / 3
    assert [path.name for path in tmp_path.iterdir()] == ["table.json"]


def test_the_cpu_has_nothing_to_choose(tmp_path: Path) -> None:
    grid = VoxelGrid(torch.zeros(1, 4, dtype=torch.int32))
    with pytest.raises(ValueError, match="one algorithm to choose; pass --device cuda"):
        next(suite.measure(Options(threads=1), grid))


def test_options_that_belong_to_other_suites(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(command.WAIT_POLICY, "passive")
    for option, message in (("--only=C32", "needs all sizes"), ("--json=rows.json", "--out")):
        arguments = command.argparse.ArgumentParser()
        command.add_arguments(arguments)
        with pytest.raises(ValueError, match=message):
            command.run(arguments.parse_args(["conv_choice", option]))
