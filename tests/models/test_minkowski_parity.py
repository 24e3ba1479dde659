"""Side by side with MinkowskiEngine itself, where it is installed.

The other network is written here against MinkowskiEngine's public modules, with the attribute
names of its example networks, so that its state dict is the one that users bring.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from pointseg.interop import (
    from_minkowski,
    load_minkowski_state_dict,
    to_minkowski,
    to_minkowski_state_dict,
)
from pointseg.models import MinkUNet, MinkUNetConfig
from pointseg.sparse import SparseTensor
from tests.nn.grids import random_tensor

ME: Any = pytest.importorskip(
    "MinkowskiEngine", reason="MinkowskiEngine does not import here", exc_type=ImportError
)

CONFIGS = {
    "14a": MinkUNetConfig((1,) * 8, (8, 16, 16, 32, 32, 16, 16, 16), stem_width=8),
    "34c": MinkUNetConfig((2, 3, 4, 6, 2, 2, 2, 2), (8, 8, 16, 16, 16, 16, 8, 8), stem_width=8),
    "50": MinkUNetConfig(
        (2, 1, 1, 1, 1, 1, 1, 1), (4, 4, 8, 8, 8, 4, 4, 4), block="bottleneck", stem_width=8
    ),
}


def conv(in_channels: int, out_channels: int, size: int, stride: int = 1, bias: bool = False):
    return ME.MinkowskiConvolution(
        in_channels, out_channels, kernel_size=size, stride=stride, bias=bias, dimension=3
    )


class EngineBlock(nn.Module):
    """Residual block; kernel sizes decide whether it is the basic one or the bottleneck."""

    def __init__(self, in_channels: int, widths: tuple[int, ...], sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.depth = len(sizes)
        steps = zip(pairwise((in_channels, *widths)), sizes, strict=True)
        for number, ((before, after), size) in enumerate(steps, start=1):
            self.add_module(f"conv{number}", conv(before, after, size))
            self.add_module(f"norm{number}", ME.MinkowskiBatchNorm(after))
        self.relu = ME.MinkowskiReLU()
        self.downsample = None
        if in_channels != widths[-1]:
            self.downsample = nn.Sequential(
                conv(in_channels, widths[-1], 1), ME.MinkowskiBatchNorm(widths[-1])
            )

    def forward(self, x: Any) -> Any:
        out = x
        for number in range(1, self.depth + 1):
            out = getattr(self, f"norm{number}")(getattr(self, f"conv{number}")(out))
            if number < self.depth:
                out = self.relu(out)
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


class EngineMinkUNet(nn.Module):
    """The network of a `MinkUNetConfig`, out of MinkowskiEngine's modules."""

    def __init__(self, in_channels: int, num_classes: int, config: MinkUNetConfig) -> None:
        super().__init__()
        self.levels = levels = config.num_levels
        self.config = config
        self.relu = ME.MinkowskiReLU()
        channels = config.stem_width
        self.conv0p1s1 = conv(in_channels, channels, config.stem_kernel)
        self.bn0 = ME.MinkowskiBatchNorm(channels)
        skips = []
        for level in range(1, levels + 1):
            skips.append(channels)
            self.add_module(f"conv{level}p{2 ** (level - 1)}s2", conv(channels, channels, 2, 2))
            self.add_module(f"bn{level}", ME.MinkowskiBatchNorm(channels))
            channels = self._add_blocks(level, channels)
        for number in range(levels, 2 * levels):
            width = config.widths[number]
            up = ME.MinkowskiConvolutionTranspose(
                channels, width, kernel_size=2, stride=2, dimension=3
            )
            self.add_module(f"convtr{number}p{2 ** (2 * levels - number)}s2", up)
            self.add_module(f"bntr{number}", ME.MinkowskiBatchNorm(width))
            channels = self._add_blocks(number + 1, width + skips.pop())
        self.final = conv(channels, num_classes, 1, bias=True)

    def _add_blocks(self, stage: int, in_channels: int) -> int:
        width = self.config.widths[stage - 1]
        basic = self.config.block == "basic"
        widths = (width, width) if basic else (width, width, 4 * width)
        sizes = (3, 3) if basic else (1, 3, 1)
        inputs = [in_channels] + [widths[-1]] * (self.config.depths[stage - 1] - 1)
        blocks = nn.Sequential(*(EngineBlock(channels, widths, sizes) for channels in inputs))
        self.add_module(f"block{stage}", blocks)
        return widths[-1]

    def forward(self, x: Any) -> Any:
        x = self.relu(self.bn0(self.conv0p1s1(x)))
        skips = []
        for level in range(1, self.levels + 1):
            skips.append(x)
            x = getattr(self, f"conv{level}p{2 ** (level - 1)}s2")(x)
            x = getattr(self, f"block{level}")(self.relu(getattr(self, f"bn{level}")(x)))
        for number in range(self.levels, 2 * self.levels):
            x = getattr(self, f"convtr{number}p{2 ** (2 * self.levels - number)}s2")(x)
            x = ME.cat(self.relu(getattr(self, f"bntr{number}")(x)), skips.pop())
            x = getattr(self, f"block{number + 1}")(x)
        return self.final(x)


def randomise_statistics(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("training", [False, True])
def test_whole_networks_agree(name: str, training: bool) -> None:
    torch.manual_seed(0)
    theirs = EngineMinkUNet(3, 7, CONFIGS[name]).double().train(training)
    randomise_statistics(theirs)
    ours = MinkUNet(3, 7, CONFIGS[name]).double().train(training)
    load_minkowski_state_dict(ours, theirs.state_dict())
    x = random_tensor(900, 3, dtype=torch.float64)
    x.feats.requires_grad_()
    other = SparseTensor(x.feats.detach().clone().requires_grad_(), x.grid)
    out_theirs = from_minkowski(theirs(to_minkowski(other)))
    out_ours = ours(x)
    assert torch.equal(out_theirs.grid.coords, x.grid.coords)
    torch.testing.assert_close(out_ours, out_theirs.feats, rtol=1e-9, atol=1e-9)

    grad = torch.randn_like(out_ours)
    out_ours.backward(grad)
    out_theirs.feats.backward(grad)
    torch.testing.assert_close(x.feats.grad, other.feats.grad, rtol=1e-8, atol=1e-8)
    stem = theirs.conv0p1s1.kernel.grad
    torch.testing.assert_close(ours.stem.conv.weight.grad, stem, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", CONFIGS)
def test_their_network_loads_our_parameters(name: str) -> None:
    ours, theirs = MinkUNet(3, 7, CONFIGS[name]), EngineMinkUNet(3, 7, CONFIGS[name])
    theirs.load_state_dict(to_minkowski_state_dict(ours))


def test_live_tensors_share_features_and_keep_rows() -> None:
    x = random_tensor(300, 5)
    theirs = to_minkowski(x)
    assert theirs.F.data_ptr() == x.feats.data_ptr()
    assert torch.equal(theirs.C, x.grid.coords)
    back = from_minkowski(theirs)
    assert back.feats.data_ptr() == x.feats.data_ptr()
    assert torch.equal(back.grid.coords, x.grid.coords)
    assert back.grid.stride == 1


def test_live_tensors_of_a_coarser_grid() -> None:
    x = random_tensor(300, 5)
    coarse = x.grid.downsample(4)
    tensor = SparseTensor(torch.randn(coarse.num_voxels, 2), coarse)
    theirs = to_minkowski(tensor)
    assert list(theirs.tensor_stride) == [4, 4, 4]
    assert from_minkowski(theirs).grid.stride == 4
