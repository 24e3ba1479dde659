"""The training loop."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pointseg.data import LabelMap, SegBatch
from pointseg.data.labels import IGNORE_INDEX
from pointseg.engine.checkpoint import (
    BEST_NAME,
    LAST_NAME,
    Checkpoint,
    load_weights,
    save_checkpoint,
)
from pointseg.engine.interrupt import Interrupted, StopRequest
from pointseg.engine.logging import RunLog
from pointseg.engine.losses import SegmentationLoss, check_labels
from pointseg.engine.optimizers import set_learning_rate
from pointseg.engine.precision import DTYPES, autocast, new_scaler
from pointseg.engine.random_state import (
    get_random_state,
    preserved_random_state,
    set_random_state,
)
from pointseg.engine.schedules import ScheduleConfig, learning_rate_factor
from pointseg.engine.step_numbers import DivergenceCheck, Numbers, StepNumbers
from pointseg.evaluation import MetricRule, SegReport, evaluate_single_pass
from pointseg.machine import peak_memory_gib, restart_peak_memory


@dataclass(frozen=True)
class TrainConfig:
    """Length, batches and rhythm of a training run."""

    steps: int
    """Optimiser steps of the whole run."""
    batch_size: int = 1
    """Scenes of one forward pass."""
    accumulate: int = 1
    """Forward passes whose gradients make up one step."""
    clip_norm: float = 0.0
    """Largest norm of the gradient of a step; 0: no clipping."""
    precision: str = "float32"
    """What the model computes in: float32, bfloat16 or float16 (autocast; parameters stay float32).
    """
    checkpoint_activations: tuple[str, ...] = ()
    """Parts of the model whose activations are computed again in the backward pass instead of kept:
    stages or blocks for all of them, or names such as decoder.3; none: everything is kept. Saves
    memory and costs time; results do not depend on it.
    """
    average_decay: float = 0.0
    """Decay a step of the moving average of the model that is evaluated and exported; 0: none is
    kept.
    """
    evaluate_every: int = 0
    """Steps between evaluations; 0: only after the last step."""
    save_every: int = 500
    """Steps between checkpoints; 0: only after the last step."""
    log_every: int = 10
    """Steps between logged rows."""
    seed: int = 0
    """Seed of initial weights, scene order and augmentation."""
    tensorboard: bool = True
    """Whether a TensorBoard log is written beside metrics.jsonl."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulate", "log_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("evaluate_every", "save_every", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.clip_norm < 0:
            raise ValueError(f"clip_norm must not be negative, got {self.clip_norm}")
        if self.precision not in DTYPES:
            raise ValueError(
                f"precision must be one of {', '.join(DTYPES)}, got {self.precision!r}"
            )
        if not 0.0 <= self.average_decay < 1.0:
            raise ValueError(f"average_decay must lie in [0, 1), got {self.average_decay}")


@dataclass(frozen=True)
class TrainResult:
    """How a call of :meth:`Trainer.run` ended."""

    step: int
    completed: bool
    """False where a signal ended it early."""
    signal_name: str
    report: SegReport | None
    """The last evaluation of this call."""
    best_metric: float | None


