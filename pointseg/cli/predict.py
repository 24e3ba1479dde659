"""Label your own point clouds with a trained model.

Reads ply, npy, bin, txt/xyz and pcd files; writes <name>.npy (int16 train ids), <name>.txt (the
data set's raw ids), <name>.ply (coloured by class; metres, z up) and <name>.html (a page to look
at) per cloud, one label per point in the file's order. A cloud with more voxels than --max-voxels
is labelled in overlapping tiles, so memory stays bounded; --tta sums several views of it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pointseg.cli import run_main
from pointseg.cli._protocol import add_protocol_arguments, protocol_of
from pointseg.cli._trained import add_model_arguments, load_model
from pointseg.data import LabelMap, MissingFeatureError, PointCloud
from pointseg.data.clouds import READERS, UP_AXES, check_units, read_cloud, to_metres_z_up
from pointseg.data.voxelization import point_features
from pointseg.evaluation import FORMATS, Protocol, predict_cloud, write_labels
from pointseg.evaluation.label_files import label_paths
from pointseg.experiment import Trained
from pointseg.files import refuse_existing, written_whole
from pointseg.visualization import write_scene_page

DEFAULT_MAX_VOXELS = 500_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "input", type=Path, metavar="FILE_OR_FOLDER", help="cloud, or folder of them"
    )
    add_model_arguments(parser)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for the files"
    )
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        help="metres per unit of the file, such as 0.001 for millimetres (default: 1)",
    )
    parser.add_argument(
        "--up",
        choices=UP_AXES,
        default="z",
        metavar="AXIS",
        help="the file's upward axis: x, y, z, or --up=-x and so on (default: z)",
    )
    parser.add_argument(
        "--drop-invalid",
        action="store_true",
        help="leave out points without finite coordinates; <name>.rows.npy says which are left",
    )
    parser.add_argument(
        "--estimate-normals",
        action="store_true",
        help="estimate normals where the model needs them and the file has none (open3d)",
    )
    add_protocol_arguments(parser, DEFAULT_MAX_VOXELS)
    parser.add_argument("--no-page", action="store_true", help="write no HTML page")
    parser.add_argument("--overwrite", action="store_true", help="replace earlier files in --out")


def run(args: argparse.Namespace) -> int:
    files = find_clouds(args.input)
    if any(file.parent.resolve() == args.out.resolve() for file in files):
        raise ValueError(f"--out {args.out} is the folder of the input; choose another one")
    names = [cloud_name(file) for file in files]
    planned = [path for name in names for path in label_paths(args.out, name, FORMATS)]
    planned += [] if args.no_page else [args.out / f"{name}.html" for name in names]
    refuse_existing(planned, args.overwrite)
    trained = load_model(args)
    protocol = protocol_of(args, trained)
    if len(files) == 1:
        label_file(trained, protocol, files[0], args)
        return 0
    num_failed = 0
    for file in files:
        try:
            label_file(trained, protocol, file, args)
        except (ValueError, OSError) as error:  # the others of the folder can still be labelled
            num_failed += 1
            print(f"error: {error}", file=sys.stderr)
    print(f"labelled {len(files) - num_failed} of {len(files)} clouds in {args.out}")
    return 1 if num_failed else 0


def label_file(trained: Trained, protocol: Protocol, file: Path, args: argparse.Namespace) -> None:
    """Read one cloud, label it, and write its files into ``args.out``."""
    cloud = read_cloud(file, drop_invalid=args.drop_invalid)
    cloud = to_metres_z_up(cloud, args.scale, args.up).replace(scene_id=cloud_name(file))
    for warning in check_units(cloud):
        print(f"warning: {warning}", file=sys.stderr)
    cloud = with_features(cloud, trained.config.data.features, args.estimate_normals)
    predictions = label_cloud(trained, cloud, protocol)
    write_labels(args.out, cloud, predictions, trained.label_map, FORMATS, args.overwrite)
    if "row" in cloud.extras:
        rows_path = args.out / f"{cloud.scene_id}.rows.npy"
        with written_whole(rows_path, args.overwrite) as part, part.open("wb") as stream:
            np.save(stream, cloud.extras["row"], allow_pickle=False)
    if not args.no_page:
        write_scene_page(
            args.out / f"{cloud.scene_id}.html",
            cloud,
            trained.label_map,
            predictions=predictions,
            title=file.name,
            overwrite=args.overwrite,
        )
    shares = _shares(predictions, trained.label_map)
    print(f"{file.name}: {cloud.num_points:,} points: {shares} ({protocol.name})")


def find_clouds(path: Path) -> list[Path]:
    """``path`` itself, or the clouds in the folder, by name; two of one name are refused."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(f"{path} is not there; pass a point cloud or a folder of them")
    files = sorted(f for f in path.iterdir() if f.is_file() and f.suffix.lower() in READERS)
    if not files:
        raise FileNotFoundError(f"{path} holds no point cloud ({', '.join(READERS)})")
    by_name: dict[str, Path] = {}
    for file in files:
        other = by_name.setdefault(cloud_name(file), file)
        if other is not file:
            raise ValueError(
                f"{other.name} and {file.name} would write the same files; rename one of them"
            )
    return files


