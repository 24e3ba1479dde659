"""Throughput of training with several ranks."""

from __future__ import annotations

from pathlib import Path

import pytest

from pointseg.benchmark.ranks import (
    RanksCost,
    RanksTask,
    measure_ranks,
    ranks_table,
    train_command,
)
from tests.helpers.scenes import write_scannet_root

NARROW = ("model.depths=[1, 1]", "model.widths=[8, 8]", "model.stem_kernel=3")


def test_a_run_with_two_ranks_is_measured_by_what_it_logs(tmp_path: Path) -> None:
    root = write_scannet_root(tmp_path / "rooms")
    overrides = (*NARROW, "data.dataset=scannet", "data.voxel_size_m=0.15")
    cost = measure_ranks(RanksTask(root, steps=3, overrides=overrides), 2, tmp_path)
    assert cost.num_ranks == 2
    assert cost.scenes_per_s == pytest.approx(2 * 1e3 / cost.step_ms)


def test_a_run_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"1 ranks: exit status 1: pointseg train: .*missing"):
        measure_ranks(RanksTask(tmp_path / "missing", steps=2), 1, tmp_path)


def test_a_rank_has_as_many_scenes_whatever_their_number(tmp_path: Path) -> None:
    task = RanksTask(tmp_path, batch_size=3)
    one, four = (train_command(task, n, tmp_path / "run") for n in (1, 4))
    assert [a for a, b in zip(one, four, strict=True) if a != b] == ["1"]
    assert "train.batch_size=3" in four
    with pytest.raises(ValueError, match="steps: expected at least 2"):
        RanksTask(tmp_path, steps=1)


def test_efficiency_is_throughput_of_a_rank_beside_one() -> None:
    costs = [RanksCost(1, 100.0, 10.0), RanksCost(2, 125.0, 16.0)]
    assert costs[1].efficiency(costs[0]) == pytest.approx(0.8)
    assert ranks_table(costs).splitlines()[-1] == "| 2 | 125 | 16.00 | 80 % |"
