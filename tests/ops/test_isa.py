"""The kernels of every instruction set compute the same, up to the rounding of fused products."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.ops import scenes
from tests.ops.isa_worker import results

pytestmark = pytest.mark.cpu_kernels

ROOT = Path(__file__).resolve().parents[2]
ISAS = ("baseline", "avx2", "avx512", "avx512_bf16")


def run_with(isa: str, file: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "POINTSEG_ISA": isa, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.ops.isa_worker", str(file)]
    return subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("isa", ISAS)
def test_instruction_sets_agree(isa: str, tmp_path: Path) -> None:
    best = torch.ops.pointseg.cpu_isa()
    if ISAS.index(isa) > ISAS.index(best):
        pytest.skip(f"this machine runs at most {best}")
    done = run_with(isa, tmp_path / "results.pt")
    assert done.returncode == 0, done.stderr
    saved = torch.load(tmp_path / "results.pt", weights_only=True)
    assert saved["isa"] == isa
    here = results()
    assert set(saved["results"]) == set(here)
    for name, tensors in here.items():
        for ours, theirs in zip(tensors, saved["results"][name], strict=True):
            # Each side is off by its own rounding.
            scenes.assert_close(theirs, ours, 2 * scenes.TOLERANCE[ours.dtype])


def test_unknown_instruction_set_is_refused(tmp_path: Path) -> None:
    done = run_with("sse9", tmp_path / "results.pt")
    assert done.returncode != 0
    assert "POINTSEG_ISA must be baseline, avx2, avx512 or avx512_bf16, got sse9" in done.stderr
