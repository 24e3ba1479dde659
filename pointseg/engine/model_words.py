"""What a model may say to the trainer, which knows no model: each method is called where it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from pointseg.engine.step_numbers import Numbers
from pointseg.nn import merge_plans
from pointseg.sparse import GeometryPlan


def geometry_of(models: Iterable[nn.Module]) -> GeometryPlan:
    """The grids and kernel maps that all of the models together need (``geometry()``)."""
    declared: list[Any] = [getattr(model, "geometry", None) for model in models]
    return merge_plans(geometry() for geometry in declared if geometry is not None)


def set_progress(model: nn.Module, progress: float) -> None:
    """Tell a model the share of the run that is done (``set_progress(progress)``)."""
    declared: Any = getattr(model, "set_progress", None)
    if declared is not None:
        declared(progress)


def own_terms(model: nn.Module, progress: float) -> tuple[dict[str, Tensor], Numbers]:
    """A model's own loss terms and numbers to log (``training_terms(progress)``); often none."""
    declared: Any = getattr(model, "training_terms", None)
    if declared is None:
        return {}, {}
    terms, scalars = declared(progress)
    return dict(terms), scalars


def warnings_of(model: nn.Module) -> dict[str, str] | None:
    """What is wrong with a model now, key -> text (``warnings()``); None where it has no say."""
    declared: Any = getattr(model, "warnings", None)
    return None if declared is None else dict(declared())
