"""Fit the regions of codebook entries to a dataset, or measure given ones; write them to a file.

Scenes are those of a configuration (--config), or of a data set (--dataset, --root, --voxel-size).
At every stride the surroundings of voxels are clustered; each cluster becomes a region. With
--fixed, cubes of given dilations are measured instead.

  pointseg fit-regions --config NAME --entries 3 --out regions.json --page regions.html
  pointseg fit-regions --dataset scannet --voxel-size 0.02 --fixed 2 1 3 --out regions.json
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from pointseg.cli import run_main
from pointseg.data import DATASETS, SceneDataset, open_dataset
from pointseg.experiment import build_dataset, load_config
from pointseg.files import refuse_existing
from pointseg.geometry import (
    FitSettings,
    RegionFile,
    Sampling,
    StageRegions,
    fit_stages,
    measure_stages,
    save_regions,
)
from pointseg.sparse import KernelSpec, RegionSet, VoxelGrid, cubes
from pointseg.visualization.regions_page import write_regions_page

DEFAULT_CUBES = (2, 1, 3)
# Beyond this the choice between entries is no longer one.
MOST_PREFERRED = 0.7


def add_arguments(parser: argparse.ArgumentParser) -> None:
    scenes = parser.add_argument_group("which scenes")
    scenes.add_argument("--config", metavar="FILE_OR_NAME", help="the scenes of a configuration")
    scenes.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a key of the configuration, such as data.root=DIR (repeatable)",
    )
    scenes.add_argument(
        "--augmented",
        action="store_true",
        help="augment the scenes as the configuration does for training",
    )
    scenes.add_argument("--dataset", choices=sorted(DATASETS), help="instead of --config")
    scenes.add_argument(
        "--root", type=Path, metavar="DIR", help="raw or prepared scenes (default: $POINTSEG_DATA)"
    )
    scenes.add_argument("--voxel-size", type=float, metavar="M", help="edge of a voxel in metres")
    scenes.add_argument("--split", help="default: the training split")
    scenes.add_argument("--scenes", type=int, metavar="N", help="draw N scenes (default: all)")
    scenes.add_argument(
        "--voxels",
        type=int,
        default=100_000,
        metavar="N",
        help="voxels drawn at every stride, evenly from the scenes (default: 100,000)",
    )
    scenes.add_argument(
        "--strides", type=int, nargs="+", default=[1, 2, 4, 8, 16], metavar="T", help="of the grids"
    )
    scenes.add_argument("--seed", type=int, default=0, help="of draws and clusters (default: 0)")
    regions = parser.add_argument_group("which regions")
    regions.add_argument("--entries", type=int, metavar="D", help="regions a stride (default: 3)")
    regions.add_argument("--taps", type=int, help="taps of a region (default: 27)")
    regions.add_argument("--kernel", type=int, metavar="SIZE", help="cube they are of (default: 5)")
    regions.add_argument("--dilation", type=int, help="of that cube (default: 1)")
    regions.add_argument("--symmetric", action="store_true", help="take taps with their mirrors")
    regions.add_argument(
        "--fixed",
        type=int,
        nargs="*",
        metavar="DILATION",
        help="fit nothing, measure 3x3x3 cubes of these dilations (default: 2 1 3)",
    )
    output = parser.add_argument_group("output")
    output.add_argument("--out", type=Path, required=True, metavar="JSON", help="the region file")
    output.add_argument("--page", type=Path, metavar="HTML", help="also a page that shows them")
    output.add_argument("--overwrite", action="store_true", help="replace what is there")


def run(args: argparse.Namespace) -> int:
    refuse_existing([path for path in (args.out, args.page) if path is not None], args.overwrite)
    fixed = None if args.fixed is None else cubes(*(args.fixed or DEFAULT_CUBES))
    settings = _settings(args)
    if args.voxels < 1:
        raise ValueError(f"--voxels: expected at least 1, got {args.voxels}")
    strides = tuple(sorted(set(args.strides)))
    Sampling(strides, seed=args.seed)  # refused before scenes are read
    name, split, dataset = _dataset(args)
    drawn = _drawn(len(dataset), args.scenes, args.seed)
    sampling = Sampling(strides, -(-args.voxels // len(drawn)), args.seed)
    file = RegionFile(
        stages=_stages(_grids(dataset, drawn), fixed, settings, sampling),
        dataset=name,
        split=split,
        voxel_size_m=dataset.voxel_size_m,
        num_scenes=len(drawn),
        seed=args.seed,
        fitted=fixed is None,
    )
    console = Console()
    console.print(_table(file))
    for warning in _warnings(file):
        console.print(warning, style="yellow", soft_wrap=True)
    print(f"wrote {save_regions(args.out, file, args.overwrite)}")
    if args.page is not None:
        print(f"wrote {write_regions_page(args.page, file, args.overwrite)}")
    return 0


def _settings(args: argparse.Namespace) -> FitSettings:
    """What is fitted; ValueError where --fixed leaves nothing of that to say."""
    fitting = {
        "entries": args.entries,
        "taps": args.taps,
        "kernel": args.kernel,
        "dilation": args.dilation,
    }
    given = {name: value for name, value in fitting.items() if value is not None}
    if args.fixed is not None and (given or args.symmetric):
        name = next(iter(given), "symmetric")
        raise ValueError(f"--{name} is about fitting, and --fixed fits nothing: leave one out")
    kernel = KernelSpec(given.pop("kernel", 5), dilation=given.pop("dilation", 1))
    return FitSettings(kernel=kernel, symmetric=args.symmetric, seed=args.seed, **given)


def _stages(
    grids: Iterator[VoxelGrid],
    fixed: RegionSet | None,
    settings: FitSettings,
    sampling: Sampling,
) -> tuple[StageRegions, ...]:
    if fixed is not None:
        return measure_stages(grids, fixed, sampling)
    return fit_stages(grids, settings, sampling)


def _dataset(args: argparse.Namespace) -> tuple[str, str, SceneDataset]:
    """Name of the data set, split and scenes."""
    if args.config is not None:
        given = [name for name in ("dataset", "root", "voxel_size") if getattr(args, name)]
        if given:
            name = given[0].replace("_", "-")
            key = {"dataset": "dataset", "root": "root", "voxel_size": "voxel_size_m"}[given[0]]
            raise ValueError(f"--{name} is the configuration's: pass --set data.{key}=... instead")
        config = load_config(args.config, args.set)
        split = args.split or config.data.train_split
        return config.data.dataset, split, build_dataset(config, split, training=args.augmented)
    if args.dataset is None or args.voxel_size is None:
        raise ValueError("pass --config, or --dataset and --voxel-size")
    if args.set or args.augmented:
        raise ValueError("--set and --augmented are about a configuration: pass --config, too")
    split = args.split or "train"
    source = open_dataset(args.dataset, args.root, split)
    return args.dataset, split, SceneDataset(source, args.voxel_size, features=("ones",))


def _drawn(num_scenes: int, wanted: int | None, seed: int) -> list[int]:
    if wanted is not None and wanted < 1:
        raise ValueError(f"--scenes: expected at least 1, got {wanted}")
    if not num_scenes:
        raise ValueError("the split has no scenes")
    if wanted is None or wanted >= num_scenes:
        return list(range(num_scenes))
    return sorted(np.random.default_rng(seed).permutation(num_scenes)[:wanted].tolist())


def _grids(dataset: SceneDataset, drawn: Sequence[int]) -> Iterator[VoxelGrid]:
    for index in track(drawn, description="scenes"):
        coords = dataset[index].coords
        yield VoxelGrid(torch.cat([coords.new_zeros(len(coords), 1), coords], dim=1))


def _table(file: RegionFile) -> Table:
    table = Table(title=f"occupied shares over {file.num_scenes} scenes of {file.dataset}")
    for heading in ("stride", "voxels", "entry", "taps", "reach", "mean", "std", "preferred by"):
        table.add_column(heading, justify="right")
    for stage in file.stages:
        rows = zip(stage.regions, stage.mean, stage.std, stage.preferred, strict=True)
        for entry, (region, mean, std, preferred) in enumerate(rows):
            first = entry == 0
            table.add_row(
                str(stage.stride) if first else "",
                f"{stage.num_voxels:,}" if first else "",
                str(entry),
                str(region.num_taps),
                str(max(abs(v) for offset in region.offsets for v in offset)),
                f"{mean:.3f}",
                f"{std:.3f}",
                f"{preferred:.1%}",
            )
        table.add_section()
    return table


def _warnings(file: RegionFile) -> Iterator[str]:
    for stage in file.stages:
        for entry, preferred in enumerate(stage.preferred):
            where = f"stride {stage.stride}: entry {entry}"
            if not preferred:
                yield f"{where} is preferred by no voxel; ask for fewer entries or other taps"
            elif preferred > MOST_PREFERRED and len(stage.regions) > 1:
                yield f"{where} is preferred by {preferred:.0%} of the voxels"


def main(argv: Sequence[str] | None = None) -> int:
    return run_main(__name__, argv)


if __name__ == "__main__":
    raise SystemExit(main())
