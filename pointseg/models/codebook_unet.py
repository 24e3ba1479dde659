"""U-Nets with codebook blocks: which stages have them is data, and what they tell the trainer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from pointseg.models.codebook_options import CodebookOptions
from pointseg.models.unet import CONVOLUTION_KINDS, BlockKind, UNet, UNetConfig
from pointseg.nn import ChoiceStatistics, CodebookBlock, CodebookConfig, SparseModule

CODEBOOK = "codebook"
BLOCK_NAMES = (*CONVOLUTION_KINDS, CODEBOOK)

# A codebook is said to have collapsed below this perplexity, or where an entry has less than this
# share of the choices and less than a tenth of an equal share.
MIN_PERPLEXITY = 1.2
MIN_USAGE = 0.01


@dataclass(frozen=True)
class CodebookUNetConfig(UNetConfig):
    """Shape of a U-Net with codebook blocks.

    blocks: for each stage "basic", "bottleneck" or "codebook". Left out, the first and the last
        stage are basic and all others codebook, as published.
    codebook: what all codebook blocks share.

    The other fields and errors are those of `UNetConfig`.
    """

    blocks: tuple[str, ...] = ()
    codebook: CodebookOptions = field(default_factory=CodebookOptions)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "blocks", self._read_blocks())
        if not isinstance(self.codebook, CodebookOptions):
            raise TypeError(f"codebook must be CodebookOptions, got {self.codebook!r}")
        heads, expansion = self.codebook.heads, self.codebook.expansion
        for stage, (width, block) in enumerate(zip(self.widths, self.stage_blocks, strict=True)):
            if block == CODEBOOK and width * expansion % heads:
                raise ValueError(
                    f"widths[{stage}] = {width}: the {width * expansion} value channels (width x "
                    f"codebook.expansion {expansion}) do not divide into codebook.heads = {heads}; "
                    f"change the width or the heads"
                )

    def _read_blocks(self) -> tuple[str, ...]:
        blocks, num_stages = self.blocks, len(self.depths)
        if isinstance(blocks, str) or not isinstance(blocks, Sequence):
            raise TypeError(f"blocks must be a list of block names, got {blocks!r}")
        if blocks and len(blocks) != num_stages:
            raise ValueError(
                f"blocks must name one block for each of {num_stages} stages, got {len(blocks)}"
            )
        for block in blocks:
            if block not in BLOCK_NAMES:
                raise ValueError(f"blocks must be of {', '.join(BLOCK_NAMES)}, got {block!r}")
        return tuple(blocks)

    @property
    def stage_blocks(self) -> tuple[str, ...]:
        """The block of each stage, whether it is listed or left out."""
        return self.blocks or ("basic", *[CODEBOOK] * (len(self.depths) - 2), "basic")

    def block_kinds(self) -> tuple[BlockKind, ...]:
        stages = list(zip(self.strides, self.stage_blocks, strict=True))
        settings = self.codebook.at_strides(s for s, block in stages if block == CODEBOOK)
        return tuple(
            BlockKind(partial(_codebook_block, settings[stride]))
            if block == CODEBOOK
            else CONVOLUTION_KINDS[block]
            for stride, block in stages
        )


def _codebook_block(
    settings: CodebookConfig, in_channels: int, width: int, momentum: float
) -> SparseModule:
    return CodebookBlock(in_channels, width, settings, momentum)


class CodebookUNet(UNet):
    """U-Net with codebook blocks; the trainer tells it the progress and logs what it reports."""

    def __init__(self, in_channels: int, num_classes: int, config: CodebookUNetConfig) -> None:
        super().__init__(in_channels, num_classes, config)
        self._recent: dict[str, ChoiceStatistics] = {}  # of each block, for warnings

    def codebook_stages(self) -> dict[str, list[CodebookBlock]]:
        """Codebook blocks of each stage that has any, by the stage's name (``encoder.1``)."""
        stages = {}
        for part in ("encoder", "decoder"):
            for name, stage in self.get_submodule(part).named_children():
                blocks = [m for m in stage.modules() if isinstance(m, CodebookBlock)]
                if blocks:
                    stages[f"{part}.{name}"] = blocks
        return stages

    def set_progress(self, progress: float) -> None:
        """Bring what follows a schedule to `progress`, the share of the run that is done (0..1)."""
        for blocks in self.codebook_stages().values():
            for block in blocks:
                block.set_progress(progress)

    def training_terms(self, progress: float) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Loss terms and numbers to log of the last forward pass in training.

        Terms are means over the blocks that have them, so that their weight does not depend on the
        depth. Numbers are means over the blocks of a stage, named ``codebook/<stage>/...``:
        ``usage_<d>`` (share of the choices that entry d has), ``usage_min`` (that of the least
        used one), ``perplexity`` (1 to D), ``entropy`` (nats), ``temperature``. Blocks in
        evaluation mode, which training leaves as they are, are left out.
        """
        terms: dict[str, list[Tensor]] = {}
        scalars: dict[str, Tensor] = {}
        stages = self.codebook_stages()
        for stage, members in stages.items():
            numbers = []
            for index, block in enumerate(members):
                if not block.training:
                    continue
                for name, term in block.training_terms().items():
                    terms.setdefault(name, []).append(term)
                statistics = block.statistics()
                numbers.append(_block_numbers(statistics, block.temperature))
                path = f"{stage}.blocks.{index}"
                before = self._recent.get(path)
                self._recent[path] = statistics if before is None else before + statistics
            if numbers:
                scalars |= {f"codebook/{stage}/{k}": v for k, v in _means(numbers).items()}
        return {name: torch.stack(parts).mean() for name, parts in terms.items()}, scalars

    def warnings(self) -> dict[str, str]:
        """Blocks whose codebook has collapsed, in the training passes since this was last asked."""
        recent, self._recent = self._recent, {}
        found = {}
        for block, statistics in zip(recent, _to_host(list(recent.values())), strict=True):
            usage, perplexity = statistics.usage(), statistics.perplexity()
            enough = min(MIN_USAGE, 0.1 / len(usage))
            if len(usage) < 2 or (perplexity >= MIN_PERPLEXITY and min(usage) >= enough):
                continue
            shares = ", ".join(f"{100 * share:.1f} %" for share in usage)
            found[f"codebook/{block}"] = (
                f"{block}: the codebook has collapsed (entries chosen: {shares}; perplexity "
                f"{perplexity:.2f} of {len(usage)}); try a higher "
                "model.codebook.temperature.start or a lower optimizer.lr"
            )
        return found


def _block_numbers(statistics: ChoiceStatistics, temperature: Tensor) -> dict[str, Tensor]:
    """The numbers of a block to log; they stay on its device, where the trainer collects them."""
    usage = statistics.counts.double() / max(statistics.total, 1)
    return {
        **{f"usage_{entry}": share for entry, share in enumerate(usage.unbind())},
        "usage_min": usage.min(),
        "perplexity": torch.special.entr(usage).sum().exp(),
        "entropy": statistics.entropy_sum.double() / max(statistics.total, 1),
        "temperature": temperature.double(),
    }


def _means(rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([row[name] for row in rows]).mean() for name in rows[0]}


def _to_host(statistics: list[ChoiceStatistics]) -> list[ChoiceStatistics]:
    """The same on the CPU, in one transfer: each costs a synchronisation on a GPU."""
    if not statistics:
        return []
    parts = [torch.cat((s.counts.double(), s.entropy_sum.double()[None])) for s in statistics]
    host = torch.cat(parts).cpu().split([len(part) for part in parts])
    return [
        ChoiceStatistics(part[:-1], part[-1], s.total)
        for part, s in zip(host, statistics, strict=True)
    ]
