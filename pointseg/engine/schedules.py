"""Learning rate schedules as pure functions of the step: there is no scheduler state to save or to
get wrong.

``learning_rate_factor`` gives what the optimiser's base learning rate is multiplied by in step 0,
1, ...
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ScheduleConfig:
    """How the learning rate moves over a run of a fixed number of steps."""

    name: Literal["constant", "poly", "squared", "cosine", "one_cycle"] = "poly"
    power: float = 0.9
    """Exponent of ``poly``."""
    warmup_steps: int = 0
    """Steps of the linear rise at the start; for ``one_cycle`` the length of its own rise, 0 =
    ``rise_fraction``.
    """
    warmup_factor: float = 0.01
    """Where the linear rise starts, as a share of the base learning rate."""
    rise_fraction: float = 0.3
    """Share of a ``one_cycle`` run that the rise takes."""
    start_factor: float = 0.04
    """Where ``one_cycle`` starts, as a share of its peak, the base learning rate."""
    end_factor: float = 0.0
    """Where ``cosine`` and ``one_cycle`` end, as a share of the base learning rate."""

    def __post_init__(self) -> None:
        if self.warmup_steps < 0:
            raise ValueError(f"warmup_steps must not be negative, got {self.warmup_steps}")
        if not 0.0 < self.rise_fraction < 1.0:
            raise ValueError(f"rise_fraction must lie between 0 and 1, got {self.rise_fraction}")


def learning_rate_factor(config: ScheduleConfig, step: int, num_steps: int) -> float:
    """Factor on the base learning rate in ``step`` of ``0..num_steps-1`` (later steps keep the last
    value).

    With ``t`` the share of the run after warm-up that is over: poly ``(1 - t)^power``, squared ``(1
    - t)^2``, cosine ``e + (1 - e)(1 + cos(pi t)) / 2``, constant 1. One cycle is a cosine rise from
    ``start_factor`` to 1 and a cosine fall to ``end_factor``.
    """
    if step < 0 or num_steps < 1:
        raise ValueError(
            f"expected step >= 0 and num_steps >= 1, got step {step}, num_steps {num_steps}"
        )
    step = min(step, num_steps - 1)
    if config.name == "one_cycle":
        return _one_cycle(config, step, num_steps)
    if step < config.warmup_steps:
        return config.warmup_factor + (1.0 - config.warmup_factor) * step / config.warmup_steps
    progress = (step - config.warmup_steps) / max(num_steps - config.warmup_steps, 1)
    return _SHAPES[config.name](config, progress)


def _one_cycle(config: ScheduleConfig, step: int, num_steps: int) -> float:
    # The peak and the end are reached exactly, at a step each.
    peak = float(config.warmup_steps) or config.rise_fraction * num_steps - 1.0
    last = float(num_steps - 1)
    if step <= peak:
        return _cosine_between(config.start_factor, 1.0, step / peak if peak > 0 else 1.0)
    return _cosine_between(1.0, config.end_factor, (step - peak) / (last - peak))


def _cosine_between(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1.0 + math.cos(math.pi * progress)) / 2.0


_SHAPES: dict[str, Callable[[ScheduleConfig, float], float]] = {
    "constant": lambda config, progress: 1.0,
    "poly": lambda config, progress: (1.0 - progress) ** config.power,
    "squared": lambda config, progress: (1.0 - progress) ** 2,
    "cosine": lambda config, progress: _cosine_between(1.0, config.end_factor, progress),
}
