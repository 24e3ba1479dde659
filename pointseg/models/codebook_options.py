"""Codebook settings of a network as plain data, and what they are at each of its strides."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pointseg.models.options import check_names
from pointseg.nn import ChoiceConfig, CodebookConfig, PriorConfig, TemperatureConfig
from pointseg.sparse import KernelSpec, Region, RegionSet, cubes

PUBLISHED_REGIONS = cubes(2, 1, 3)
"""The entries of the published network, in its order: 3^3 cubes of dilation 2, 1 and 3."""

_REGION_KEYS = ["size", "dilation", "shape", "taps"]
_STAGE_KEYS = ["entries", "mean", "std"]


@dataclass(frozen=True)
class FittedRegions:
    """Regions of one stride, mean and deviation of the share of each that is occupied there."""

    regions: RegionSet
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class CodebookOptions:
    """What all codebook blocks of a network share.

    heads: H; must divide width x expansion of every stage with codebook blocks.
    expansion: e; values have e times the width of the stage.
    regions: one region per entry, of every stage: a `RegionSet`, or a list of mappings with
        ``size`` (3), ``dilation`` (1), ``shape`` ("cube" or "cross") and ``taps`` (indices of the
        taps that exist; all where left out). Or stride -> ``{entries, mean, std}``: such a list for
        each stride, and what a prior standardises its occupied shares by. By default
        `PUBLISHED_REGIONS`.
    regions_file: instead of `regions`, a file of `pointseg.geometry` with these for each stride.
    query, choice, temperature, prior: see `CodebookConfig`.

    Raises ValueError or TypeError that names the field.
    """

    heads: int = 8
    expansion: int = 2
    regions: RegionSet | Mapping[int, FittedRegions] | None = None
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
        if self.regions_file is not None:
            if self.regions is not None:
                raise ValueError(
                    "codebook.regions and codebook.regions_file exclude each other; leave one out"
                )
            object.__setattr__(self, "regions", _read_stages(read_file(self.regions_file)))
        elif isinstance(self.regions, Mapping):
            object.__setattr__(self, "regions", _read_stages(self.regions))
        elif self.regions is not None and not isinstance(self.regions, RegionSet):
            object.__setattr__(self, "regions", read_regions(self.regions))

    def at_strides(self, strides: Iterable[int]) -> dict[int, CodebookConfig]:
        """The settings of the blocks at each stride."""
        strides = tuple(strides)
        everywhere = self.regions if isinstance(self.regions, RegionSet) else PUBLISHED_REGIONS
        common = CodebookConfig(
            regions=everywhere,
            heads=self.heads,
            expansion=self.expansion,
            query=self.query,
            choice=self.choice,
            temperature=self.temperature,
            prior=self.prior,
        )
        if not isinstance(self.regions, Mapping):
            return dict.fromkeys(strides, common)
        stages = self.regions
        missing = [stride for stride in strides if stride not in stages]
        if missing:
            source = "regions" if self.regions_file is None else "regions_file"
            raise ValueError(
                f"codebook.{source}: no regions for stride {missing[0]}, only for "
                f"{', '.join(map(str, stages))}; fit them with `pointseg fit-regions --strides`"
            )
        return {stride: self._fitted(common, stages[stride]) for stride in strides}

    def _fitted(self, common: CodebookConfig, stage: FittedRegions) -> CodebookConfig:
        prior = self.prior
        if prior.name != "none" and prior.mean is None:
            prior = replace(prior, mean=stage.mean, std=stage.std)
        return replace(common, regions=stage.regions, prior=prior)


def inline_files(options: Mapping[str, Any], voxel_size_m: float | None = None) -> dict[str, Any]:
    """Options of a model with what ``codebook.regions_file`` holds in place of its name.

    So a configuration that is kept with a checkpoint needs no other file. ValueError for a file of
    voxels of another size than `voxel_size_m`: regions and shares belong to a size.
    """
    codebook = options.get("codebook")
    if not isinstance(codebook, Mapping) or codebook.get("regions_file") is None:
        return dict(options)
    if codebook.get("regions") is not None:
        return dict(options)  # refused where the model is built
    rest = {name: value for name, value in codebook.items() if name != "regions_file"}
    return {
        **options,
        "codebook": {**rest, "regions": read_file(codebook["regions_file"], voxel_size_m)},
    }


def read_file(path: str, voxel_size_m: float | None = None) -> dict[int, dict[str, Any]]:
    """What a file of `pointseg.geometry` says of each stride, as plain data."""
    # Other models need nothing of pointseg.geometry.
    from pointseg.geometry import load_regions

    try:
        file = load_regions(path)
    except (FileNotFoundError, ValueError) as error:
        raise ValueError(f"codebook.regions_file: {error}") from error
    if voxel_size_m is not None and not math.isclose(file.voxel_size_m, voxel_size_m):
        raise ValueError(
            f"codebook.regions_file: {path} is of voxels of {file.voxel_size_m:g} m, the data have "
            f"{voxel_size_m:g} m; fit regions at that size with `pointseg fit-regions`"
        )
    return {
        stage.stride: {
            "entries": [_as_data(region) for region in stage.regions],
            "mean": list(stage.mean),
            "std": list(stage.std),
        }
        for stage in file.stages
    }


def _as_data(region: Region) -> dict[str, Any]:
    spec = region.spec
    data = {"size": spec.size, "dilation": spec.dilation, "shape": spec.shape}
    return data if region.is_full else {**data, "taps": list(region.taps)}


def _read_stages(stages: Mapping[Any, Any]) -> dict[int, FittedRegions]:
    found = {}
    for stride, stage in stages.items():
        where = f"codebook.regions[{stride!r}]"
        if isinstance(stage, FittedRegions):
            found[stride] = stage
            continue
        if not isinstance(stride, int) or not isinstance(stage, Mapping):
            raise TypeError(f"{where}: expected stride -> {{entries, mean, std}}, got {stage!r}")
        check_names(stage, _STAGE_KEYS, where)
        missing = [name for name in _STAGE_KEYS if name not in stage]
        if missing:
            raise ValueError(f"{where} needs {', '.join(missing)}")
        regions = read_regions(stage["entries"])
        found[stride] = FittedRegions(regions, tuple(stage["mean"]), tuple(stage["std"]))
    return found


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
        taps = entry.get("taps")
        return Region(spec) if taps is None else Region(spec, tuple(taps))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error
