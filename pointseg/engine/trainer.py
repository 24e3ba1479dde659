"""The training loop."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pointseg.data import LabelMap, SegBatch
from pointseg.distributed import (
    Group,
    RanksLost,
    agree,
    conclude,
    everywhere,
    gather_objects,
    is_main,
    num_ranks,
    rank,
    reduce_gradients,
)
from pointseg.engine.best_metric import is_better
from pointseg.engine.broken_scenes import BrokenScenes
from pointseg.engine.budget_sampler import LoadBalance
from pointseg.engine.checkpoint import LAST_NAME, Checkpoint
from pointseg.engine.checkpoint_folder import CheckpointFolder
from pointseg.engine.distillation import Distillation
from pointseg.engine.failed_saves import FailedSaves
from pointseg.engine.freezing import Freezing
from pointseg.engine.interrupt import Interrupted, StopRequest, signal_on_any_rank
from pointseg.engine.loaders import LoadedBatch
from pointseg.engine.logging import RunLog
from pointseg.engine.losses import SegmentationLoss, check_labels
from pointseg.engine.model_words import geometry_of, own_terms, set_progress, warnings_of
from pointseg.engine.moving_average import new_average
from pointseg.engine.optimizers import group_learning_rates, load_moments, set_learning_rate
from pointseg.engine.precision import autocast, new_scaler, take_step
from pointseg.engine.profiling import StepProfiler
from pointseg.engine.random_state import (
    get_random_state,
    preserved_random_state,
    seed_rank,
    set_random_state,
)
from pointseg.engine.schedules import ScheduleConfig, learning_rate_factor
from pointseg.engine.sealed_file import NotSaved
from pointseg.engine.shared_state import average_norms, check_same_weights
from pointseg.engine.skipped import (
    Outcome,
    SkippedStep,
    StepStart,
    describe_failure,
    release_memory_of,
    save_skipped_step,
)
from pointseg.engine.step_clock import StepClock
from pointseg.engine.step_numbers import (
    REMEDY,
    DivergenceCheck,
    Numbers,
    StepCounts,
    StepNumbers,
    TrainingDiverged,
    scenes_of,
)
from pointseg.engine.train_config import TrainConfig
from pointseg.engine.weights import load_weights
from pointseg.evaluation import MetricRule, SegReport, count_scenes, report_of
from pointseg.machine import peak_memory_gib, restart_peak_memory

logger = logging.getLogger(__name__)


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
    """The best value of ``train.best_metric`` in the whole run, of a model that could be saved."""


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
        train_batches: Callable[[int], Iterable[LoadedBatch]],
        num_scenes: int,
        max_broken_scenes: int = 0,
        val_batches: Iterable[SegBatch] | None,
        val_split: str,
        rule: MetricRule,
        label_map: LabelMap,
        origin: Checkpoint,
        log: RunLog,
        device: torch.device,
        group: Group | None = None,
        distillation: Distillation | None = None,
    ) -> None:
        """``origin`` gives what every checkpoint of the run has in common: config, label map,
        versions.

        ``train_batches(position)`` gives this rank's endless batches from the scene at ``position``
        in the training order on, for a split of ``num_scenes``; positions count the scenes of all
        ranks. ``max_broken_scenes`` may be left out by each rank because they cannot be read.
        ``val_batches`` None leaves evaluation out; otherwise they are this rank's part, ``rule``
        scores them, and they are called ``val_split`` in the report. The model, the loss and the
        teacher of ``distillation`` must be on ``device`` already. ``group`` None: a single process.
        """
        self.config = config
        self.schedule = schedule
        self.model = model
        self.loss = loss
        self.distillation = distillation
        self.optimizer = optimizer
        self.base_lr = float(optimizer.param_groups[0]["lr"])
        self.scaler = new_scaler(config.precision, device)
        self.average = new_average(model, config.average_decay)
        self.freezing = Freezing(model, config.freeze, config.freeze_until)
        self.train_batches = train_batches
        self.num_scenes = num_scenes
        self.val_batches = val_batches
        self.val_split = val_split
        self.rule = rule
        self.label_map = label_map
        self.origin = origin
        self.log = log
        self.device = device
        self.checkpoints = CheckpointFolder(
            log.run.checkpoints, config.keep_checkpoints, config.keep_every
        )
        self.group = group or Group()

        self.step = 0
        self.position = 0  # in the training order, over all ranks
        self.skipped_steps = 0
        self.skipped_in_a_row = 0
        self.evaluated_step = 0
        self.best_metric: float | None = None
        self.metrics: dict[str, float] = {}
        self.report: SegReport | None = None
        self._divergence = DivergenceCheck(
            gradients_may_overflow=self.scaler.is_enabled(),
            at_once=device.type == "cpu" or num_ranks() > 1 or config.max_skipped_steps > 0,
        )
        self._saved_step: int | None = None
        self._measured_epoch = -1  # that the peak of the memory is of
        self._failed_saves = FailedSaves(config.max_failed_saves)
        self._warned: frozenset[str] = frozenset()
        self.clock = StepClock.of(device)
        self.profiler: StepProfiler | None = None
        """Told of every step, where there is one."""
        self._balance = LoadBalance(config.max_points)
        self._broken = BrokenScenes(max_broken_scenes)

    def run(self) -> TrainResult:
        """Train until the configured number of steps is done or a signal asks to stop; leaves
        ``last.pt`` either way.

        All ranks call it, and end after the same step whichever of them the signal reached.
        """
        check_same_weights(self.model)
        with StopRequest() as stop:
            batches = iter(self.train_batches(self.position))
            while not (signal_name := signal_on_any_rank(stop)):
                if self._evaluation_is_due():
                    try:
                        self._evaluate(stop)
                    except Interrupted:
                        continue
                if self.step >= self.config.steps:
                    break
                self.group.beat(self.step)
                self._restart_peak_memory()
                with self.clock("data"):
                    taken = everywhere(lambda: self._next_batches(batches))
                numbers = self._train_step(taken)
                if numbers is None:
                    continue
                self._log_step(numbers)
                if self.config.save_every and self.step % self.config.save_every == 0:
                    self.save()
            self.save(is_final=True)
        completed = self.step >= self.config.steps and not self._evaluation_is_due()
        return TrainResult(self.step, completed, signal_name, self.report, self.best_metric)

    def _next_batches(self, batches: Iterator[LoadedBatch]) -> list[LoadedBatch]:
        """This rank's batches of the next step; what they left out is told."""
        taken = [next(batches) for _ in range(self.config.accumulate)]
        for loaded in taken:
            check_labels(loaded.batch.voxel_labels, self.label_map.num_classes)
            self._balance.add(loaded.share.loads)
            new = self._broken.add(loaded.broken)
            self.log.warn(self.step, {f"scene/{name}": text for name, text in new.items()})
        return taken

    def _train_step(self, taken: list[LoadedBatch]) -> StepNumbers | None:
        """One optimiser step over the batches of all ranks, of which ``taken`` are this one's, on
        the host; None where the step was left out.

        Where nothing looks at the result before the weights do, it does not wait for a GPU.
        """
        self.freezing.enter(self.step)
        batches = [loaded.batch for loaded in taken]
        behind = taken[-1].share.end
        factor = learning_rate_factor(self.schedule, self.step, self.config.steps)
        set_learning_rate(self.optimizer, self.base_lr * factor)
        counts = StepCounts.over_ranks(batches)
        # A step that is looked at too late to leave it out has nothing to go back to.
        before = StepStart.of(self.model) if self._divergence.at_once else None
        self.optimizer.zero_grad(set_to_none=True)

        error: Exception | None = None
        sums: dict[str, Tensor | float] = {}
        passes: list[Numbers] = []
        try:
            sums, passes = self._passes(batches, counts)
        except RanksLost:
            raise
        except Exception as found:
            error = found
        with self.clock("reduce"):
            outcomes, sums = self._conclude(error, sums)
        if any(outcomes):
            self._skip(batches, behind, before, outcomes, error)
            return None

        with self.clock("reduce"):
            reduce_gradients(self._parameters)
        with self.clock("optimizer"):
            self.scaler.unscale_(self.optimizer)
            norm = nn.utils.clip_grad_norm_(self._parameters, self.config.clip_norm or math.inf)
        rates = {"lr": self.base_lr * factor, **group_learning_rates(self.optimizer)}
        own = {**rates, "epoch": behind / self.num_scenes}
        scene_ids = scenes_of(batches)
        loss = sums.pop("loss")
        numbers = StepNumbers(self.step + 1, scene_ids, loss, norm, {**sums, **own}, passes)
        problem = self._divergence.add(numbers)
        if problem:
            outcomes = [Outcome.NOT_FINITE] * num_ranks()
            self._skip(batches, behind, before, outcomes, None, problem)
            return None
        with self.clock("optimizer"):
            is_taken = take_step(self.scaler, self.optimizer)
            if not self.config.sync_batch_norm:
                average_norms(self.model)
            if self.average is not None and is_taken:
                self.average.update_parameters(self.model)
                # What follows the progress is known; an average of it would lag behind.
                set_progress(self.average.module, self.progress)

        self.step += 1  # also where the scaler had to leave it out: schedules go on
        self.position = behind
        self.skipped_steps += not is_taken
        self.skipped_in_a_row = 0
        self.clock.count_step(
            scenes=counts.num_scenes, voxels=counts.num_voxels, points=counts.num_points
        )
        return numbers

    def _passes(
        self, batches: list[SegBatch], counts: StepCounts
    ) -> tuple[dict[str, Tensor | float], list[Numbers]]:
        """Forward and backward passes of one step: this rank's loss and its terms, each its part of
        the step's, and further numbers of each pass. Gradients are left in the parameters.
        """
        sums: dict[str, Tensor | float] = {}
        passes: list[Numbers] = []
        for batch, num_valid in zip(batches, counts.own_valid, strict=True):
            with self.clock("forward"), autocast(self.config.precision, self.device):
                moved = batch.to(self.device, non_blocking=True)
                terms, scalars = self._forward(moved, num_valid, counts)
                total = torch.stack(list(terms.values())).sum()
            with self.clock("backward"):
                self.scaler.scale(total).backward()
            for name, value in {
                "loss": total,
                **{f"loss_{k}": v for k, v in terms.items()},
            }.items():
                value = value.detach().double()
                sums[name] = sums[name] + value if name in sums else value
            passes.append(scalars)
        return sums, passes

    def _conclude(
        self, error: Exception | None, sums: dict[str, Tensor | float]
    ) -> tuple[list[Outcome], dict[str, Tensor | float]]:
        """How the passes of a step ended on every rank, and the sums over all of them.

        A rank alone looks at its numbers later, with the norm of the gradient, unless a scaler
        waits for them anyway. An error that is no lack of memory is raised on all ranks.
        """
        outcome = Outcome.of(error)
        if num_ranks() == 1 and error is None and not self.scaler.is_enabled():
            return [outcome], sums
        row = torch.tensor([outcome], dtype=torch.float64, device=self.device)
        if error is None:
            gradients = [p.grad for p in self._parameters if p.grad is not None]
            values = torch.stack([torch.as_tensor(value) for value in sums.values()])
            sound = self._divergence.is_sound(values[0], gradients)
            row = torch.cat([torch.where(sound, row, float(Outcome.NOT_FINITE)), values])
        rows = conclude(row)
        outcomes = [Outcome(int(values[0])) for values in rows]
        if Outcome.BROKEN in outcomes:
            agree(error if outcome is Outcome.BROKEN else None)
        columns = zip(*(values[1:] for values in rows), strict=True)
        return outcomes, dict(zip(sums, map(math.fsum, columns), strict=True))

    def _skip(
        self,
        batches: list[SegBatch],
        behind: int,
        before: StepStart | None,
        outcomes: list[Outcome],
        error: Exception | None,
        problem: str = "",
    ) -> None:
        """Leave out a step that failed on some rank, on all of them; raise on all where there were
        too many in a row.

        Its scenes count as seen, up to the position ``behind``; weights, moments, statistics and
        the number of the step stay.
        """
        self.optimizer.zero_grad(set_to_none=True)
        own = outcomes[rank()]
        text = describe_failure(own, batches, error, problem) if own else ""
        if error is not None:
            release_memory_of(error, self.device)
        if before is not None:
            before.restore_buffers()
            if own:
                self._keep_reproducer(batches, before, text)
        texts = gather_objects(text)
        told = "; ".join(
            text if num_ranks() == 1 else f"rank {other}: {text}"
            for other, text in enumerate(texts)
            if text
        )
        self.position = behind
        self.skipped_steps += 1
        self.skipped_in_a_row += 1
        if self.skipped_in_a_row > self.config.max_skipped_steps:
            if Outcome.OUT_OF_MEMORY in outcomes:
                agree(error)
            raise TrainingDiverged(
                f"step {self.step + 1}: {told}; {self.skipped_in_a_row} failed in a row "
                f"(train.max_skipped_steps: {self.config.max_skipped_steps}); {REMEDY}"
            )
        self.log.message(f"step {self.step + 1}/{self.config.steps}  left out: {told}")

    def _keep_reproducer(self, batches: list[SegBatch], before: StepStart, reason: str) -> None:
        last = self.log.run.checkpoints / LAST_NAME
        skipped = SkippedStep(
            step=self.step,
            rank=rank(),
            reason=reason,
            batches=tuple(batches),
            random_state=before.random_state,
            checkpoint=str(last) if self._saved_step is not None else "",
            checkpoint_step=self._saved_step or 0,
        )
        save_skipped_step(skipped, self.log.run.skipped)

    @property
    def _parameters(self) -> list[nn.Parameter]:
        """What this step trains."""
        return [p for p in self.model.parameters() if p.requires_grad]

    @property
    def progress(self) -> float:
        """Share of the run that is done, 0 in the first step; the same for all of its passes."""
        return self.step / self.config.steps

    def _forward(
        self, batch: SegBatch, num_valid: int, counts: StepCounts
    ) -> tuple[dict[str, Tensor], Numbers]:
        """Loss terms of one batch, each its part of the step's loss, and further numbers to log.

        Sums over voxels are divided by those of the whole step that count: the valid ones or, of
        the distillation, its own. A model's own terms count by the batch's share of the valid ones.
        """
        models = [self.model, *(() if self.distillation is None else (self.distillation.teacher,))]
        batch.voxels.grid.prepare(geometry_of(models))
        set_progress(self.model, self.progress)
        logits = self.model(batch.voxels)
        sums = self.loss(logits, batch.voxel_labels)
        terms = {name: value / counts.num_valid for name, value in sums.items()}
        if self.distillation is not None:
            num_counted = self.distillation.num_counted(counts.num_voxels, counts.num_valid)
            terms["distillation"] = self.distillation(batch, logits) / num_counted
        own, scalars = own_terms(self.model, self.progress)
        share = num_valid / counts.num_valid
        return terms | {name: value * share for name, value in own.items()}, scalars

    def _restart_peak_memory(self) -> None:
        """Measure the memory of every epoch by itself."""
        epoch = self.position // self.num_scenes
        if epoch != self._measured_epoch:
            restart_peak_memory(self.device)
            self._measured_epoch = epoch

    def _log_step(self, numbers: StepNumbers) -> None:
        self.log.advance(self.step)
        if self.profiler is not None:
            self.profiler.step()
        if self.step % self.config.log_every == 0 or self.step == self.config.steps:
            self._divergence.check()
            own = {
                "peak_memory_gib": peak_memory_gib(self.device),
                "skipped_steps": self.skipped_steps,
            }
            row = {**numbers.read(), **own, **self.clock.read()}
            row |= self._balance.take() | self._broken.numbers()
            warnings = warnings_of(self.model)
            self.log.train_row(self.step, row, warnings)
            if warnings is not None:
                self.log.warn(
                    self.step, {k: v for k, v in warnings.items() if k not in self._warned}
                )
                self._warned = frozenset(warnings)

    # --- evaluation and checkpoints ---------------------------------------------------------------

    def _evaluation_is_due(self) -> bool:
        if self.val_batches is None or self.step == self.evaluated_step:
            return False
        every = self.config.evaluate_every
        return self.step >= self.config.steps or bool(every and self.step % every == 0)

    def _evaluate(self, stop: StopRequest) -> None:
        assert self.val_batches is not None
        self.save()  # an evaluation that fails costs no training
        model = self.model if self.average is None else self.average.module
        batches = _until_stopped(self.val_batches, stop)
        begin_s = time.perf_counter()
        with (
            self.clock("evaluation"),
            preserved_random_state(),
            autocast(self.config.precision, self.device),
        ):
            counted = everywhere(
                lambda: count_scenes(model, batches, self.label_map, rule=self.rule)
            )
        if signal_on_any_rank(stop):
            raise Interrupted
        parts = gather_objects(counted)
        report = report_of(parts, self.label_map, rule=self.rule, split=self.val_split)
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
        metric = float(row[self.config.best_metric])
        row["evaluation_time_s"] = time.perf_counter() - begin_s
        self.log.validation(self.step, row, report, is_better(metric, self.best_metric))
        self._save_evaluated(metric)

    def _save_evaluated(self, metric: float) -> None:
        """Save the state, as the best one if it is; one that cannot be saved does not count."""
        best = self.best_metric
        is_best = is_better(metric, best)
        if is_best:
            self.best_metric = metric
        if not self.save(is_best) and is_best:
            self.best_metric = best

    def checkpoint(self) -> Checkpoint:
        """The state of the run after the last whole step; all ranks call it."""
        random_state, *other_random_states = gather_objects(get_random_state())
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
            random_state=random_state,
            other_random_states=other_random_states,
            skipped_steps=self.skipped_steps,
            skipped_in_a_row=self.skipped_in_a_row,
            evaluated_step=self.evaluated_step,
            best_metric=self.best_metric,
            best_metric_name=self.config.best_metric,
            metrics={name: float(value) for name, value in self.metrics.items()},
        )

    def save(self, is_best: bool = False, is_final: bool = False) -> bool:
        """Write the state into the run directory, on rank 0, unless training has diverged.

        Where it cannot be written, the run goes on with a warning and tries again at the next
        save; False then. Raises NotSaved after too many failures in a row, and where there is no
        next save.
        """
        self._divergence.check()

        def write(checkpoint: Checkpoint) -> bool:
            if is_main():
                try:
                    self.checkpoints.save(checkpoint, is_best)
                except NotSaved as error:
                    if is_final:
                        raise
                    self.log.warn(self.step, {"save": self._failed_saves.add(self.step, error)})
                    return False
            return True

        with self.clock("checkpoint"):
            checkpoint = self.checkpoint()
            is_saved = gather_objects(everywhere(lambda: write(checkpoint)))[0]
        if is_saved:
            self._failed_saves.clear()
            self._saved_step = self.step
        return is_saved

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
        load_moments(self.optimizer, checkpoint.optimizer, "the checkpoint")
        if self.scaler.is_enabled() and checkpoint.scaler:
            self.scaler.load_state_dict(checkpoint.scaler)
        if self.average is not None:
            self.average.module.load_state_dict(checkpoint.average or checkpoint.model)
            self.average.n_averaged.fill_(1 if checkpoint.average else 0)
        self.step = checkpoint.step
        self.position = checkpoint.epoch * num_scenes + checkpoint.index_in_epoch
        self.evaluated_step = checkpoint.evaluated_step
        is_same_metric = checkpoint.best_metric_name == self.config.best_metric
        self.best_metric = checkpoint.best_metric if is_same_metric else None
        self.metrics = dict(checkpoint.metrics)
        self.skipped_steps = checkpoint.skipped_steps
        self.skipped_in_a_row = checkpoint.skipped_in_a_row
        if self.step:  # that of the last step, as it was saved, where no other follows
            factor = learning_rate_factor(self.schedule, self.step - 1, self.config.steps)
            set_learning_rate(self.optimizer, self.base_lr * factor)
        self._restore_random_state([checkpoint.random_state, *checkpoint.other_random_states])

    def _restore_random_state(self, states: list[dict[str, Any]]) -> None:
        """This rank's own, or one that follows from the seed where there were fewer ranks."""
        if len(states) != num_ranks() and is_main():
            logger.warning(
                "the checkpoint is of a run with %d ranks, and this one has %d: steps have other "
                "batches from here on (train.batch_size scenes of each rank)",
                len(states), num_ranks(),
            )  # fmt: skip
        if rank() < len(states):
            set_random_state(states[rank()])
        else:
            seed_rank(self.config.seed + self.step)


def _until_stopped(batches: Iterable[SegBatch], stop: StopRequest) -> Iterator[SegBatch]:
    return itertools.takewhile(lambda _: not stop.requested, batches)
