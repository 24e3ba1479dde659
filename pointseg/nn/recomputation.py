"""Which modules of a network have their activations computed again in the backward pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from pointseg.recompute import recomputed
from pointseg.sparse import SparseTensor


def call_module(module: nn.Module, *inputs: SparseTensor) -> SparseTensor:
    """``module(*inputs)``; where it is marked, only the inputs are kept for the backward pass.

    Kernel maps belong to the grids and are not found again.
    """
    if not (getattr(module, "recomputes", False) and torch.is_grad_enabled()):
        out: SparseTensor = module(*inputs)
        return out
    grids = [x.grid for x in inputs]

    def call(*feats: torch.Tensor) -> SparseTensor:
        found: SparseTensor = module(*map(SparseTensor, feats, grids))
        return found

    return recomputed(call, *(x.feats for x in inputs))


def mark_recomputed(groups: Mapping[str, Mapping[str, nn.Module]], names: Sequence[str]) -> None:
    """Mark the modules called `names`, or all of a group, for `call_module`; unmark all others.

    groups: name of a group, such as ``stages`` -> its modules by name.

    Raises ValueError for a name that is neither, and for modules inside one another.
    """
    units = {name: module for group in groups.values() for name, module in group.items()}
    chosen: dict[str, nn.Module] = {}
    for name in names:
        if name not in groups and name not in units:
            raise ValueError(
                f"{name!r} is nothing that can be computed again; choose {', '.join(groups)}, "
                f"or of {', '.join(units)}"
            )
        chosen |= groups.get(name) or {name: units[name]}
    for name in chosen:
        inside = next((other for other in chosen if name.startswith(f"{other}.")), None)
        if inside is not None:
            raise ValueError(f"{name} lies in {inside}, which is computed again as a whole")
    for name, module in units.items():
        module.recomputes = name in chosen  # type: ignore[assignment]
