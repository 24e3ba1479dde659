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


def check_parameter(name: str, parameter: Tensor, feats: Tensor) -> None:
    """Check a parameter: the dtype of `feats`, or float32 beside 16-bit features, same device.

    Under autocast parameters stay float32, so their gradients, sums over all rows, do too: in
    float16 they would overflow, in bfloat16 lose small terms.
    """
    mixed = feats.element_size() == 2 and parameter.dtype == torch.float32
    if parameter.dtype != feats.dtype and not mixed:
        raise TypeError(f"{name}: expected {feats.dtype} like feats, got {parameter.dtype}")
    if parameter.device != feats.device:
        raise ValueError(
            f"{name}: expected device {feats.device} like feats, got {parameter.device}"
        )


def swapped_arrays(
    kmap: PairMap, feats: Tensor
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The arrays of the swapped map where the gradient of `feats` needs them, else three None."""
    if not (feats.requires_grad and torch.is_grad_enabled()):
        return None, None, None
    swapped = kmap.transposed()
    return swapped.in_rows, swapped.out_rows, swapped.segments
