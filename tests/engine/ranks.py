"""What every rank does in the tests of training on several of them."""

from __future__ import annotations

import copy
import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from pointseg import models
from pointseg.data import SCANNET20, SegBatch, VoxelScene, collate
from pointseg.distributed import (
    Group,
    agree,
    conclude,
    exchange,
    gather,
    gather_objects,
    num_ranks,
    process_group,
    rank,
)
from pointseg.engine.checkpoint import Checkpoint, pack_label_map
from pointseg.engine.logging import RankLog, RunLog
from pointseg.engine.losses import LossConfig, SegmentationLoss
from pointseg.engine.optimizers import OptimizerConfig, build_optimizer
from pointseg.engine.run_directory import RunDirectory
from pointseg.engine.sampler import SceneStream
from pointseg.engine.schedules import ScheduleConfig
from pointseg.engine.trainer import TrainConfig, Trainer
from pointseg.evaluation import SCANNET_RULE
from pointseg.nn import synchronized

NUM_SCENES = 7
TIMEOUT_S = 60.0


def scene(index: int) -> VoxelScene:
    """Scene ``index`` has up to 60 + 40 * index voxels, float64; of the first none is labelled."""
    generator = torch.Generator().manual_seed(index)
    drawn = torch.randint(0, 7 + index, (60 + 40 * index, 3), generator=generator)
    coords = torch.unique(drawn, dim=0).int()
    labels = torch.randint(-1, 5, (len(coords),), generator=generator)
    labels = labels if index else torch.full_like(labels, -1)
    return VoxelScene(
        scene_id=f"scene{index}",
        coords=coords,
        feats=torch.randn(len(coords), 3, generator=generator, dtype=torch.float64),
        voxel_labels=labels,
        point_to_voxel=torch.arange(len(coords)),
        point_labels=labels,
    )


def batches_of(batch_size: int, position: int) -> Iterator[SegBatch]:
    """This rank's batches."""
    for keys in SceneStream(NUM_SCENES, batch_size, 0, position, rank(), num_ranks()):
        yield collate([scene(index) for _, index in keys])


class SmallNet(nn.Module):
    """A MinkUNet with a parameter that rank 0 alone uses, if at all, and one that nobody does."""

    def __init__(self, has_own_term: bool = False) -> None:
        super().__init__()
        self.has_own_term = has_own_term
        torch.manual_seed(0)
        self.net = models.build_model(
            "minkunet", 3, SCANNET20.num_classes, depths=[1, 1], widths=[8, 8], stem_width=8
        ).double()
        self.of_rank_0 = nn.Parameter(torch.ones(3, dtype=torch.float64))
        self.of_nobody = nn.Parameter(torch.ones(3, dtype=torch.float64))

    def geometry(self) -> Any:
        return self.net.geometry()

    def forward(self, x: Any) -> torch.Tensor:
        return self.net(x)

    def training_terms(self, progress: float) -> tuple[dict, dict]:
        if self.has_own_term and rank() == 0:
            return {"own": self.of_rank_0.square().sum()}, {}
        return {}, {}


def make_trainer(
    folder: Path,
    model: nn.Module | None = None,
    group: Group | None = None,
    loss: LossConfig | None = None,
    **options: Any,
) -> Trainer:
    """A trainer in ``folder``, of which rank 0 makes a run directory."""
    run = RunDirectory(folder)
    labels = pack_label_map(SCANNET20)
    if rank() == 0:
        run.create("", labels, [])
    config = TrainConfig(
        **{"log_every": 1, "save_every": 0, "tensorboard": False, "batch_size": 2, **options}
    )
    model = model or SmallNet()
    if num_ranks() > 1 and config.sync_batch_norm:
        model = synchronized(model)
    log: RunLog = RankLog(run, config.steps, rank())
    if rank() == 0:
        log = RunLog(run, config.steps, tensorboard=False, console=Console(quiet=True))
    return Trainer(
        config=config,
        schedule=ScheduleConfig(name="constant"),
        model=model,
        loss=SegmentationLoss(loss or LossConfig()),
        optimizer=build_optimizer(OptimizerConfig(lr=0.1, weight_decay=0.1), model),
        train_batches=lambda position: batches_of(config.batch_size, position),
        num_scenes=NUM_SCENES,
        val_batches=[collate([scene(i)]) for i in range(rank(), NUM_SCENES, num_ranks())],
        val_split="val",
        rule=SCANNET_RULE,
        label_map=SCANNET20,
        origin=Checkpoint(model={}, config={}, label_map=labels, in_channels=3),
        log=log,
        device=torch.device("cpu"),
        group=group,
    )


def outcome(trainer: Trainer) -> dict[str, Any]:
    """Run it; state, gradients and scores of the end, or its error."""
    found: dict[str, Any] = {"error": ""}
    try:
        with trainer.log:
            result = trainer.run()
        assert result.report is not None
        found |= {"scene_ids": result.report.scene_ids, "confusion": result.report.confusion}
    except Exception as error:
        found["error"] = f"{type(error).__name__}: {error}"
    return found | {
        "step": trainer.step,
        "position": trainer.position,
        "skipped": trainer.skipped_steps,
        "model": {k: v.clone() for k, v in trainer.model.state_dict().items()},
        "grads": {
            name: None if p.grad is None else p.grad.clone()
            for name, p in trainer.model.named_parameters()
        },
    }


