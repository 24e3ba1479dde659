"""The suite for a GPU on the processor, at sizes where times mean nothing."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from pointseg import ops
from pointseg.benchmark import Options, Row, Suite, device_timing, suites, timing
from pointseg.benchmark.ceilings import Ceilings, Sizes, precision_of
from pointseg.benchmark.floors import conv_us, neighbors_us
from pointseg.benchmark.gpu_check import measure, table
from pointseg.benchmark.gpu_check.targets import judged
from pointseg.benchmark.inputs import CORNER, Scene, room_points
from pointseg.benchmark.op_clock import REST, step_shares
from pointseg.benchmark.suites import gpu
from pointseg.benchmark.timing import median_ms
from pointseg.cli import gpu_check as command
from pointseg.sparse import KernelSpec
from tests.benchmark.test_gpu_check import FACTS

CPU = torch.device("cpu")
TINY = Scene("tiny", 0.35, lambda: room_points()[::40])
SIZES = Sizes(cached_bytes=2**12, widths=(32,), rows=16, square=16)
CEILINGS = Ceilings(4000.0, {64: 5000.0, 128: 5500.0}, {"bfloat16": {"a": 700.0, "b": 800.0}})


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_timing, "FLUSHED_BYTES", 2**12)
    monkeypatch.setattr(device_timing, "BUDGET_S", 0.0)
    monkeypatch.setattr(device_timing, "FEWEST", 1)
    monkeypatch.setattr(timing, "BUDGET_S", 0.0)
    monkeypatch.setattr(timing, "COPY_BYTES", 2**16)
    monkeypatch.setattr(gpu, "CHANNELS", (8,))
    monkeypatch.setattr(gpu, "QUICK_CHANNELS", (8,))
    monkeypatch.setattr(gpu, "NETWORKS", ("minkunet_s",))


def test_every_case_agrees_with_plain_torch(small: None, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    measure.measure(file, CPU, Suite(gpu.gpu_rows, (TINY,), (TINY,)), SIZES)
    with file.open("a") as lines:
        lines.write('{"row": {"cut')  # as where time runs out in the middle of a line
    found = measure.read(file)
    rows = found["rows"]
    assert [row["note"] for row in rows if row["note"]] == []
    cases = {row["case"].removesuffix("_tiny") for row in rows}
    kinds = ("float32", "float16", "bfloat16")
    assert cases >= {
        *("kernel_map_k3", "prepare_minkunet_s"),
        *(f"conv_{part}_C8_{k}" for part in ("fwd", "dgrad", "wgrad") for k in (*kinds, "tf32")),
        *(f"attention_{part}_C8_{k}" for part in ("fwd", "bwd") for k in kinds),
        *(f"batch_norm_{part}_C8_{k}" for part in ("fwd", "bwd") for k in kinds),
        *(f"depthwise_fwd_C8_{k}" for k in kinds),
        *("minkunet_s_training", "minkunet_s_training_bfloat16"),
    }
    beside = {row["other"] for row in rows if row["case"] == "conv_fwd_C8_float32_tiny"}
    assert beside == {"plain_torch", "floor"}
    document = {
        "environment": FACTS,
        "parts": {
            "sweep": {"status": "passed", "seconds": 1.0, "passed": 4, "failed": 0, "skipped": 1},
            "benchmark": {"status": "passed", "seconds": 2.0, **found},
        },
    }
    text = table.page_text(document)
    assert "| sweep | passed | 1 | 4 | 1 |" in text
    assert "NVIDIA H100 80GB (sm_90, 80 GiB), driver 580.1" in text
    assert "`minkunet_s_training_tiny`" in text and "convolution" not in text.split("\n")[0]
    page = tmp_path / "page.md"
    page.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    source = tmp_path / "gpu.json"
    source.write_text(json.dumps(document))
    assert command.main(["--table", str(source), "--page", str(page)]) == 0
    written = page.read_text()
    assert written.startswith("before\n") and written.endswith(f"{table.END}\nafter\n")
    assert "old" not in written and text in written


def test_a_case_that_fails_leaves_the_others(
    small: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ops, "depthwise_conv", lambda x, w, kmap: x)
    monkeypatch.setattr(gpu, "NETWORKS", ())
    rows = list(gpu.gpu_rows(Options(1, quick=True), TINY))
    failed = {row.case for row in rows if row.note}
    assert failed == {f"depthwise_C8_{k}_tiny" for k in ("float32", "float16", "bfloat16")}
    assert all("results differ" in row.note for row in rows if row.note)
    assert "batch_norm_bwd_C8_bfloat16_tiny" in {row.case for row in rows}


def test_the_page_is_ready() -> None:
    table.PAGE.check_page(Path(__file__).resolve().parents[2] / "docs" / "performance.md")


def test_the_scene_is_the_one_that_is_reported() -> None:
    assert suites.SUITES["gpu"].all_scenes == (CORNER,)
    assert CORNER.voxel_size_m == 0.02
    assert 145_000 < CORNER.grid().num_voxels < 155_000


def test_floors_are_bytes_and_products_over_rates() -> None:
    grid = TINY.grid()
    kmap = grid.kernel_map(KernelSpec(3))
    pairs, rows = kmap.num_pairs, grid.num_voxels
    x = torch.zeros(rows, 32, dtype=torch.bfloat16)
    moved = (pairs + rows) * 64
    assert conv_us(CEILINGS, kmap, x, x, "bfloat16") == pytest.approx(moved / 5000e3)
    wide = torch.zeros(rows, 2**14, dtype=torch.bfloat16)
    products = 2 * pairs * 2**28
    assert conv_us(CEILINGS, kmap, wide, wide, "bfloat16") == pytest.approx(products / 800e6)
    assert neighbors_us(CEILINGS, pairs, x, x) == pytest.approx((128 * rows + 4 * pairs) / 4000e3)


def row(case: str, ours: float, other: str, value: float) -> dict[str, Any]:
    return asdict(Row.compare("gpu", case, "us", ours, other, value))


def test_aims_stand_beside_figures() -> None:
    rows = [
        row("kernel_map_k3_corner", 90.0, "plain_torch", 900.0),
        row("attention_fwd_C64_bfloat16_corner", 50.0, "floor", 10.0),
        row("attention_fwd_C64_bfloat16_corner", 50.0, "plain_torch", 1000.0),
        row("conv_fwd_C128_float16_corner", 100.0, "plain_torch", 300.0),
        row("conv_fwd_C128_float32_corner", 100.0, "plain_torch", 300.0),
    ]
    found = {r["case"]: aim.is_met(r) for r, aim in judged(rows)}
    assert found == {
        "kernel_map_k3_corner": True,
        "attention_fwd_C64_bfloat16_corner": False,
        "conv_fwd_C128_float16_corner": True,
    }


def test_medians_between_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_timing, "FLUSHED_BYTES", 2**12)
    calls: list[int] = []
    ms = device_timing.event_median_ms(lambda: calls.append(1), 30, CPU)
    assert ms >= 0 and len(calls) == 32
    monkeypatch.setattr(device_timing, "BUDGET_S", 0.0)
    device_timing.event_median_ms(lambda: calls.append(1), 30, CPU)
    assert len(calls) == 34 + device_timing.FEWEST
    seen: list[torch.device] = []
    monkeypatch.setattr(timing, "event_median_ms", lambda call, n, device: seen.append(device) or 1)
    assert median_ms(lambda: None, 3, torch.device("cuda")) == 1
    assert seen == [torch.device("cuda")]


def test_shares_of_a_step_are_by_operator_and_phase() -> None:
    grid = TINY.grid()
    x = torch.randn(grid.num_voxels, 8, requires_grad=True)
    w = torch.randn(27, 8, 8, requires_grad=True)
    made: dict[str, torch.Tensor] = {}

    def forward() -> None:
        made["out"] = ops.sparse_conv(x, w, TINY.grid().kernel_map(KernelSpec(3)))

    found = step_shares({"forward": forward, "backward": lambda: made["out"].sum().backward()}, CPU)
    assert {
        "geometry",
        "convolution, forward",
        "convolution, input gradient",
        "convolution, weight gradient",
        REST,
    } <= found.keys()
    assert sum(found.values()) == pytest.approx(1)
    assert min(found.values()) > 0


def test_precision_is_what_it_was_afterwards() -> None:
    before = torch.get_float32_matmul_precision()
    with precision_of("tf32"):
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == before
