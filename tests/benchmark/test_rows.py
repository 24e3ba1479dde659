"""The benchmark's rows, its inputs and what it refuses. No test asserts a time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pointseg import ops
from pointseg.benchmark import Options, Row, Suite, plain_torch, suites
from pointseg.benchmark.inputs import Scene, room_points
from pointseg.benchmark.report import markdown_table
from pointseg.benchmark.suites import codebook
from pointseg.benchmark.suites.cases import Case, check_equal
from pointseg.benchmark.timing import copy_gb_per_s, fma_gflops, peak_mib
from pointseg.sparse import KernelSpec, VoxelGrid, cubes

TINY = Scene("tiny", 0.6, lambda: room_points()[::40])
ROOT = Path(__file__).resolve().parents[2]


def test_ratio_above_one_says_ours_is_better() -> None:
    faster = Row.compare("ops", "case", "ms", 2.0, "plain_torch", 8.0)
    assert faster.ratio == 4.0
    rate = Row.compare("ops", "case", "GFLOP/s", 50.0, "peak", 100.0)
    assert rate.ratio == 0.5
    assert markdown_table([faster, rate]).count("\n") == 4


def test_the_halving_map_of_plain_torch_has_the_same_pairs() -> None:
    grid = TINY.grid()
    kmap = grid.kernel_map(KernelSpec(2, stride=2))
    for tap, (in_rows, out_rows) in enumerate(plain_torch.halving_map(grid)):
        ours = {(int(i), int(o)) for i, o in zip(*kmap.pairs(tap), strict=True)}
        assert ours == {(int(i), int(o)) for i, o in zip(in_rows, out_rows, strict=True)}


def test_plain_torch_computes_the_same() -> None:
    torch.manual_seed(0)
    coords = torch.randint(-9, 9, (900, 4), dtype=torch.int32)
    coords[:, 0] %= 2
    voxels = ops.voxelize(coords)
    for other, ours in zip(
        plain_torch.voxelize(coords), (voxels.coords, voxels.inverse), strict=True
    ):
        torch.testing.assert_close(other, ours)
    grid = VoxelGrid(voxels.coords)
    kmap = grid.kernel_map(KernelSpec(3))
    feats, weight = torch.randn(grid.num_voxels, 5), torch.randn(27, 5, 7)
    for pairs in (plain_torch.tap_pairs(kmap), plain_torch.kernel_map(grid, KernelSpec(3))):
        other = plain_torch.sparse_conv(feats, weight, pairs, grid.num_voxels)
        torch.testing.assert_close(other, ops.sparse_conv(feats, weight, kmap))


def brute_force_attention(grid: VoxelGrid, v: Tensor, q: Tensor, weight: Tensor) -> Tensor:
    """Logits, softmax and values as sums over all pairs of voxels, in float64."""
    v, q, weight = v.double(), q.double(), weight.double()
    xyz = grid.coords[:, 1:]
    difference = xyz[None] - xyz[:, None]  # neighbour minus voxel
    heads, width = q.shape[2], v.shape[1] // q.shape[2]
    logits, sums, row = [], [], 0
    for entry, region in enumerate(codebook.REGIONS):
        logit, total = torch.zeros(len(v), heads).double(), torch.zeros_like(v)
        for offset in region.offsets:
            near = (difference == torch.tensor(offset)).all(dim=2).double()
            taps = weight[row].reshape(heads, width)
            logit = logit + (near @ q[:, entry]) * taps.detach().sum(1)
            total = total + (near @ v) * weight[row]
            row += 1
        logits.append(logit)
        sums.append(total)
    choice = torch.stack(logits, dim=2).softmax(dim=2)
    shares = choice.repeat_interleave(width, dim=1)
    return sum(shares[:, :, entry] * total for entry, total in enumerate(sums))  # type: ignore[return-value]


def test_the_published_way_is_the_formula() -> None:
    """Values and gradients; none of the latter reaches the weights through the logits."""
    grid = Scene("coarse", 0.7).grid()
    problem = codebook.Problem("tiny", grid, width=8)
    inputs = [x.requires_grad_() for x in (problem.v, problem.q, problem.weight)]
    expected = brute_force_attention(grid, *inputs)
    grad = torch.randn(expected.shape)
    grads = torch.autograd.grad(expected, inputs, grad.double())
    case = problem.attention()
    for function in (case.other, case.ours):
        out = function(*inputs)
        torch.testing.assert_close(out.double(), expected, rtol=1e-4, atol=1e-5)
        for ours, theirs in zip(torch.autograd.grad(out, inputs, grad), grads, strict=True):
            assert (ours - theirs).abs().max() < 1e-4 * theirs.abs().max()


@pytest.mark.parametrize("name", ["ops", "codebook"])
def test_every_case_agrees_and_has_rows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real suites, on a room of a few hundred voxels: times mean nothing here."""
    monkeypatch.setattr(Options, "repeats", 1)
    # the real one, which has a test of its own, takes a second a call
    monkeypatch.setattr(
        "pointseg.benchmark.suites.cases.peak_mib", lambda call, device: len(call())
    )
    monkeypatch.setattr("pointseg.benchmark.timing.COPY_BYTES", 2**20)
    monkeypatch.setattr("pointseg.benchmark.suites.cases.fma_gflops", lambda: 1.0)
    suite = Suite(suites.SUITES[name].rows, (TINY,), (TINY,))
    rows = list(suite.run(Options(threads=1, quick=True)))
    assert all(row.ours > 0 and row.other_value > 0 for row in rows)
    found = {row.case.removesuffix("_tiny") for row in rows}
    expected = {
        "ops": {
            *("voxelize", "kernel_map_k3", "kernel_map_k2s2", "region_map_dilations_123"),
            *("conv_fwd_C32", "conv_fwdbwd_C64", "conv_fwd_C96-20", "conv_k5_fwdbwd_C3-32"),
            *("conv_k2s2_fwdbwd_C64", "conv_transposed_k2s2_fwd_C64", "conv_bf16_fwd_C32"),
            *("depthwise_conv_fwd_C64", "depthwise_conv_fwdbwd_C64"),
            *("pool_max_fwdbwd_C64", "pool_avg_fwdbwd_C64"),
            *("gather_neighbors_fwdbwd_C8", "scatter_sum_fwdbwd_C32", "scatter_max_fwdbwd_C32"),
            *("interpolate_fwdbwd_C32", "vector_quantize"),
        },
        "codebook": {
            *("attention_fwdbwd_C64", "attention_values_fwd_C64", "attention_hard_fwd_C64"),
            *("logits_fwd_C64", "logits_fwdbwd_C64", "block_fwdbwd_C64"),
        },
    }
    assert expected[name] <= found
    assert {row.other for row in rows if row.case.startswith("block")} <= {"minkunet_block"}
    memory = {row.case for row in rows if row.suite == f"{name}_memory"}
    assert memory == {row.case for row in rows if "fwdbwd" in row.case}