def fails_once(
    trainer: Trainer, where: str, step: int, how: Callable[[], None], ever: bool = False
) -> None:
    """Call ``how`` in one pass of rank 1, in the middle of its forward or its backward part."""
    if rank() != 1:
        return
    calls = itertools.count()

    def fail(*_: Any) -> None:
        if trainer.model.training and trainer.step == step and (ever or next(calls) == 0):
            how()

    if where == "forward":
        trainer.model.net.decoder[0].register_forward_pre_hook(fail)
    else:
        next(trainer.model.net.encoder[0].parameters()).register_hook(fail)


def run_out_of_memory() -> None:
    raise torch.OutOfMemoryError("tried to allocate 80 GiB\nadvice")


def break_down() -> None:
    raise KeyError("a fault of the program")


def sound_training(folder: Path) -> dict[str, Any]:
    """The cases without a fault, by name."""
    with process_group("cpu", TIMEOUT_S) as group:
        return _sound_cases(folder, group)


def training(folder: Path) -> dict[str, Any]:
    """Every case, by name; faults are those of rank 1."""
    with process_group("cpu", TIMEOUT_S) as group:
        found = _sound_cases(folder, group)

        def new(name: str, **options: Any) -> Trainer:
            return make_trainer(folder / name, **{"steps": 3, "group": group, **options})

        found["local_norms"] = outcome(new("local_norms", sync_batch_norm=False))
        for where in ("forward", "backward"):
            trainer = new(where)
            fails_once(trainer, where, 1, run_out_of_memory)
            found[where] = outcome(trainer)
        trainer = new("gives_up", max_skipped_steps=2)
        fails_once(trainer, "forward", 1, run_out_of_memory, ever=True)
        found["gives_up"] = outcome(trainer)
        trainer = new("broken")
        fails_once(trainer, "forward", 1, break_down)
        found["broken"] = outcome(trainer)
        trainer = new("nan")
        with_broken_features(trainer, "scene3")
        found["nan"] = outcome(trainer)
        trainer = new("other_weights")
        if rank() == 1:
            next(trainer.model.parameters()).data += 1
        found["other_weights"] = outcome(trainer)
        trainer = new("bad_scene")
        if rank() == 1:
            trainer.val_batches = [collate([scene(1)]), collate([without_labels(scene(3))])]
        found["bad_scene"] = outcome(trainer)
        return found


def _sound_cases(folder: Path, group: Group) -> dict[str, Any]:
    cases: dict[str, dict[str, Any]] = {
        "plain": {},
        "unused": {"model": SmallNet(has_own_term=True)},
        "accumulate": {"accumulate": 2, "batch_size": 1},
    }
    return {
        name: outcome(make_trainer(folder / name, steps=3, group=group, **options))
        for name, options in cases.items()
    }


def with_broken_features(trainer: Trainer, scene_id: str) -> None:
    batches = trainer.train_batches

    def broken(position: int) -> Iterator[SegBatch]:
        for batch in batches(position):
            if scene_id in batch.scene_ids:
                own = batch.voxels.grid.coords[:, 0] == batch.scene_ids.index(scene_id)
                batch.voxels.feats[own] = float("nan")
            yield batch

    trainer.train_batches = broken


def without_labels(whole: VoxelScene) -> VoxelScene:
    bare = copy.copy(whole)
    object.__setattr__(bare, "point_labels", None)
    return bare


def talking() -> dict[str, Any]:
    """What ranks tell each other outside of a step, and how one may end it early."""
    with process_group("cpu", TIMEOUT_S) as group:
        own = rank()
        found: dict[str, Any] = {"gather": gather([own, 0.5]), "objects": gather_objects(f"r{own}")}

        def timed() -> float:
            begun = time.time()
            time.sleep(0.1)
            return begun

        found["first"] = group.main_first("one", timed)
        wide = torch.arange(3000.0).view(3, 1000) + own
        found["wide"] = exchange(wide)
        if own != 1:  # rank 1 ends its step early
            found["short"] = exchange(torch.ones(2, 2))
        found["ends"] = conclude(torch.tensor([float(own)], dtype=torch.float64))
        for name, failing in (("agreed", None), ("failed", 1)):
            try:
                agree(ValueError("scene7 is broken") if own == failing else None)
                found[name] = ""
            except ValueError as error:
                found[name] = f"{type(error).__name__}: {error}"
        try:
            group.main_first("two", lambda: 1 // rank())
        except (ValueError, ZeroDivisionError) as error:
            found["main_failed"] = f"{type(error).__name__}: {error}"
        return found


def losing_a_rank(how: str) -> None:
    """Rank 1 hangs or dies in step 4, while the others wait for it."""
    with process_group("cpu", 3.0) as group:
        group.beat(3 if rank() == 1 else 4)
        if rank() == 1 and how == "dies":
            os._exit(1)
        if rank() == 1:
            time.sleep(60)
        gather([1.0])
