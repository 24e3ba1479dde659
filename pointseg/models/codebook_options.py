"""Codebook settings of a network as plain data, and what they are at each of its strides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pointseg.models.options import check_names
from pointseg.nn import ChoiceConfig, CodebookConfig, PriorConfig, TemperatureConfig
from pointseg.sparse import KernelSpec, Region, RegionSet, cubes

if TYPE_CHECKING:
    from pointseg.geometry import StageRegions

PUBLISHED_REGIONS = cubes(2, 1, 3)
"""The entries of the published network, in its order: 3^3 cubes of dilation 2, 1 and 3."""

_REGION_KEYS = ["size", "dilation", "shape", "taps"]


@dataclass(frozen=True)
class CodebookOptions:
    """What all codebook blocks of a network share.

    heads: H; must divide width x expansion of every stage with codebook blocks.
    expansion: e; values have e times the width of the stage.
    regions: one region per entry, of every stage: a `RegionSet`, or a list of mappings with
        ``size`` (3), ``dilation`` (1), ``shape`` ("cube" or "cross") and ``taps`` (indices of the
        taps that exist; all where left out). By default `PUBLISHED_REGIONS`.
    regions_file: instead of `regions`, a file of `pointseg.geometry`: regions for each stride, and
        with them the mean and deviation of their occupied shares, which a prior is standardised by.
    query, choice, temperature, prior: see `CodebookConfig`.

    Raises ValueError or TypeError that names the field.
    """

    heads: int = 8
    expansion: int = 2
    regions: RegionSet | None = None
    regions_file: str | None = None
    query: str = "conv"
    choice: ChoiceConfig = field(default_factory=ChoiceConfig)
    temperature: TemperatureConfig = field(default_factory=TemperatureConfig)
    prior: PriorConfig = field(default_factory=PriorConfig)

    def __post_init__(self) -> None:
        for name in ("heads", "expansion"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"codebook.{name} must be a positive integer, got {value!r}")
        if self.regions is not None and self.regions_file is not None:
            raise ValueError(
                "codebook.regions and codebook.regions_file exclude each other; leave one out"
            )
        if self.regions is not None and not isinstance(self.regions, RegionSet):
            object.__setattr__(self, "regions", read_regions(self.regions))

    def at_strides(self, strides: Iterable[int]) -> dict[int, CodebookConfig]:
        """The settings of the blocks at each stride; reads `regions_file` where there is one."""
        common = CodebookConfig(
            regions=self.regions or PUBLISHED_REGIONS,
            heads=self.heads,
            expansion=self.expansion,
            query=self.query,
            choice=self.choice,
            temperature=self.temperature,
            prior=self.prior,
        )
        if self.regions_file is None:
            return dict.fromkeys(strides, common)
        return {stride: self._fitted(common, stage) for stride, stage in self._stages(strides)}

    def _stages(self, strides: Iterable[int]) -> list[tuple[int, StageRegions]]:
        assert self.regions_file is not None
        # Other models need nothing of pointseg.geometry.
        from pointseg.geometry import load_regions

        try:
            file = load_regions(self.regions_file)
            return [(stride, file.stage(stride)) for stride in strides]
        except (FileNotFoundError, ValueError) as error:
            raise ValueError(f"codebook.regions_file: {error}") from error

    def _fitted(self, common: CodebookConfig, stage: StageRegions) -> CodebookConfig:
        prior = self.prior
        if prior.name != "none" and prior.mean is None:
            prior = replace(prior, mean=stage.mean, std=stage.std)
        return replace(common, regions=stage.regions, prior=prior)


def read_regions(entries: Any) -> RegionSet:
    """A `RegionSet` of a list of mappings, see `CodebookOptions`."""
    if isinstance(entries, str) or not isinstance(entries, Sequence) or not entries:
        raise TypeError(
            "codebook.regions must be a list of mappings such as {size: 3, dilation: 2}, "
            f"got {entries!r}"
        )
    return RegionSet(tuple(_read_region(i, entry) for i, entry in enumerate(entries)))


def _read_region(index: int, entry: Any) -> Region:
    where = f"codebook.regions[{index}]"
    if isinstance(entry, Region):
        return entry
    if not isinstance(entry, Mapping):
        raise TypeError(
            f"{where} must be a mapping such as {{size: 3, dilation: 2}}, got {entry!r}"
        )
    check_names(entry, _REGION_KEYS, where)
    try:
        spec = KernelSpec(
            entry.get("size", 3),
            dilation=entry.get("dilation", 1),
            shape=entry.get("shape", "cube"),
        )
        return Region(spec, tuple(entry.get("taps") or ()))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
