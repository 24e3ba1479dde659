"""The weights of a trained model that a new run begins with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from pointseg.engine.checkpoint import BEST_NAME, load_checkpoint
from pointseg.engine.checkpoint_folder import find_checkpoint
from pointseg.engine.class_rows import class_axes, match_classes, take_over_classes
from pointseg.engine.fingerprint import Fingerprint
from pointseg.engine.weights import load_fitting, load_weights
from pointseg.models import build_model


@dataclass(frozen=True)
class InitialWeights:
    """Where a new run's weights come from, and what is done with those that do not fit."""

    source: Path
    """Checkpoint, or run directory (its best one); of a run with a moving average, that."""
    partial: bool = False
    """Whether to load what fits, instead of refusing what does not."""
    renamed_classes: Mapping[str, str] | None = None
    """Not None: the weights are of other classes, and rows of those with the same name are taken
    over; of some, by the model's name, the name that the weights have.
    """

    def load(self, model: nn.Module, now: Fingerprint) -> list[str]:
        """Load them into ``model``, which is of ``now``; lines that say what was loaded.

        ValueError lists what does not fit the model or the task.
        """
        path = find_checkpoint(self.source.expanduser(), prefer=BEST_NAME)
        checkpoint = load_checkpoint(path)
        weights: dict[str, Any] = checkpoint.average or checkpoint.model
        then = Fingerprint.of(checkpoint)
        told = f"weights of {path}, after {checkpoint.step} steps"
        matched: list[str] = []
        if self.renamed_classes is not None:
            match = match_classes(now.classes, then.classes, self.renamed_classes)
            axes = class_axes(
                lambda n: build_model(now.model, now.in_channels, n, **now.model_options)
            )
            weights = take_over_classes(model, weights, axes, match)
            then = dataclasses.replace(then, classes=now.classes)
            matched.append(match.headline)
        if not self.partial:
            then.check(now, str(path))
            load_weights(model, weights, str(path))
            return [told, *matched]
        report = load_fitting(model, weights, str(path))
        lines = [*matched, *then.conflicts(now), *report.differences()]
        return [f"{told}: {report.headline}", *lines]