def test_cases_cover_the_sizes_that_are_reported() -> None:
    suite = suites.SUITES["codebook"]
    assert [scene.name for scene in suite.scenes(Options(1))] == ["20k", "80k", "150k"]
    assert len(suite.scenes(Options(1, quick=True))) == 1
    assert codebook.WIDTHS == (64, 128)
    assert cubes(2, 1, 3) == codebook.REGIONS


def test_results_that_differ_stop_the_benchmark() -> None:
    with pytest.raises(AssertionError, match="conv_x: results differ"):
        check_equal("conv_x", torch.ones(3), torch.full((3,), 1.01))
    case = Case("ops", "wrong", lambda x: x * x, lambda x: x * x.detach(), (torch.ones(4),))
    assert next(case.forward(Options(1))).case == "wrong"
    with pytest.raises(AssertionError, match="wrong: results differ"):
        list(case.forward_backward(Options(1)))


def test_peak_memory_counts_what_is_held_at_once() -> None:
    def call() -> torch.Tensor:
        first = torch.ones(2**18)  # 1 MiB
        second = first + 1
        del first
        return second * 2

    assert 2.0 <= peak_mib(call) < 2.1


def test_the_peak_is_a_rate() -> None:
    assert fma_gflops() > 0.1
    assert copy_gb_per_s() > 0.01
    with pytest.raises(RuntimeError, match="iterations"):
        torch.ops.pointseg.fma_peak(0)


