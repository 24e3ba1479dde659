"""Names and shapes of parameters in published networks that are built on MinkowskiEngine.

MinkUNet of MinkowskiEngine's examples: ``conv0p1s1.kernel``, ``bn0.bn.weight``,
``block1.0.conv1.kernel``, ``convtr4p16s2.kernel``, ``final.bias``. CodedVTR's ``Res16UNetTestA``
has the same frame; its codebook blocks hold ``linear_top``, ``downsample``, ``v.0`` and ``v.1``,
``q.<d>.0.kernel``, ``codebook.<d>.0.kernel`` and ``out_bn_relu``.

Kernels are ``[K, C_in, C_out]`` in the tap order that pointseg uses, too, so nothing is permuted. A
kernel of size 1 is ``[C_in, C_out]`` there and ``[1, C_in, C_out]`` here, and a bias is ``[1,
C_out]`` there and ``[C_out]`` here. Our codebook is packed, ``[sum K_d, C]``; theirs is a kernel
``[K, C]`` for each entry, where taps outside the region exist and are zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from pointseg.models import SPVCNN, UNet
from pointseg.nn import CodebookBlock, RegionConv


@dataclass(frozen=True)
class Published:
    """One entry of a published state dict and the part of ours that it is.

    ours, theirs: names. shape: of the part with all taps, as ours. rows: of our tensor, where the
    part is not all of it. taps: those of a region, where it leaves some of `shape` out.
    """

    ours: str
    theirs: str
    shape: torch.Size
    rows: tuple[int, int] | None = None
    taps: tuple[int, ...] | None = None

    @property
    def label(self) -> str:
        """Our name, with the rows where it is a part."""
        return self.ours if self.rows is None else f"{self.ours}[{self.rows[0]}:{self.rows[1]}]"

    @property
    def their_shape(self) -> torch.Size:
        if self.theirs.endswith(".kernel") and len(self.shape) == 3 and self.shape[0] == 1:
            return torch.Size(self.shape[1:])
        return torch.Size((1, *self.shape)) if self.theirs == "final.bias" else self.shape


def published_parts(model: UNet) -> list[Published]:
    """What a published state dict of `model` holds, in the order of our state dict.

    Buffers of choice and prior, such as the temperature, are left out.

    Raises ValueError for a model, or a parameter of it, that no published network has.
    """
    if isinstance(model, SPVCNN):
        raise ValueError(
            "SPVCNN has no published network on MinkowskiEngine; expected a MinkUNet or a CodedVTR"
        )
    modules = _module_names(model)
    codebooks = _codebooks(model, modules)
    parameters = dict(model.named_parameters())
    parts: list[Published] = []
    for name, value in model.state_dict().items():
        owner = max((m for m in modules if name.startswith(m + ".")), key=len, default=None)
        if name in codebooks:
            parts += codebooks[name]
        elif owner is not None:
            theirs = modules[owner] + _rest(name[len(owner) :])
            parts.append(_part(name, theirs, value.shape, model.get_submodule(owner)))
        elif name in parameters:
            raise ValueError(
                f"{name} has no counterpart in the published network, whose codebook blocks have "
                "conv queries and learn nothing in choice and prior"
            )
    return parts


def _rest(name: str) -> str:
    return ".kernel" if name == ".weight" else name


def _part(ours: str, theirs: str, shape: torch.Size, module: nn.Module) -> Published:
    region = module.region if isinstance(module, RegionConv) else None
    if region is None or region.is_full or shape[0] != region.num_taps:
        return Published(ours, theirs, shape)
    full = torch.Size((region.spec.num_taps, *shape[1:]))
    return Published(ours, theirs, full, taps=region.taps)


def _module_names(model: UNet) -> dict[str, str]:
    """Our convolution and norm modules -> theirs (their norms keep ``bn.weight``, like ours)."""
    levels = model.config.num_levels
    names = {"stem.conv": "conv0p1s1", "stem.norm": "bn0", "head": "final"}
    for level in range(levels):
        names[f"encoder.{level}.down.conv"] = f"conv{level + 1}p{2**level}s2"
        names[f"encoder.{level}.down.norm"] = f"bn{level + 1}"
        names.update(_stage_names(model, f"encoder.{level}", level + 1))
    for step in range(levels):
        number = levels + step
        names[f"decoder.{step}.up"] = f"convtr{number}p{2 ** (levels - step)}s2"
        names[f"decoder.{step}.norm"] = f"bntr{number}"
        names.update(_stage_names(model, f"decoder.{step}", number + 1))
    return names


def _stage_names(model: UNet, stage: str, number: int) -> dict[str, str]:
    names = {}
    for index, block in model.get_submodule(f"{stage}.blocks").named_children():
        ours, theirs = f"{stage}.blocks.{index}", f"block{number}.{index}"
        block_names = _codebook_names if isinstance(block, CodebookBlock) else _residual_names
        names.update({f"{ours}.{a}": f"{theirs}.{b}" for a, b in block_names(block).items()})
    return names


def _residual_names(block: nn.Module) -> dict[str, str]:
    names = {}
    for child, _ in block.named_children():
        names.update(_conv_norm(child, "downsample") if child == "shortcut" else {child: child})
    return names


def _codebook_names(block: nn.Module) -> dict[str, str]:
    names = {"shortcut": "downsample"}
    for ours, theirs in _CONV_NORMS.items():
        names.update(_conv_norm(ours, theirs))
    for name, module in block.named_modules():
        if name.startswith("queries.") and isinstance(module, RegionConv):
            names[name] = f"q.{name.removeprefix('queries.')}.0"
    return names


_CONV_NORMS = {"project": "linear_top", "value1": "v.0", "value2": "v.1", "out": "out_bn_relu"}


def _conv_norm(ours: str, theirs: str) -> dict[str, str]:
    return {f"{ours}.conv": f"{theirs}.0", f"{ours}.norm": f"{theirs}.1"}


def _codebooks(model: UNet, modules: dict[str, str]) -> dict[str, list[Published]]:
    """The parts of every packed codebook, by its name."""
    found = {}
    for name, block in model.named_modules():
        if isinstance(block, CodebookBlock):
            theirs = modules[f"{name}.out.conv"].removesuffix(".out_bn_relu.0")
            channels = block.codebook.shape[1]
            starts = block.config.regions.tap_starts
            found[f"{name}.codebook"] = [
                Published(
                    f"{name}.codebook",
                    f"{theirs}.codebook.{d}.0.kernel",
                    torch.Size((region.spec.num_taps, channels)),
                    rows=(starts[d], starts[d + 1]),
                    taps=None if region.is_full else region.taps,
                )
                for d, region in enumerate(block.config.regions)
            ]
    return found
