"""Which codebook entry each stage of a model chose, for every raw point.

A stage is the part of the network whose number comes first in a block's name: the blocks
``encoder.1.blocks.0`` and ``encoder.1.blocks.1`` make up the stage ``encoder.1``. What a stage
chose is the mean over its codebook blocks, whose entries share their regions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pointseg import nn
from pointseg.evaluation.inference import predict_points
from pointseg.nn.choice_record import choice_entropy
from pointseg.sparse import Region, containing_rows

if TYPE_CHECKING:
    from pointseg.data import SegBatch
    from pointseg.nn import ChoiceRecord

MAX_ENTRIES = 256  # entries are stored as uint8


@dataclass(frozen=True, eq=False)
class StageChoice:
    """What one stage chose for P points among D entries.

    Attributes
    ----------
    entry : uint8 [P]
        The entry with the largest choice in the mean over heads and blocks; ties go to the lower.
    entropy : float32 [P]
        Entropy of the choice in nats, 0..ln D, of each head and block by itself, then their mean.
    regions : tuple of str
        What each of the D entries looks at, such as "cube 3, dilation 2".
    head_entry : uint8 [P, H] or None
        The entry with the largest choice of each head; files do not keep it.
    """

    entry: np.ndarray
    entropy: np.ndarray
    regions: tuple[str, ...]
    head_entry: np.ndarray | None = None

    @property
    def num_entries(self) -> int:
        """D."""
        return len(self.regions)

    @property
    def num_points(self) -> int:
        """P."""
        return len(self.entry)


def stage_regions(model: torch.nn.Module) -> dict[str, tuple[str, ...]]:
    """The stages of a model that have codebook blocks, each with its regions in words.

    Raises
    ------
    ValueError
        If there is none, or the entries of a stage's blocks have different regions.
    """
    stages: dict[str, tuple[str, ...]] = {}
    for name, module in model.named_modules():
        if not isinstance(module, nn.CodebookBlock):
            continue
        regions = tuple(describe_region(region) for region in module.config.regions)
        if len(regions) > MAX_ENTRIES:
            raise ValueError(f"{name}: expected at most {MAX_ENTRIES} entries, got {len(regions)}")
        stage = stage_of(name)
        if stages.setdefault(stage, regions) != regions:
            raise ValueError(
                f"the codebook blocks of stage {stage!r} have entries with different regions, so "
                "there is no mean over them; give the blocks of a stage the same regions"
            )
    if not stages:
        raise ValueError(
            f"{type(model).__name__} has no codebook blocks, so there is no choice to record; "
            "use a model that has them, such as codedvtr_s"
        )
    return stages


def stage_of(block: str) -> str:
    """The stage of a block: its name up to the first number, or all of it without one."""
    parts = block.split(".")
    numbers = [index for index, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[: numbers[0] + 1]) if numbers else block


def describe_region(region: Region) -> str:
    """A region in a few words: shape, size, dilation, and how many of its taps there are."""
    spec = region.spec
    text = f"{spec.shape} {spec.size}"
    if spec.dilation > 1:
        text += f", dilation {spec.dilation}"
    return text if region.is_full else f"{text}, {region.num_taps} of {spec.num_taps} taps"


def predict_points_and_choices(
    model: torch.nn.Module, batch: SegBatch
) -> list[tuple[np.ndarray, dict[str, StageChoice]]]:
    """One prediction and the choice of every stage for every raw point of each scene.

    A single forward pass gives both. A point takes what the voxel it fell into has, and a voxel
    takes the choice of the coarser voxel that contains it on the grid of the stage.

    Returns
    -------
    list of (int16 [P_i] train ids, stage -> `StageChoice`), one a scene, points in the file's
    order.

    Raises
    ------
    ValueError
        As :func:`stage_regions` and `predict_points`.
    """
    stages = stage_regions(model)
    with nn.record_choices(model) as records:
        predictions = predict_points(model, batch)
    scenes: list[dict[str, StageChoice]] = [{} for _ in predictions]
    for stage, regions in stages.items():
        of_stage = [record for name, record in records.items() if stage_of(name) == stage]
        for scene, choice in zip(scenes, _per_scene(of_stage, batch, regions), strict=True):
            scene[stage] = choice
    return list(zip(predictions, scenes, strict=True))


def _per_scene(
    records: list[ChoiceRecord], batch: SegBatch, regions: tuple[str, ...]
) -> list[StageChoice]:
    """The choice of one stage, split by the scenes of a batch."""
    if records:
        entry, entropy, head_entry = summarize_choice(record.choice for record in records)
        grid = records[0].grid
        rows = containing_rows(batch.voxels.grid.to(grid.device), grid)
        rows = rows[batch.point_to_voxel.to(rows.device)]
    else:  # without a voxel there was no forward pass
        entry, rows = (torch.zeros(0, dtype=torch.int64) for _ in range(2))
        entropy, head_entry = torch.zeros(0), torch.zeros(0, 1, dtype=torch.int64)
    counts = list(batch.point_counts)
    columns = (
        torch.split(values[rows].cpu(), counts)
        for values in (entry.to(torch.uint8), entropy, head_entry.to(torch.uint8))
    )
    return [
        StageChoice(own.numpy(), disorder.numpy(), regions, heads.numpy())
        for own, disorder, heads in zip(*columns, strict=True)
    ]


def summarize_choice(choices: Iterable[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Chosen entry and entropy of a stage on its own grid.

    choices: [N, H, D] of each of its blocks, rows of equal order.

    Returns
    -------
    entry int64 [N], entropy float32 [N] in nats, and entry of each head int64 [N, H], as in
    `StageChoice`.
    """
    blocks = [choice.detach().float().clamp(min=0.0) for choice in choices]
    mean = torch.stack(blocks).mean(dim=0)
    entropy = torch.stack([choice_entropy(a).mean(dim=1) for a in blocks]).mean(dim=0)
    return mean.mean(dim=1).argmax(dim=1), entropy, mean.argmax(dim=2)


def check_rows(choices: Mapping[str, StageChoice], num_points: int) -> None:
    """ValueError naming the first stage that has not one row per point."""
    for stage, choice in choices.items():
        if choice.num_points != num_points:
            raise ValueError(
                f"{stage}: {choice.num_points:,} rows, but the scene has {num_points:,} points"
            )
