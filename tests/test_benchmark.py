"""The benchmark's rows, its inputs and what it refuses. No test asserts a time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pointseg import ops
from pointseg.benchmark import Row, markdown_table, plain_torch, suites
from pointseg.benchmark.inputs import room_grid, room_points
from pointseg.benchmark.timing import fma_gflops, peak_mib
from pointseg.sparse import KernelSpec, VoxelGrid

ROOT = Path(__file__).resolve().parent.parent


def test_ratio_above_one_says_ours_is_better() -> None:
    faster = Row.compare("ops", "case", "ms", 2.0, "plain_torch", 8.0)
    assert faster.ratio == 4.0
    rate = Row.compare("ops", "case", "GFLOP/s", 50.0, "peak", 100.0)
    assert rate.ratio == 0.5
    assert markdown_table([faster, rate]).count("\n") == 4


def test_rooms_have_the_sizes_their_names_say() -> None:
    assert torch.equal(room_points(), room_points())
    assert 75_000 < room_grid(0.05).num_voxels < 85_000
    assert 475_000 < room_grid(0.02).num_voxels < 525_000


def test_plain_torch_computes_the_same() -> None:
    torch.manual_seed(0)
    coords = torch.randint(-9, 9, (900, 4), dtype=torch.int32)
    coords[:, 0] %= 2
    grid = VoxelGrid(ops.voxelize(coords).coords)
    kmap = grid.kernel_map(KernelSpec(3))
    feats, weight = torch.randn(grid.num_voxels, 5), torch.randn(27, 5, 7)
    for pairs in (plain_torch.tap_pairs(kmap), plain_torch.kernel_map(grid, KernelSpec(3))):
        other = plain_torch.sparse_conv(feats, weight, pairs, grid.num_voxels)
        torch.testing.assert_close(other, ops.sparse_conv(feats, weight, kmap))


def test_results_that_differ_stop_the_benchmark() -> None:
    with pytest.raises(AssertionError, match="conv_x: results differ"):
        suites._check_equal("conv_x", torch.ones(3), torch.full((3,), 1.01))


def test_peak_memory_counts_what_is_held_at_once() -> None:
    def call() -> torch.Tensor:
        first = torch.ones(2**18)  # 1 MiB
        second = first + 1
        del first
        return second * 2

    assert 2.0 <= peak_mib(call) < 2.1


def test_the_peak_is_a_rate() -> None:
    assert fma_gflops() > 0.1
    with pytest.raises(RuntimeError, match="iterations"):
        torch.ops.pointseg.fma_peak(0)


def test_command_writes_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pointseg.cli import benchmark

    def suite(options: suites.Options):  # type: ignore[no-untyped-def]
        yield Row.compare("tiny", f"case_{options.threads}", "ms", 1.0, "plain_torch", 3.0)

    monkeypatch.setitem(suites.SUITES, "tiny", suite)
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    out, table = tmp_path / "sub" / "rows.json", tmp_path / "rows.md"
    argv = ["tiny", "--threads", "1", "--json", str(out), "--markdown", str(table)]
    assert benchmark.main(argv) == 0
    document = json.loads(out.read_text())
    assert document["rows"] == [
        {
            "suite": "tiny",
            "case": "case_1",
            "unit": "ms",
            "ours": 1.0,
            "other": "plain_torch",
            "other_value": 3.0,
            "ratio": 3.0,
        }
    ]
    assert {"cpu", "threads", "load_average", "busy", "torch"} <= set(document["header"])
    assert "| case_1 | ms | 1 | plain_torch | 3 | 3.0 |" in table.read_text()


def test_unknown_suites_are_refused() -> None:
    command = [sys.executable, "tools/benchmark.py", "nothing"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "expected one of ops" in done.stderr