def test_command_writes_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pointseg.cli import benchmark

    def tiny_rows(options: Options, scene: Scene) -> Iterator[Row]:
        yield Row.compare("tiny", f"case_{options.threads}", "ms", 1.0, "plain_torch", 3.0)
        row = ("tiny", "case_2", "ms", 1, 1.0, "engine", None, None)
        yield Row(*row, note="killed by SIGKILL")

    monkeypatch.setitem(suites.SUITES, "tiny", Suite(tiny_rows, (TINY,), (TINY,)))
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
            "threads": None,
            "ours": 1.0,
            "other": "plain_torch",
            "other_value": 3.0,
            "ratio": 3.0,
            "note": "",
        },
        {
            "suite": "tiny",
            "case": "case_2",
            "unit": "ms",
            "threads": 1,
            "ours": 1.0,
            "other": "engine",
            "other_value": None,
            "ratio": None,
            "note": "killed by SIGKILL",
        },
    ]
    head = document["header"]
    assert head["scenes"]["tiny"]["voxels"] == TINY.grid().num_voxels
    assert head["scenes"]["tiny"]["voxel_size_m"] == 0.6
    assert head["peaks"].keys() == {"fma_gflops_1_thread", "fma_gflops", "copy_gb_per_s"}
    assert all(value > 0 for value in head["peaks"].values())
    assert {"cpu", "threads", "load_average", "busy", "torch", "peers"} <= set(head)
    text = table.read_text()
    assert "| case_1 | ms |  | 1 | plain_torch | 3 | 3.00 |" in text
    assert "| case_2 | ms | 1 | 1 | engine | - |  |" in text
    assert "* case_2, engine: killed by SIGKILL" in text
    assert "of 60 cm" in text and "read and written" in text


def test_only_measures_what_is_asked_for() -> None:
    options = Options(1, quick=True, only="k2s2_fwd_")
    suite = Suite(suites.SUITES["ops"].rows, (TINY,), (TINY,))
    assert {row.case for row in suite.run(options)} == {
        "conv_k2s2_fwd_C64_tiny",
        "conv_transposed_k2s2_fwd_C64_tiny",
    }
    assert options.wants("conv_k2s2_fwd_C64_500k") and not options.wants("conv_k2s2_fwdbwd_C64")
    assert Options(1, only="conv*C64").wants("depthwise_conv_fwd_C64_80k")


def test_rates_stand_beside_the_peaks_of_the_machine() -> None:
    case = Case("ops", "x", lambda x: x + 1, lambda x: x + 1, (torch.ones(2**10),))
    case = replace(case, flops=2**10, bound_by_memory=True)
    time, compute, memory = case.forward(Options(1))
    assert (compute.unit, compute.other) == ("GFLOP/s", "peak")
    assert compute.ours == pytest.approx(2**10 / time.ours * 1e-6)
    assert (memory.unit, memory.other) == ("GB/s", "copy")
    assert memory.ours == pytest.approx(2 * 4 * 2**10 / time.ours * 1e-6)  # in and out
    rows = {row.unit: row for row in case.forward_backward(Options(1))}
    both = rows["GB/s"].ours * rows["ms"].ours * 1e6
    assert both == pytest.approx(5 * 4 * 2**10)  # in, out; gradient and input in, gradient out


def test_unknown_suites_are_refused() -> None:
    command = [sys.executable, "tools/benchmark.py", "nothing"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "expected one of ops, codebook, data, gpu, model, memory, scaling" in done.stderr
