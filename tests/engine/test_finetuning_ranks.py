"""Two processes fine-tune as one with twice the batch does: frozen parts, groups, a teacher."""

from __future__ import annotations

import pytest

from pointseg.cli.train import main
from pointseg.engine.checkpoint import load_checkpoint
from pointseg.engine.checkpoint_folder import find_checkpoint
from tests.engine.runs import metrics
from tests.engine.test_resume import train
from tests.helpers.ranks import on_ranks

OPTIONS = (
    *("train.steps=3", "train.accumulate=1", "train.evaluate_every=0", "optimizer.lr=1e-3"),
    *("train.freeze=['stem.*', 'encoder.*']", "train.freeze_until=2", "train.clip_norm=0.0"),
    *("optimizer.groups=[{pattern: 'head.*', lr_factor: 2}]", "train.average_decay=0.5"),
    "loss={cross_entropy: 1.0, lovasz: 0.0}",  # Lovasz ranks the voxels of each pass
)


def test_two_ranks_do_what_one_does(tiny_config, tmp_path):
    teacher, one, two = (tmp_path / name for name in ("teacher", "one", "two"))
    train("--config", tiny_config, "--set", "train.steps=1", "--output", teacher)
    sets = [w for o in (*OPTIONS, f"distillation.teacher={teacher}") for w in ("--set", o)]
    train("--config", tiny_config, *sets, "--set", "train.batch_size=2", "--output", one)
    own = ["--set", "train.batch_size=1", "--output", str(two), "--device", "cpu"]
    assert on_ranks(main, 2, ["--config", str(tiny_config), *sets, *own]) == [0, 0]
    rows = [[row for row in metrics(run) if row["kind"] == "train"] for run in (one, two)]
    assert len(rows[0]) == 3
    for first, second in zip(*rows, strict=True):
        for key in ("loss", "loss_distillation", "loss_cross_entropy", "lr/groups.0"):
            assert second[key] == pytest.approx(first[key], rel=1e-3), key  # sums in another order
    end = load_checkpoint(find_checkpoint(two)).model
    counted = [int(end[f"{part}.norm.bn.num_batches_tracked"]) for part in ("stem", "decoder.0")]
    assert counted == [1, 3]  # the frozen norm counts the third step only
