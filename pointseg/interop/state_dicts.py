"""Checkpoints of U-Nets written by networks that are built on MinkowskiEngine.

MinkUNet comes from MinkowskiEngine's example networks, CodedVTR from its authors' network
``Res16UNetTestA``. A published state dict loads all or nothing, and ours is written under the
published names. Which names those are is in `pointseg.interop.published_names`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pointseg.interop.published_names import Published, published_parts
from pointseg.models import UNet

_MODULE_PREFIX = "module."
_MAX_LISTED = 40


def minkowski_names(model: UNet) -> dict[str, str]:
    """Parameter and buffer names of `model` -> names in the published network's state dict.

    A packed codebook is one entry after the other, each with a name of its own there:
    ``...codebook[0:27]`` are the rows of the first.
    """
    return {part.label: part.theirs for part in published_parts(model)}


def from_minkowski_state_dict(state_dict: Mapping[str, object], model: UNet) -> dict[str, Tensor]:
    """Convert a published state dict to one that ``model.load_state_dict`` takes.

    state_dict: names to tensors, or a checkpoint that holds such a mapping under "state_dict" or
    "model_state_dict". A ``module.`` prefix on every name (from data-parallel training) is
    removed. model: the `MinkUNet` or `CodedVTR` to be filled; it is not changed.

    Tensors keep their dtype and device and share memory with those given, except for codebooks and
    kernels of regions, which are put together. Buffers that the published network does not have
    (the temperature) are those of `model`.

    Raises ValueError that lists every missing, unexpected and mis-shaped entry at once.
    """
    theirs = _plain_entries(state_dict)
    parts = published_parts(model)
    problems = [f"missing: {part.theirs}" for part in parts if part.theirs not in theirs]
    known = {part.theirs for part in parts}
    problems += [f"unexpected: {name}" for name in theirs if name not in known]
    pieces: dict[str, list[Tensor]] = {}
    for part in parts:
        if part.theirs in theirs:
            piece, problem = _to_ours(theirs[part.theirs], part)
            problems += problem
            pieces.setdefault(part.ours, []).append(piece)
    if problems:
        raise ValueError(_report(problems))
    converted = {
        name: parts[0] if len(parts) == 1 else torch.cat(parts) for name, parts in pieces.items()
    }
    return {name: converted.get(name, value) for name, value in model.state_dict().items()}


def to_minkowski_state_dict(model: UNet) -> dict[str, Tensor]:
    """The parameters and running statistics of `model` under the published names and shapes.

    Tensors share memory with the model's, where they are not kernels of regions with missing taps,
    which are filled up with zeros.

    Raises ValueError that names a parameter which the published network does not have.
    """
    state = model.state_dict()
    return {
        part.theirs: _to_theirs(state[part.ours].detach(), part) for part in published_parts(model)
    }


def load_minkowski_state_dict(model: UNet, state_dict: Mapping[str, object]) -> None:
    """Fill `model` with the parameters of a published state dict, all or nothing.

    Arguments and errors as in `from_minkowski_state_dict`.
    """
    model.load_state_dict(from_minkowski_state_dict(state_dict, model))


def _plain_entries(state_dict: Mapping[str, object]) -> dict[str, Tensor]:
    for key in ("state_dict", "model_state_dict"):
        inner = state_dict.get(key)
        if isinstance(inner, Mapping):
            state_dict = inner
            break
    entries: dict[str, Tensor] = {}
    for name, value in state_dict.items():
        if not isinstance(value, Tensor):
            raise TypeError(
                f"state_dict must map names to tensors, but {name!r} is a {type(value).__name__}"
            )
        entries[name] = value
    if entries and all(name.startswith(_MODULE_PREFIX) for name in entries):
        entries = {name[len(_MODULE_PREFIX) :]: value for name, value in entries.items()}
    return entries


def _to_ours(value: Tensor, part: Published) -> tuple[Tensor, list[str]]:
    """The tensor as our part of it, and what is wrong with it."""
    if not _differ_in_front(value.shape, part.shape):
        value = value.reshape(part.shape)
    else:
        shown = list(part.their_shape)
        return value, [
            f"wrong shape: {part.theirs} is {list(value.shape)}, the model needs {shown}"
        ]
    if part.taps is None:
        return value, []
    missing = torch.ones(part.shape[0], dtype=torch.bool)
    missing[list(part.taps)] = False
    if bool((value[missing.to(value.device)] != 0).any()):
        return value, [f"weights outside the region: {part.theirs} is not zero at missing taps"]
    return value[list(part.taps)], []


def _differ_in_front(given: torch.Size, wanted: torch.Size) -> bool:
    """Whether the shapes differ in more than axes of length 1 in front of the shorter."""
    short, long = sorted((tuple(given), tuple(wanted)), key=len)
    extra = len(long) - len(short)
    return long[extra:] != short or any(size != 1 for size in long[:extra])


def _to_theirs(value: Tensor, part: Published) -> Tensor:
    if part.rows is not None:
        value = value[part.rows[0] : part.rows[1]]
    if part.taps is not None:
        full = value.new_zeros(part.shape)
        full[list(part.taps)] = value
        value = full
    return value.reshape(part.their_shape)


def _report(problems: list[str]) -> str:
    listed = problems[:_MAX_LISTED]
    rest = len(problems) - len(listed)
    lines = "\n  ".join(listed + ([f"... and {rest} more"] if rest else []))
    return (
        f"the MinkowskiEngine state dict does not fit the model ({len(problems)} problems); "
        f"check depths, widths, block, stem_kernel, channels and classes:\n  {lines}"
    )
