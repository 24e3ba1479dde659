"""Arguments that the row-wise operators take alike."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from pointseg.ops._common import PairMap


def check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Check a named strategy."""
    names = list(choices)
    if value not in names:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, names))}, got {value!r}")


def swapped_arrays(kmap: PairMap, feats: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The arrays of the swapped map where the gradient of `feats` will need them, else three None."""
    if not (feats.requires_grad and torch.is_grad_enabled()):
        return None, None, None
    swapped = kmap.transposed()
    return swapped.in_rows, swapped.out_rows, swapped.segments
