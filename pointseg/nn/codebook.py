"""The codebook attention block (Zhao et al., CodedVTR, CVPR 2022).

N voxels, C channels, expansion e, H heads, D entries; entry d has its own region R_d of K_d taps:

    z = x, res = x;  where C_in != C:  z = relu(norm(1x1(x))),  res = 1x1(x)
    v      = relu(norm(1x1(relu(norm(3x3x3(z))))))                             [N, eC]
    l      = sum_k s_d[k, h] * q_d[nbr(n, k), h],  q_d = conv over R_d of z     [N, H, D]
    choice = strategy(l / tau + log prior)                                      [N, H, D]
    out    = sum_d choice_d * sum_k W_d[k] * v[nbr(n, k)]                       [N, eC]
    y      = relu(norm(1x1(out))) + res                                         [N, C]

``s_d[k, h]`` is the sum of W_d[k, c] over the channels of head h. No gradient goes through it, as
in the published code: the entries learn from what they gather, not from being chosen.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from pointseg import ops
from pointseg.nn.base import SparseModule, merge_plans
from pointseg.nn.blocks import ConvNormReLU
from pointseg.nn.choice import ChoiceConfig, QuantizedChoice, TemperatureConfig, build_choice
from pointseg.nn.choice_record import ChoiceRecord, ChoiceStatistics
from pointseg.nn.conv import RegionConv, SparseConv
from pointseg.nn.prior import GeometryPrior, PriorConfig
from pointseg.nn.reach import Reach
from pointseg.recompute import is_second_pass
from pointseg.sparse import GeometryPlan, Region, RegionSet, SparseTensor, VoxelGrid, cubes

QUERIES = ("conv", "dot", "none")


@dataclass(frozen=True)
class CodebookConfig:
    """What the codebook blocks of a stage have in common.

    Raises ValueError that names the field.
    """

    regions: RegionSet = field(default_factory=lambda: cubes(2, 1, 3))
    """Region of each entry."""
    heads: int = 8
    """H; must divide the expanded channels."""
    expansion: int = 2
    """e: values have e times the channels of the block."""
    query: str = "conv"
    """conv: a convolution over each entry's region; dot: products of one query per voxel with its
    neighbours'; none: for vq, which does not look at neighbours.
    """
    choice: ChoiceConfig = field(default_factory=ChoiceConfig)
    temperature: TemperatureConfig = field(default_factory=TemperatureConfig)
    prior: PriorConfig = field(default_factory=PriorConfig)

    def __post_init__(self) -> None:
        for name in ("heads", "expansion"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.query not in QUERIES:
            raise ValueError(f"query: expected one of {', '.join(QUERIES)}, got {self.query!r}")
        quantized = self.choice.name == "vq"
        if quantized != (self.query == "none"):
            raise ValueError(
                f"query: {self.query!r} does not go with choice {self.choice.name!r}: vq chooses "
                "by codes and needs 'none', the others need 'conv' or 'dot'"
            )
        if quantized and self.prior.name != "none":
            raise ValueError("prior: vq chooses the nearest code and takes no prior; use 'none'")


class CodebookBlock(SparseModule):
    """Residual block with codebook attention; ``channels`` out, on the grid of its input."""

    temperature: Tensor

    def __init__(
        self, in_channels: int, channels: int, config: CodebookConfig, momentum: float = 0.1
    ) -> None:
        super().__init__()
        width, heads, regions = config.expansion * channels, config.heads, config.regions
        if width % heads:
            raise ValueError(
                f"heads: {heads} heads do not divide {width} channels "
                f"({config.expansion} times a width of {channels})"
            )
        self.config = config
        self.in_channels = in_channels
        self.out_channels = channels
        self.project: ConvNormReLU | None = None
        self.shortcut: SparseConv | None = None
        if in_channels != channels:
            self.project = ConvNormReLU(in_channels, channels, size=1, momentum=momentum)
            self.shortcut = SparseConv(in_channels, channels, size=1)
        self.value1 = ConvNormReLU(channels, channels, momentum=momentum)
        self.value2 = ConvNormReLU(channels, width, size=1, momentum=momentum)
        self.queries: nn.ModuleList | ConvNormReLU | None = None
        if config.query == "conv":
            self.queries = nn.ModuleList(_query_conv(channels, heads, r) for r in regions)
        elif config.query == "dot":
            self.queries = ConvNormReLU(channels, heads, size=1, momentum=momentum)
        self.codebook = nn.Parameter(torch.empty(regions.num_taps, width))
        self.choice = (
            QuantizedChoice(channels, heads, len(regions), config.choice)
            if config.choice.name == "vq"
            else build_choice(config.choice, len(regions))
        )
        named = config.prior.name != "none"
        self.prior = GeometryPrior(config.prior, len(regions), heads) if named else None
        self.out = ConvNormReLU(width, channels, size=1, momentum=momentum)
        self.register_buffer("temperature", torch.tensor(config.temperature.at(0.0)))
        self.last_statistics: ChoiceStatistics | None = None
        self.recorder: Callable[[ChoiceRecord], None] | None = None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Normal weights of unit gain over the taps of an entry."""
        for region, weight in zip(self.config.regions, self._entries(), strict=True):
            nn.init.normal_(weight, 0.0, math.sqrt(1.0 / region.num_taps))

    def _entries(self) -> tuple[Tensor, ...]:
        return self.codebook.split([region.num_taps for region in self.config.regions])

    def set_progress(self, progress: float) -> None:
        """Move the temperature to where its schedule is after a share `progress` of the run."""
        self.temperature.fill_(self.config.temperature.at(progress))

    def forward(self, x: SparseTensor) -> SparseTensor:
        z = x if self.project is None else self.project(x)
        residual = x if self.shortcut is None else self.shortcut(x)
        values = self.value2(self.value1(z))
        choice = self._choose(z)
        rmap = x.grid.region_map(self.config.regions)
        attended = ops.codebook_attention(values.feats, choice, self.codebook, rmap)
        if not is_second_pass():
            self._report(choice.detach(), x.grid)
        out = self.out(x.replace(attended))
        return out.replace(out.feats + residual.feats)

    def _report(self, choice: Tensor, grid: VoxelGrid) -> None:
        if self.training:
            self.last_statistics = ChoiceStatistics.of(choice)
        if self.recorder is not None:
            self.recorder(ChoiceRecord(choice, grid))

    def _choose(self, z: SparseTensor) -> Tensor:
        if isinstance(self.choice, QuantizedChoice):
            choice: Tensor = self.choice(z.feats, self.temperature)
            return choice
        logits = self.logits(z)
        if logits.element_size() == 2:  # autocast: the choice is made in float32
            logits = logits.float()
        logits = logits / self.temperature
        if self.prior is not None:
            rmap = z.grid.region_map(self.config.regions)
            logits = logits + self.prior(rmap.shares()).to(logits.dtype)
        shares: Tensor = self.choice(logits)
        return shares

    def logits(self, z: SparseTensor) -> Tensor:
        """[N, H, D], before temperature and prior."""
        rmap = z.grid.region_map(self.config.regions)
        if self.config.query == "conv":
            per_entry = [conv(z).feats for conv in self._query_convs()]
            return ops.codebook_logits(torch.stack(per_entry, dim=1), self.scale(), rmap)
        assert isinstance(self.queries, ConvNormReLU)
        query = self.queries(z).feats
        around = ops.codebook_logits(query[:, None], self.scale(), rmap)
        return query[:, :, None] * around

    def _query_convs(self) -> list[RegionConv]:
        convs = self.queries if isinstance(self.queries, nn.ModuleList) else ()
        return [conv for conv in convs if isinstance(conv, RegionConv)]

    def scale(self) -> Tensor:
        """s [sum of K_d, H]: weights summed over the channels of each head, without gradient."""
        return self.codebook.detach().unflatten(1, (self.config.heads, -1)).sum(dim=2)

    def training_terms(self) -> dict[str, Tensor]:
        """Losses of the last forward pass, if that was in training; to be asked once a pass."""
        if not isinstance(self.choice, QuantizedChoice) or self.choice.last_commitment is None:
            return {}
        # Not kept: it holds the graph of the pass.
        term, self.choice.last_commitment = self.choice.last_commitment, None
        return {"commitment": term}

    def statistics(self) -> ChoiceStatistics:
        """How the last forward pass in training chose."""
        if self.last_statistics is None:
            raise RuntimeError("statistics: no forward pass in training mode yet")
        return self.last_statistics

    def geometry(self, stride: int = 1) -> GeometryPlan:
        plans = [self.value1.geometry(stride)]
        plans += [conv.geometry(stride) for conv in self._query_convs()]
        return merge_plans([*plans, ((stride, self.config.regions),)])

    def reach(self, of_input: Reach, stride: int = 1) -> Reach:
        around = of_input.conv(self.config.regions, stride)
        values = self.value1.reach(of_input, stride).conv(self.config.regions, stride)
        # Logits sum, around a voxel, queries that convolutions over the same regions have made.
        queries = around.conv(self.config.regions, stride) if self._query_convs() else around
        return of_input | values | queries

    def extra_repr(self) -> str:
        c = self.config
        return f"entries={len(c.regions)}, heads={c.heads}, query={c.query!r}, {c.choice.name!r}"


def _query_conv(channels: int, heads: int, region: Region) -> RegionConv:
    conv = RegionConv(channels, heads, region)
    # Fan in, so that logits begin small and no entry is favoured by chance.
    nn.init.normal_(conv.weight, 0.0, math.sqrt(1.0 / (conv.weight.shape[0] * channels)))
    return conv
