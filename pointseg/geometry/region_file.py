"""Regions and their statistics as a file: JSON that says what it is and which version of it."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from pointseg.sparse import KernelSpec, Region, RegionSet

FORMAT = "pointseg-regions"
VERSION = 1
_REMEDY = "make the file again with `pointseg fit-regions`"


@dataclass(frozen=True)
class StageRegions:
    """The regions of one stride and what is known about them.

    Attributes:
        stride: of the grid.
        regions: D regions.
        mean, std: D numbers each, of the occupied share of every region over the dataset at this
            stride.
        preferred: D numbers, the share of voxels whose standardised share is largest for each
            region.
        num_voxels: voxels that were looked at.
    """

    stride: int
    regions: RegionSet
    mean: tuple[float, ...]
    std: tuple[float, ...]
    preferred: tuple[float, ...]
    num_voxels: int

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise ValueError(f"stride: expected at least 1, got {self.stride}")
        for name in ("mean", "std", "preferred"):
            values = getattr(self, name)
            if len(values) != len(self.regions):
                raise ValueError(
                    f"{name}: expected {len(self.regions)} numbers, one a region, got {len(values)}"
                )
            if not all(0 <= value <= 1 for value in values):
                raise ValueError(f"{name}: expected numbers in 0..1, got {values}")
        if not all(value > 0 for value in self.std):
            raise ValueError(f"std: expected numbers above 0, got {self.std}")


@dataclass(frozen=True)
class RegionFile:
    """Regions for every stride, and where they come from.

    Attributes:
        stages: one a stride.
        dataset, split: what was looked at.
        voxel_size_m: of the finest grid.
        num_scenes, seed: how much of it, and of which draw.
        fitted: whether the regions were fitted, or given and measured.
        path: the file it was read from; no part of equality.
    """

    stages: tuple[StageRegions, ...]
    dataset: str
    split: str
    voxel_size_m: float
    num_scenes: int
    seed: int
    fitted: bool
    path: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        strides = self.strides
        if not strides or len(set(strides)) < len(strides):
            raise ValueError(f"stages: expected at least one, each stride once, got {strides}")
        if not (math.isfinite(self.voxel_size_m) and self.voxel_size_m > 0):
            raise ValueError(f"voxel_size_m: expected a number above 0, got {self.voxel_size_m}")

    @property
    def strides(self) -> tuple[int, ...]:
        """The strides that there are regions for."""
        return tuple(stage.stride for stage in self.stages)

    def stage(self, stride: int) -> StageRegions:
        """The regions of a stride; ValueError where there are none."""
        for stage in self.stages:
            if stage.stride == stride:
                return stage
        raise ValueError(
            f"{self.path or 'regions'}: no regions for stride {stride}, only for "
            f"{', '.join(map(str, self.strides))}; fit it with `pointseg fit-regions --strides`"
        )


def save_regions(path: Path | str, file: RegionFile, overwrite: bool = False) -> Path:
    """Write a region file, whole or not at all; its folder is made where it is missing.

    Raises FileExistsError where the file is there and ``overwrite`` is not set.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} would be overwritten; choose another path or pass overwrite")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_text(_text(file), encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def load_regions(path: Path | str) -> RegionFile:
    """Read a region file.

    Raises:
        FileNotFoundError: there is none.
        ValueError: not such a file, of a newer version, or with a field that is missing or makes
            no sense; names file, field and remedy.
    """
    path = Path(path)
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path}: no such region file; write one with `pointseg fit-regions --out {path}`"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not JSON ({error}); {_REMEDY}") from error
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        found = raw.get("format") if isinstance(raw, dict) else type(raw).__name__
        raise ValueError(f"{path}: format: expected {FORMAT!r}, got {found!r}; {_REMEDY}")
    version = raw.get("version")
    if isinstance(version, int) and not isinstance(version, bool) and version > VERSION:
        raise ValueError(
            f"{path}: version: {version} is newer than {VERSION}, the newest this pointseg reads; "
            f"update pointseg or {_REMEDY}"
        )
    if version != VERSION or isinstance(version, bool):
        raise ValueError(f"{path}: version: expected {VERSION}, got {version!r}; {_REMEDY}")
    return _Section(path, "", raw).file()


