"""Names and shapes of MinkUNet parameters in MinkowskiEngine's example networks.

MinkowskiEngine writes ``conv0p1s1.kernel``, ``bn0.bn.weight``, ``block1.0.conv1.kernel``,
``convtr4p16s2.kernel``, ``final.bias``. Kernels are ``[K, C_in, C_out]`` in the tap order that
pointseg uses, too, so nothing is permuted. Only two shapes differ: a kernel of size 1 is
``[C_in, C_out]`` there and ``[1, C_in, C_out]`` here, and a bias is ``[1, C_out]`` there and
``[C_out]`` here.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pointseg.models.minkunet import MinkUNet

_MODULE_PREFIX = "module."
_MAX_LISTED = 40


def minkowski_names(model: MinkUNet) -> dict[str, str]:
    """Parameter and buffer names of `model` -> names in MinkowskiEngine's state dict."""
    prefixes = _module_names(model)
    names = {}
    for name in model.state_dict():
        ours = max((p for p in prefixes if name.startswith(p + ".")), key=len)
        rest = name[len(ours) + 1 :]
        names[name] = f"{prefixes[ours]}.{'kernel' if rest == 'weight' else rest}"
    return names


def _module_names(model: MinkUNet) -> dict[str, str]:
    """Our convolution and norm modules -> theirs (their norms keep ``bn.weight``, like ours)."""
    levels = model.config.num_levels
    names = {"stem.conv": "conv0p1s1", "stem.norm": "bn0", "head": "final"}
    for level in range(levels):
        names[f"encoder.{level}.down.conv"] = f"conv{level + 1}p{2**level}s2"
        names[f"encoder.{level}.down.norm"] = f"bn{level + 1}"
        names.update(_block_names(model, f"encoder.{level}", level + 1))
    for step in range(levels):
        number = levels + step
        names[f"decoder.{step}.up"] = f"convtr{number}p{2 ** (levels - step)}s2"
        names[f"decoder.{step}.norm"] = f"bntr{number}"
        names.update(_block_names(model, f"decoder.{step}", number + 1))
    return names


def _block_names(model: MinkUNet, stage: str, number: int) -> dict[str, str]:
    names = {}
    blocks = model.get_submodule(f"{stage}.blocks")
    for index, block in blocks.named_children():
        for child, _ in block.named_children():
            ours, theirs = f"{stage}.blocks.{index}.{child}", f"block{number}.{index}"
            if child == "shortcut":
                names[f"{ours}.conv"] = f"{theirs}.downsample.0"
                names[f"{ours}.norm"] = f"{theirs}.downsample.1"
            else:
                names[ours] = f"{theirs}.{child}"
    return names


def from_minkowski_state_dict(
    state_dict: Mapping[str, object], model: MinkUNet
) -> dict[str, Tensor]:
    """Convert a MinkowskiEngine state dict to one that ``model.load_state_dict`` takes.

    state_dict: names to tensors, or a checkpoint that holds such a mapping under "state_dict" or
    "model_state_dict". A ``module.`` prefix on every name (from data-parallel training) is
    removed. model: the `MinkUNet` to be filled; it is not changed.

    Tensors keep their dtype and device and share memory with those given.

    Raises ValueError that lists every missing, unexpected and mis-shaped entry at once.
    """
    theirs = _plain_entries(state_dict)
    expected = model.state_dict()
    names = minkowski_names(model)
    converted: dict[str, Tensor] = {}
    problems = [f"missing: {name}" for name in names.values() if name not in theirs]
    known = set(names.values())
    problems += [f"unexpected: {name}" for name in theirs if name not in known]
    for ours, name in names.items():
        if name not in theirs:
            continue
        value = _to_our_shape(theirs[name], expected[ours].shape)
        if value is None:
            shape = _their_shape(name, expected[ours].shape)
            problems.append(
                f"wrong shape: {name} is {list(theirs[name].shape)}, the model needs {list(shape)}"
            )
        else:
            converted[ours] = value
    if problems:
        raise ValueError(_report(problems))
    return converted


def to_minkowski_state_dict(model: MinkUNet) -> dict[str, Tensor]:
    """The parameters and running statistics of `model` under MinkowskiEngine's names and shapes.

    Tensors share memory with the model's.
    """
    names = minkowski_names(model)
    return {
        names[ours]: value.detach().reshape(_their_shape(names[ours], value.shape))
        for ours, value in model.state_dict().items()
    }


def load_minkowski_state_dict(model: MinkUNet, state_dict: Mapping[str, object]) -> None:
    """Fill `model` with the parameters of a MinkowskiEngine state dict, all or nothing.

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


def _to_our_shape(value: Tensor, shape: torch.Size) -> Tensor | None:
    """`value` as `shape`, where only axes of length 1 in front differ; None otherwise."""
    given, wanted = list(value.shape), list(shape)
    while given and given[0] == 1 and len(given) > len(wanted):
        given = given[1:]
    while wanted and wanted[0] == 1 and len(wanted) > len(given):
        wanted = wanted[1:]
    return value.reshape(shape) if given == wanted else None


def _their_shape(name: str, shape: torch.Size) -> torch.Size:
    if name.endswith(".kernel") and shape[0] == 1:
        return shape[1:]
    if name == "final.bias":
        return torch.Size((1, *shape))
    return shape


def _report(problems: list[str]) -> str:
    listed = problems[:_MAX_LISTED]
    rest = len(problems) - len(listed)
    lines = "\n  ".join(listed + ([f"... and {rest} more"] if rest else []))
    return (
        f"the MinkowskiEngine state dict does not fit the model ({len(problems)} problems); "
        f"check depths, widths, block, stem_kernel, channels and classes:\n  {lines}"
    )
