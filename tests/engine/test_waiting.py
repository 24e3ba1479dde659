"""Forward and backward of a training step read nothing from the device, which they would wait for.

Watched on the CPU: the operations that bring a number, or a size, to the host.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pointseg import ops
from pointseg.data import SCANNET20, SegBatch
from pointseg.models import build_model
from tests.engine.test_trainer import MakeTrainer, stream

READING = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2")
INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_")
THIN: dict[str, Any] = {"depths": [1, 1], "widths": [8, 8], "stem_width": 8}
VQ = {"heads": 2, "query": "none", "choice": {"name": "vq", "code_dim": 3}}
MODELS = {
    "minkunet": ("minkunet", {**THIN, "stem_kernel": 3}),
    "softmax": ("codedvtr", {**THIN, "blocks": ["codebook"] * 2, "codebook": {"heads": 2}}),
    "vq": ("codedvtr", {**THIN, "blocks": ["codebook"] * 2, "codebook": VQ}),
}


class Readings(TorchDispatchMode):
    """The reading operations between :meth:`start` and :meth:`stop`."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.active = False
        self.started = 0

    def start(self) -> None:
        self.active = True
        self.started += 1

    def stop(self) -> None:
        self.active = False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        name = func._schema.name.split("::")[1]
        masks = [a for a in (args[1] if name in INDEXING else ()) if a is not None]
        by_mask = any(isinstance(a, torch.Tensor) and a.dtype == torch.bool for a in masks)
        if self.active and (name in READING or by_mask):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", MODELS)
def test_a_step_waits_for_nothing(
    name: str, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    family, options = MODELS[name]
    model = build_model(family, 3, SCANNET20.num_classes, **options)
    trainer = MakeTrainer(tmp_path)(model, steps=3, lr=0.01, precision=precision, clip_norm=1.0)
    trainer.model.train()
    readings = Readings()
    move, step = SegBatch.to, trainer.optimizer.step

    def move_and_start(batch: SegBatch, *arguments: Any, **options: Any) -> SegBatch:
        batch.voxels.grid.prepare(model.geometry())  # geometry has sizes that only the data know
        readings.start()
        return move(batch, *arguments, **options)

    def stop_and_step(*arguments: Any, **options: Any) -> Any:
        readings.stop()  # the optimiser counts its steps on the host
        return step(*arguments, **options)

    def unwatched_sums(*arguments: Any) -> Any:
        readings.active = False  # on the CPU alone it looks at the indices
        sums = code_sums(*arguments)
        readings.active = True
        return sums

    code_sums = ops.code_sums
    monkeypatch.setattr(ops, "code_sums", unwatched_sums)
    monkeypatch.setattr(SegBatch, "to", move_and_start)
    monkeypatch.setattr(trainer.optimizer, "step", stop_and_step)
    batches = stream(2, 0)
    with readings:
        for _ in range(3):
            trainer._train_step([next(batches)])
    assert readings.started == 3
    assert readings.found == []


def test_what_is_read_is_noticed() -> None:
    values = torch.arange(4.0)
    readings = Readings()
    with readings:
        bool(values.any())
        assert readings.found == []
        readings.start()
        float(values.sum())
        values[values > 1]
        readings.stop()
    assert [name for name in readings.found if name != "nonzero"] == [
        "_local_scalar_dense",
        "index",
    ]