def _text(file: RegionFile) -> str:
    head = {
        "format": FORMAT,
        "version": VERSION,
        "dataset": file.dataset,
        "split": file.split,
        "voxel_size_m": file.voxel_size_m,
        "num_scenes": file.num_scenes,
        "seed": file.seed,
        "fitted": file.fitted,
    }
    # A region a line: short enough to read, long enough to compare.
    stages = []
    for stage in file.stages:
        rows = zip(stage.regions, stage.mean, stage.std, stage.preferred, strict=True)
        lines = [
            json.dumps(
                {
                    "mean": mean,
                    "std": std,
                    "preferred": preferred,
                    "size": region.spec.size,
                    "dilation": region.spec.dilation,
                    "shape": region.spec.shape,
                    "taps": list(region.taps),
                },
                allow_nan=False,
            )
            for region, mean, std, preferred in rows
        ]
        begin = f'{{"stride": {stage.stride}, "num_voxels": {stage.num_voxels}, "regions": ['
        stages.append("  " + begin + "\n    " + ",\n    ".join(lines) + "\n  ]}")
    start = json.dumps(head, indent=1, allow_nan=False).removesuffix("\n}")
    return start + ',\n "stages": [\n' + ",\n".join(stages) + "\n ]\n}\n"


@dataclass(frozen=True)
class _Section:
    """A JSON object on its way to a value; knows where it stands in which file."""

    path: Path
    where: str
    raw: dict[str, Any]

    def fail(self, what: str) -> NoReturn:
        raise ValueError(f"{self.path}: {self.where}{what}; {_REMEDY}")

    def get(self, key: str, *types: type) -> Any:
        if key not in self.raw:
            self.fail(f"{key}: missing")
        value = self.raw[key]
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            names = " or ".join(t.__name__ for t in types)
            self.fail(f"{key}: expected {names}, got {type(value).__name__} {str(value)[:40]!r}")
        return value

    def sections(self, key: str) -> list[_Section]:
        items = self.get(key, list)
        for index, item in enumerate(items):
            if not isinstance(item, dict):
                self.fail(f"{key}[{index}]: expected an object, got {type(item).__name__}")
        return [
            _Section(self.path, f"{self.where}{key}[{index}].", item)
            for index, item in enumerate(items)
        ]

    def file(self) -> RegionFile:
        stages = tuple(section.stage() for section in self.sections("stages"))
        try:
            return RegionFile(
                stages=stages,
                dataset=self.get("dataset", str),
                split=self.get("split", str),
                voxel_size_m=float(self.get("voxel_size_m", int, float)),
                num_scenes=self.get("num_scenes", int),
                seed=self.get("seed", int),
                fitted=self.get("fitted", bool),
                path=str(self.path),
            )
        except ValueError as error:
            self.refuse(error)

    def stage(self) -> StageRegions:
        entries = self.sections("regions")
        regions = tuple(entry.region() for entry in entries)
        try:
            return StageRegions(
                stride=self.get("stride", int),
                regions=RegionSet(regions),
                mean=tuple(float(entry.get("mean", int, float)) for entry in entries),
                std=tuple(float(entry.get("std", int, float)) for entry in entries),
                preferred=tuple(float(entry.get("preferred", int, float)) for entry in entries),
                num_voxels=self.get("num_voxels", int),
            )
        except ValueError as error:
            self.refuse(error)

    def region(self) -> Region:
        taps = self.get("taps", list)
        if not taps:
            self.fail("taps: expected at least one")
        try:
            spec = KernelSpec(
                self.get("size", int),
                dilation=self.get("dilation", int),
                shape=self.get("shape", str),
            )
            return Region(spec, tuple(taps))
        except ValueError as error:
            self.refuse(error)

    def refuse(self, error: ValueError) -> NoReturn:
        if str(error).startswith(f"{self.path}: "):  # says where it stands already
            raise error
        raise ValueError(f"{self.path}: {self.where}{error}; {_REMEDY}") from error
