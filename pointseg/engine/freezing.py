"""Parts of a model that a run leaves as they are, for its first steps or for all of them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from pointseg.engine.parameter_patterns import first_matches


class Freezing:
    """Keeps parameters whose names match patterns as they are before step ``until`` (0: always).

    They have no gradient, and a module all of whose parameters are frozen is in evaluation mode,
    with everything below it: its batch norms use their running statistics and leave them as they
    are, and so do codes and priors of codebooks; dropout is off. An optimiser skips parameters
    without gradient, their decay included, and the average of a model that stays is that model.

    Which parts are frozen in a step is a function of the step, so a resumed run needs no state.
    """

    def __init__(self, model: nn.Module, patterns: Sequence[str], until: int = 0) -> None:
        """Raises ValueError for a pattern that matches no parameter, and if nothing is left to
        train.
        """
        self.model = model
        self.until = until
        frozen = first_matches(patterns, model, "freeze")
        parameters = dict(model.named_parameters())
        if len(frozen) == len(parameters):
            raise ValueError(
                f"freeze: {list(patterns)} match all parameters of the model: nothing is "
                "left to train"
            )
        self.parameters = tuple(parameters[name] for name in frozen)
        self.modules = _frozen_modules(model, set(map(id, self.parameters)))

    def is_active(self, step: int) -> bool:
        """Whether anything is frozen in ``step``."""
        return bool(self.parameters) and (self.until == 0 or step < self.until)

    def enter(self, step: int) -> None:
        """Put the model in training mode for ``step``, but for what is frozen in it."""
        self.model.train()
        active = self.is_active(step)
        for parameter in self.parameters:
            parameter.requires_grad_(not active)
        if active:
            for module in self.modules:
                module.eval()


def _frozen_modules(model: nn.Module, frozen: set[int]) -> tuple[nn.Module, ...]:
    """The outermost modules that have parameters, all of them frozen."""
    members = [id(parameter) for parameter in model.parameters()]
    if members and frozen.issuperset(members):
        return (model,)
    return tuple(m for child in model.children() for m in _frozen_modules(child, frozen))
