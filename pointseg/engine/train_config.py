"""What a training run is asked for besides data, model and loss."""

from __future__ import annotations

from dataclasses import dataclass

from pointseg.engine.precision import DTYPES
from pointseg.engine.sinks import WandbMode


@dataclass(frozen=True)
class TrainConfig:
    """Length, batches and rhythm of a training run."""

    steps: int
    """Optimiser steps of the whole run."""
    batch_size: int = 1
    """Scenes of one forward pass; with max_points, the most of them."""
    max_points: int = 0
    """Most points of one forward pass, before augmentation; a larger scene is one of its own. 0:
    batch_size scenes, whatever their size.
    """
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
    keep_checkpoints: int = 1
    """Earlier checkpoints that are kept beside the last and the best one; the oldest go first."""
    keep_every: int = 0
    """Checkpoints of every multiple of this many steps are kept for ever; 0: none. A multiple of
    save_every.
    """
    max_failed_saves: int = 3
    """Saves in a row that fail, on a full disk say, after which the run ends with an error."""
    best_metric: str = "mean_iou"
    """What the best checkpoint is the best in: mean_iou, accuracy, mean_accuracy or iou_<class>."""
    log_every: int = 10
    """Steps between logged rows."""
    freeze: tuple[str, ...] = ()
    """Names of parameters that are not trained, as patterns: ``*`` any text, ``?`` a character."""
    freeze_until: int = 0
    """First step in which they are trained; 0: none, they stay as they are."""
    seed: int = 0
    """Seed of initial weights, scene order and augmentation."""
    max_skipped_steps: int = 10
    """Steps in a row that are left out, on all ranks, because a batch gave a loss or gradient that
    is not finite or took more memory than there is; one more ends the run. 0: the first one does.
    Above 0 a GPU is waited for once a step.
    """
    sync_batch_norm: bool = True
    """Whether batch norms see the voxels of all ranks; otherwise each sees its own, and the running
    statistics are means over ranks. Nothing to one process.
    """
    timeout_s: float = 1800.0
    """Seconds that a rank waits for the others before it gives up; more than any evaluation takes
    longer on one rank than on another.
    """
    tensorboard: bool = True
    """Whether a TensorBoard log is written beside metrics.jsonl."""
    wandb: WandbMode | None = None
    """Whether Weights & Biases is given the numbers, too: offline (in the run directory, no network
    needed) or online; null: not.
    """

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulate", "log_every", "max_failed_saves"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in (
            *("evaluate_every", "save_every", "keep_checkpoints", "keep_every", "seed"),
            *("max_points", "max_skipped_steps", "freeze_until"),
        ):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.keep_every and (not self.save_every or self.keep_every % self.save_every):
            raise ValueError(
                f"keep_every must be a multiple of save_every ({self.save_every}), got "
                f"{self.keep_every}"
            )
        if self.clip_norm < 0:
            raise ValueError(f"clip_norm must not be negative, got {self.clip_norm}")
        if not self.timeout_s > 0:
            raise ValueError(f"timeout_s must be positive, got {self.timeout_s}")
        if self.precision not in DTYPES:
            raise ValueError(
                f"precision must be one of {', '.join(DTYPES)}, got {self.precision!r}"
            )
        if not 0.0 <= self.average_decay < 1.0:
            raise ValueError(f"average_decay must lie in [0, 1), got {self.average_decay}")
        if self.freeze_until and not self.freeze:
            raise ValueError(f"freeze_until is {self.freeze_until}, but freeze names no parameters")
        if self.freeze_until >= self.steps:
            raise ValueError(
                f"freeze_until {self.freeze_until} is not before the end of the run of "
                f"{self.steps} steps; 0 freezes for all of it"
            )
