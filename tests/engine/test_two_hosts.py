"""Training over a wire: a rank on each of two hosts that know each other's address only."""

from __future__ import annotations

import math
from pathlib import Path

from pointseg.benchmark.communication import GRADIENT_BYTES
from pointseg.engine.checkpoint import load_checkpoint
from pointseg.engine.checkpoint_folder import find_checkpoint
from tests.engine.runs import metrics
from tests.helpers.two_hosts import run_on_both, two_hosts

ROOT = Path(__file__).resolve().parents[2]
STEPS = 3


def test_a_rank_on_each_of_two_hosts(tiny_config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = (f"train.steps={STEPS}", "train.evaluate_every=0", "train.accumulate=1")
    program = (
        *(str(ROOT / "tools" / "train.py"), "--config", str(tiny_config), "--device", "cpu"),
        *("--output", str(run), *(word for key in settings for word in ("--set", key))),
    )
    with two_hosts() as hosts:
        outputs = run_on_both(hosts, program, tmp_path, timeout_s=300)
        received = [host.received_bytes() for host in hosts]
    assert [f"done after {STEPS} steps" in output for output in outputs] == [True, False]
    rows = [row for row in metrics(run) if row["kind"] == "train"]
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert all(math.isfinite(row["loss"]) for row in rows)
    checkpoint = load_checkpoint(find_checkpoint(run))
    assert checkpoint.step == STEPS
    # Of two ranks each sends its gradients to the other, in every step.
    parameters = sum(
        value.numel() for name, value in checkpoint.model.items() if ".bn." not in name
    )
    assert min(received) > STEPS * GRADIENT_BYTES * parameters