class Trainer:
    """Trains a model on a dataset, evaluates it, saves it, and can be stopped and resumed anywhere.

    What happens in step ``s`` depends on the restored state and on ``s`` alone: the learning rate
    is a function of the step, the scenes of the position in the stream, their augmentation of
    (seed, epoch, index), and the rest of the global random state, which every checkpoint keeps.
    """

    def __init__(
        self,
        *,
        config: TrainConfig,
        schedule: ScheduleConfig,
        model: nn.Module,
        loss: SegmentationLoss,
        optimizer: torch.optim.Optimizer,
        train_batches: Callable[[int], Iterable[SegBatch]],
        num_scenes: int,
        val_batches: Iterable[SegBatch] | None,
        val_split: str,
        rule: MetricRule,
        label_map: LabelMap,
        origin: Checkpoint,
        log: RunLog,
        device: torch.device,
    ) -> None:
        """``origin`` gives what every checkpoint of the run has in common: config, label map,
        versions.

        ``train_batches(position)`` gives the endless batches from the scene at ``position`` in the
        training order on, for a split of ``num_scenes``. ``val_batches`` None leaves evaluation
        out; otherwise ``rule`` scores them, and they are called ``val_split`` in the report. The
        model and the loss must be on ``device`` already.
        """
        self.config = config
        self.schedule = schedule
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.base_lr = float(optimizer.param_groups[0]["lr"])
        self.scaler = new_scaler(config.precision, device)
        self.average = _new_average(model, config.average_decay)
        self.train_batches = train_batches
        self.num_scenes = num_scenes
        self.val_batches = val_batches
        self.val_split = val_split
        self.rule = rule
        self.label_map = label_map
        self.origin = origin
        self.log = log
        self.device = device

        self.step = 0
        self.position = 0  # scenes taken from the stream
        self.evaluated_step = 0
        self.best_metric: float | None = None
        self.metrics: dict[str, float] = {}
        self.report: SegReport | None = None
        self._divergence = DivergenceCheck(
            gradients_may_overflow=self.scaler.is_enabled(), at_once=device.type == "cpu"
        )
        self._measured_epoch = -1  # that the peak of the memory is of
        self._warned: frozenset[str] = frozenset()
        self._unlogged_scenes = 0
        self._unlogged_voxels = 0

    def run(self) -> TrainResult:
        """Train until the configured number of steps is done or a signal asks to stop; leaves
        ``last.pt`` either way.
        """
        self.model.train()
        with StopRequest() as stop:
            batches = iter(self.train_batches(self.position))
            while not stop.requested:
                if self._evaluation_is_due():
                    try:
                        self._evaluate(stop)
                    except Interrupted:
                        break
                if self.step >= self.config.steps:
                    break
                self._restart_peak_memory()
                numbers = self._train_step([next(batches) for _ in range(self.config.accumulate)])
                self._log_step(numbers)
                if self.config.save_every and self.step % self.config.save_every == 0:
                    self.save(LAST_NAME)
            self.save(LAST_NAME)
        completed = self.step >= self.config.steps and not self._evaluation_is_due()
        return TrainResult(self.step, completed, stop.signal_name, self.report, self.best_metric)

    def _train_step(self, batches: list[SegBatch]) -> StepNumbers:
        """One optimiser step over ``batches``, which are on the host; on a GPU it does not wait for
        the result.
        """
        factor = learning_rate_factor(self.schedule, self.step, self.config.steps)
        set_learning_rate(self.optimizer, self.base_lr * factor)
        for batch in batches:
            check_labels(batch.voxel_labels, self.label_map.num_classes)
        counts = [int((batch.voxel_labels != IGNORE_INDEX).sum()) for batch in batches]
        num_valid = max(sum(counts), 1)

        sums: dict[str, Tensor] = {}
        passes: list[Numbers] = []
        self.optimizer.zero_grad(set_to_none=True)
        for batch, count in zip(batches, counts, strict=True):
            moved = batch.to(self.device, non_blocking=True)
            with autocast(self.config.precision, self.device):
                terms, scalars = self._forward(moved, count / num_valid, num_valid)
            total = torch.stack(list(terms.values())).sum()
            self.scaler.scale(total).backward()
            for name, value in {
                "loss": total,
                **{f"loss_{k}": v for k, v in terms.items()},
            }.items():
                value = value.detach().double()
                sums[name] = sums[name] + value if name in sums else value
            passes.append(scalars)
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm or math.inf)
        scene_ids = tuple(scene for batch in batches for scene in batch.scene_ids)
        position = self.position + len(scene_ids)
        own = {"lr": self.base_lr * factor, "epoch": position / self.num_scenes}
        loss = sums.pop("loss")
        numbers = StepNumbers(self.step + 1, scene_ids, loss, norm, {**sums, **own}, passes)
        self._divergence.add(numbers)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update_parameters(self.model)
            # What follows the progress is known; an average of it would lag behind.
            _set_progress(self.average.module, self.progress)

        self.step += 1
        self.position = position
        self._unlogged_scenes += len(scene_ids)
        self._unlogged_voxels += sum(batch.voxels.num_voxels for batch in batches)
        return numbers

    @property
    def progress(self) -> float:
        """Share of the run that is done, 0 in the first step; the same for all of its passes."""
        return self.step / self.config.steps

    def _forward(
        self, batch: SegBatch, share: float, num_valid: int
    ) -> tuple[dict[str, Tensor], Numbers]:
        """Loss terms of one batch, each its part of the step's loss, and further numbers to log.

        Sums over voxels are divided by the valid voxels of the whole step; a model's own terms
        count by the batch's share of them.
        """
        declared: Any = getattr(self.model, "geometry", None)
        if declared is not None:
            batch.voxels.grid.prepare(declared())
        _set_progress(self.model, self.progress)
        logits = self.model(batch.voxels)
        terms = {
            name: value / num_valid for name, value in self.loss(logits, batch.voxel_labels).items()
        }
        scalars: Numbers = {}
        own: Any = getattr(self.model, "training_terms", None)
        if own is not None:
            own_terms, scalars = own(self.progress)
            terms |= {name: value * share for name, value in own_terms.items()}
        return terms, scalars

    def _restart_peak_memory(self) -> None:
        """Measure the memory of every epoch by itself."""
        epoch = self.position // self.num_scenes
        if epoch != self._measured_epoch:
            restart_peak_memory(self.device)
            self._measured_epoch = epoch

    def _log_step(self, numbers: StepNumbers) -> None:
        self.log.advance(self.step)
        if self.step % self.config.log_every == 0 or self.step == self.config.steps:
            self._divergence.check()
            row = {**numbers.read(), "peak_memory_gib": peak_memory_gib(self.device)}
            warnings = self._model_warnings()
            self.log.train_row(
                self.step, row, self._unlogged_scenes, self._unlogged_voxels, warnings
            )
            self._unlogged_scenes = self._unlogged_voxels = 0
            if warnings is not None:
                self.log.warn(
                    self.step, {k: v for k, v in warnings.items() if k not in self._warned}
                )
                self._warned = frozenset(warnings)

    def _model_warnings(self) -> dict[str, str] | None:
        """What the model says is wrong with it now, key -> text; None where it has no say."""
        declared: Any = getattr(self.model, "warnings", None)
        return None if declared is None else dict(declared())

    # --- evaluation and checkpoints ---------------------------------------------------------------

    def _evaluation_is_due(self) -> bool:
        if self.val_batches is None or self.step == self.evaluated_step:
            return False
        every = self.config.evaluate_every
        return self.step >= self.config.steps or bool(every and self.step % every == 0)

    def _evaluate(self, stop: StopRequest) -> None:
        assert self.val_batches is not None
        self.save(LAST_NAME)  # an evaluation that fails costs no training
        model = self.model if self.average is None else self.average.module
        with preserved_random_state(), autocast(self.config.precision, self.device):
            report = evaluate_single_pass(
                model,
                _until_stopped(self.val_batches, stop),
                self.label_map,
                rule=self.rule,
                split=self.val_split,
            )
        self.report = report
        self.evaluated_step = self.step
        self.metrics = {
            "mean_iou": report.mean_iou,
            "accuracy": report.accuracy,
            "mean_accuracy": report.mean_accuracy,
        }
        per_class = {
            f"iou_{name}": float(iou) for name, iou in zip(report.names, report.iou, strict=True)
        }
        row = {**self.metrics, **report.scores.further, **per_class}
        self.log.validation_row(self.step, row, report.headline)
        if self.best_metric is None or report.mean_iou > self.best_metric:
            self.best_metric = float(report.mean_iou)
            self.save(BEST_NAME)
        self.save(LAST_NAME)
        self.log.restart_clock()

    def checkpoint(self) -> Checkpoint:
        """The state of the run after the last whole step."""
        epoch, index_in_epoch = divmod(self.position, self.num_scenes)
        return dataclasses.replace(
            self.origin,
            model=self.model.state_dict(),
            step=self.step,
            optimizer=self.optimizer.state_dict(),
            scaler=self.scaler.state_dict(),
            average=None if self.average is None else self.average.module.state_dict(),
            epoch=epoch,
            index_in_epoch=index_in_epoch,
            random_state=get_random_state(),
            evaluated_step=self.evaluated_step,
            best_metric=self.best_metric,
            metrics={name: float(value) for name, value in self.metrics.items()},
        )

    def save(self, name: str) -> None:
        """Write the state into the run directory, unless training has diverged."""
        self._divergence.check()
        save_checkpoint(self.checkpoint(), self.log.run.checkpoints / name)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to the state of a checkpoint; what follows is what followed it then, bit for bit
        on the CPU.
        """
        num_scenes = self.num_scenes
        if not checkpoint.index_in_epoch < num_scenes:
            raise ValueError(
                f"the checkpoint stands at scene {checkpoint.index_in_epoch} of an epoch, but the "
                f"training split has {num_scenes} scenes now: it is not what the run was trained on"
            )
        load_weights(self.model, checkpoint.model, "the checkpoint")
        # The moments are the checkpoint's; rates, decay and momentum are the configuration's, which
        # may have changed.
        options = [
            {k: v for k, v in g.items() if k != "params"} for g in self.optimizer.param_groups
        ]
        self.optimizer.load_state_dict(checkpoint.optimizer)
        for group, configured in zip(self.optimizer.param_groups, options, strict=True):
            group.update(configured)
        if self.scaler.is_enabled() and checkpoint.scaler:
            self.scaler.load_state_dict(checkpoint.scaler)
        if self.average is not None:
            self.average.module.load_state_dict(checkpoint.average or checkpoint.model)
            self.average.n_averaged.fill_(1 if checkpoint.average else 0)
        self.step = checkpoint.step
        self.position = checkpoint.epoch * num_scenes + checkpoint.index_in_epoch
        self.evaluated_step = checkpoint.evaluated_step
        self.best_metric = checkpoint.best_metric
        self.metrics = dict(checkpoint.metrics)
        set_random_state(checkpoint.random_state)


def _new_average(model: nn.Module, decay: float) -> AveragedModel | None:
    if decay == 0.0:
        return None
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
    average.eval()
    return average


def _set_progress(model: nn.Module, progress: float) -> None:
    declared: Any = getattr(model, "set_progress", None)
    if declared is not None:
        declared(progress)


def _until_stopped(batches: Iterable[SegBatch], stop: StopRequest) -> Iterator[Any]:
    for batch in batches:
        if stop.requested:
            raise Interrupted
        yield batch
