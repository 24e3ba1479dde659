"""Show scenes in 3D: as HTML pages that work offline, as pictures, or in a window.

Scenes come from a data set (--dataset, --root, --scene; a whole split without --scene) or from
point cloud files (ply, npy, bin, txt/xyz, pcd). Each page colours its scene by RGB, label,
prediction, error, height, any array, or what a model with codebooks chose, in up to three views
with linked cameras.

  pointseg visualize --root DIR --scene scene0000_00 --preds LABELS --out scene.html
  pointseg visualize cloud.ply --array confidence=confidence.npy --out cloud.html
  pointseg visualize --dataset synthetic --root DIR --split val --preds LABELS --out pages/
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pointseg.cli import run_main
from pointseg.data import DATASETS, LabelMap, PointCloud, find_spec, read_cloud
from pointseg.evaluation.choices import StageChoice
from pointseg.experiment import metric_rule
from pointseg.files import refuse_existing
from pointseg.visualization import open3d_window
from pointseg.visualization.fields import BUILT_IN
from pointseg.visualization.index import write_index_page
from pointseg.visualization.page import DEFAULT_MAX_POINTS, write_scene_page
from pointseg.visualization.screenshot import write_screenshot
from pointseg.visualization.sources import (
    choices_of,
    predictions_path,
    read_array,
    read_predictions,
    scenes_of_dataset,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    scenes = parser.add_argument_group("which scenes")
    scenes.add_argument("files", nargs="*", type=Path, metavar="FILE", help="point cloud files")
    scenes.add_argument(
        "--dataset",
        default="scannet",
        choices=sorted(DATASETS),
        help="whose scenes are shown; with files, whose classes --preds have (default: scannet)",
    )
    scenes.add_argument(
        "--root", type=Path, metavar="DIR", help="raw or prepared scenes (default: $POINTSEG_DATA)"
    )
    scenes.add_argument("--scene", nargs="+", default=[], metavar="ID", help="scenes to show")
    scenes.add_argument("--split", default="val", help="all scenes of a split (default: val)")
    values = parser.add_argument_group("what to show")
    values.add_argument(
        "--preds",
        type=Path,
        metavar="DIR",
        help="what export-preds wrote: labels <scene>.npy or <scene>.txt, and <scene>.choices.npz "
        "where it is there",
    )
    values.add_argument(
        "--array",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="npy array with a value per point; {scene} in FILE is the scene's id (repeatable)",
    )
    values.add_argument(
        "--views",
        metavar="A,B,C",
        help=f"up to three of {', '.join(BUILT_IN)}, array names, and STAGE/entry or "
        "STAGE/entropy of choices (such as encoder.1/entry), side by side",
    )
    values.add_argument(
        "--max-points",
        type=int,
        metavar="N",
        help=f"larger scenes are thinned evenly (default: {DEFAULT_MAX_POINTS:,}; in a window "
        f"{open3d_window.DEFAULT_MAX_POINTS:,})",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--out",
        type=Path,
        metavar="PATH",
        help="page.html for one scene, or a folder for one page each and an index",
    )
    output.add_argument(
        "--screenshot", type=Path, metavar="PNG", help="also a picture of the (only) page"
    )
    output.add_argument("--viewer", choices=("plotly", "open3d"), default="plotly")
    output.add_argument("--overwrite", action="store_true", help="replace what is there")


def run(args: argparse.Namespace) -> int:
    names, clouds, label_map = _scenes(args)
    if args.viewer == "open3d":
        open3d_window.require_display()
        for cloud in clouds:
            predictions, arrays, choices = _values(args, cloud, label_map)
            budget = args.max_points or open3d_window.DEFAULT_MAX_POINTS
            open3d_window.show_window(cloud, label_map, predictions, arrays, budget, choices)
        return 0
    return _write_pages(args, names, clouds, label_map)


def _write_pages(
    args: argparse.Namespace,
    names: tuple[str, ...],
    clouds: Iterator[PointCloud],
    label_map: LabelMap,
) -> int:
    targets, index = _targets(args.out, names)
    pictures = [] if args.screenshot is None else [args.screenshot]
    if pictures and len(targets) > 1:
        raise ValueError(f"--screenshot takes a picture of one page; {len(targets)} are to be made")
    planned = [*targets, *pictures, *([] if index is None else [index])]
    refuse_existing(planned, args.overwrite)
    if args.preds is not None:
        for name in names:
            predictions_path(args.preds, name)
    views = args.views.split(",") if args.views else None
    pages = []
    for target, cloud in zip(targets, clouds, strict=True):
        predictions, arrays, choices = _values(args, cloud, label_map)
        page = write_scene_page(
            target,
            cloud,
            label_map,
            predictions,
            arrays,
            max_points=args.max_points or DEFAULT_MAX_POINTS,
            views=views,
            overwrite=args.overwrite,
            choices=choices,
            rule=None if args.files else metric_rule(args.dataset),
        )
        print(f"wrote {target} ({page.num_shown:,} of {page.num_points:,} points shown)")
        pages.append(page)
    if index is not None:
        print(f"wrote {write_index_page(index, pages, overwrite=args.overwrite)}")
    for picture in pictures:
        print(f"wrote {write_screenshot(targets[0], picture, overwrite=args.overwrite)}")
    return 0


def _scenes(args: argparse.Namespace) -> tuple[tuple[str, ...], Iterator[PointCloud], LabelMap]:
    if not args.files:
        return scenes_of_dataset(args.dataset, args.root, args.split, args.scene)
    if args.root is not None or args.scene:
        raise ValueError("pass either files, or --root and --scene, not both")
    names, label_map = tuple(path.stem for path in args.files), find_spec(args.dataset).label_map
    if len(set(names)) < len(names):
        raise ValueError("two of the files have one stem, so their pages would have one name")
    return names, (read_cloud(path) for path in args.files), label_map


def _targets(out: Path | None, names: tuple[str, ...]) -> tuple[list[Path], Path | None]:
    """The pages to write, and the index where ``out`` is a folder."""
    if out is None:
        raise ValueError("pass --out: page.html for one scene, or a folder")
    if out.suffix.lower() not in (".html", ".htm"):
        return [out / f"{name}.html" for name in names], out / "index.html"
    if len(names) > 1:
        raise ValueError(f"--out {out} is one page for {len(names)} scenes; pass a folder instead")
    return [out], None


def _values(
    args: argparse.Namespace, cloud: PointCloud, label_map: LabelMap
) -> tuple[np.ndarray | None, dict[str, np.ndarray], dict[str, StageChoice]]:
    """Predictions, arrays (those asked for, after what its own file holds) and choices of a
    scene.
    """
    predictions = None
    choices: dict[str, StageChoice] = {}
    if args.preds is not None:
        path = predictions_path(args.preds, cloud.scene_id)
        predictions = read_predictions(path, label_map)
        if len(predictions) != cloud.num_points:
            raise ValueError(
                f"{path}: {len(predictions):,} labels, but {cloud.scene_id} has "
                f"{cloud.num_points:,} points"
            )
        choices = choices_of(args.preds, cloud)
    arrays = {}
    if cloud.instances is not None:
        arrays["instance"] = np.asarray(cloud.instances)
    for name, values in cloud.extras.items():
        if values.ndim == 1 and values.dtype.kind in "biuf":
            arrays[f"{name} (file)" if name in BUILT_IN else name] = np.asarray(values)
    for text in args.array:
        name, separator, file = text.partition("=")
        if not separator or not name or not file:
            raise ValueError(f"--array: expected NAME=FILE.npy, got {text!r}")
        arrays[name] = read_array(Path(file.replace("{scene}", cloud.scene_id)))
    return predictions, arrays, choices


def main(argv: Sequence[str] | None = None) -> int:
    return run_main(__name__, argv)


if __name__ == "__main__":
    raise SystemExit(main())
