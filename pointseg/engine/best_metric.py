"""Which number of an evaluation says whether a model is the best one so far."""

from __future__ import annotations

import math
from collections.abc import Sequence

BEST_METRICS = ("mean_iou", "accuracy", "mean_accuracy")
CLASS_PREFIX = "iou_"


def check_best_metric(name: str, class_names: Sequence[str]) -> None:
    """Raise ValueError for a metric that an evaluation over these classes does not have."""
    if name not in (*BEST_METRICS, *(f"{CLASS_PREFIX}{known}" for known in class_names)):
        raise ValueError(
            f"train.best_metric: no metric {name!r}; one of {', '.join(BEST_METRICS)}, or "
            f"{CLASS_PREFIX}<class> with one of the classes {', '.join(class_names)}"
        )


def is_better(value: float, best: float | None) -> bool:
    """Whether ``value`` is above the best one so far; nan, of a class that nobody saw, never is."""
    return not math.isnan(value) and (best is None or math.isnan(best) or value > best)