def cloud_name(file: Path) -> str:
    """What the outputs of a cloud are called."""
    return file.stem.removesuffix(".pcd")  # of sweep.pcd.bin


def with_features(cloud: PointCloud, features: Sequence[str], estimate_normals: bool) -> PointCloud:
    """``cloud`` with all that the model was trained on; what is missing is refused by name."""
    if "normal" in features and cloud.normal is None and estimate_normals:
        cloud = cloud.replace(normal=estimated_normals(cloud))
    missing = [name for name in features if not _has(cloud, name)]
    if missing:
        hint = "; normals can be estimated with --estimate-normals" if "normal" in missing else ""
        raise ValueError(
            f"{cloud.scene_id}: the model was trained with {', '.join(features)}, and the file has "
            f"no {' and no '.join(missing)}{hint}"
        )
    return cloud


def _has(cloud: PointCloud, feature: str) -> bool:
    try:
        point_features(cloud.select(np.arange(1)), (feature,))
    except MissingFeatureError:
        return False
    return True


def estimated_normals(cloud: PointCloud) -> np.ndarray:
    """Unit normals float32 [P, 3] from the 30 nearest points, turned towards the cloud's middle.

    Scanners see surfaces from inside a room, hence the direction; for an object scanned from
    outside it is the wrong one.
    """
    try:
        import open3d
    except ImportError as error:
        raise ImportError(
            "--estimate-normals needs open3d: pip install pointseg[open3d]"
        ) from error
    points = open3d.geometry.PointCloud(
        open3d.utility.Vector3dVector(cloud.xyz_m.astype(np.float64))
    )
    points.estimate_normals(open3d.geometry.KDTreeSearchParamKNN(knn=30))
    points.orient_normals_towards_camera_location(np.median(cloud.xyz_m, axis=0).astype(float))
    return np.asarray(points.normals).astype(np.float32)


def label_cloud(trained: Trained, cloud: PointCloud, protocol: Protocol) -> np.ndarray:
    """int16 [P] train ids of ``cloud``, from features computed over the whole of it."""
    data = trained.config.data
    with trained.autocast():
        return predict_cloud(trained.model, cloud, data.voxel_size_m, data.features, protocol)


def _shares(predictions: np.ndarray, label_map: LabelMap) -> str:
    """The most frequent classes, such as ``wall 41 %, floor 30 %``."""
    counts = np.bincount(predictions, minlength=label_map.num_classes)
    largest = np.argsort(-counts, kind="stable")[:5]
    shares = [
        f"{label_map.names[c]} {100 * counts[c] / len(predictions):.0f} %"
        for c in largest
        if counts[c]
    ]
    return ", ".join(shares)


def main(argv: Sequence[str] | None = None) -> int:
    return run_main(__name__, argv)


if __name__ == "__main__":
    raise SystemExit(main())
