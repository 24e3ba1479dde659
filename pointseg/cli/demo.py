"""Train on synthetic rooms, score unseen ones, dump their labels and write pages that show them.

Everything goes through the real commands: rooms in ScanNet's format are generated, prepared,
trained on, evaluated, exported, checked and shown. Rooms that are there are kept, and a run with
the same settings is gone on with. Remove the folder to start anew.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from pointseg.cli import evaluate, export_preds, run_main, visualize
from pointseg.cli._device import add_device_argument
from pointseg.cli._steps import Clock, make_rooms, train_or_go_on

CONFIG = "synthetic_minkunet14"
SHOWN_ROOMS = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("outputs/demo"), help="working folder")
    parser.add_argument("--train", type=int, default=200, help="training rooms (default: 200)")
    parser.add_argument("--val", type=int, default=28, help="unseen rooms (default: 28)")
    parser.add_argument("--seed", type=int, default=0, help="of rooms, weights and augmentation")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change the configuration"
    )
    add_device_argument(parser)


def run(args: argparse.Namespace) -> int:
    rooms, trained, labels, pages = (args.out / n for n in ("rooms", "run", "labels", "pages"))
    clock = Clock()
    make_rooms(clock, rooms, args.train, args.val, args.seed)
    changes = [f"data.root={rooms}", f"train.seed={args.seed}", *args.set]
    device = ("--device", args.device)
    train_or_go_on(clock, "training", CONFIG, trained, changes, *device)
    scores = args.out / "scores"
    model = ("--checkpoint", trained, *device, "--overwrite")
    clock.run("evaluation", evaluate.main, *model, "--out", scores)
    formats = ("--format", "txt", "npy", "ply")
    clock.run("export", export_preds.main, *model, "--out", labels, *formats)
    where = ("--dataset", "synthetic", "--root", rooms)
    clock.run("check", export_preds.main, "--check", labels, *where)
    shown = _first_rooms(rooms)
    where = ("--dataset", "synthetic", "--root", rooms, "--scene", *shown)
    what_shown = ("--preds", labels, "--out", pages, "--overwrite")
    clock.run("pages", visualize.main, *where, *what_shown)
    start = time.perf_counter()
    control = control_score(rooms)
    clock.seconds["control"] = time.perf_counter() - start

    report = json.loads((scores / "evaluation.json").read_text(encoding="utf-8"))
    print()
    print(f"labels: {labels}   pages: {pages / 'index.html'}   scores: {scores / 'confusion.html'}")
    print("times: " + ", ".join(f"{name} {s:.0f} s" for name, s in clock.seconds.items()))
    spent = clock.seconds["training"] + clock.seconds["evaluation"]
    print(f"training plus evaluation: {spent:.0f} s")
    print(
        f"control: a random forest on colour, height and normal of single points reaches "
        f"{control:.3f} on the same {args.val} rooms"
    )
    print(f"mIoU {report['mean_iou']:.3f} ({report['protocol']})")
    return 0


def control_score(rooms: Path) -> float:
    """mIoU, over raw points of the unseen rooms, of a forest that sees single points only."""
    from pointseg.data import open_dataset
    from pointseg.data.synthetic.control import score_control, train_control

    seen, unseen = (open_dataset("synthetic", rooms, split) for split in ("train", "val"))
    forest = train_control((seen[i] for i in range(len(seen))), num_jobs=os.cpu_count() or 1)
    clouds = (unseen[i] for i in range(len(unseen)))
    return score_control(forest, clouds, unseen.label_map.names).mean_iou


def _first_rooms(rooms: Path) -> list[str]:
    split = rooms / "meta" / "scannetv2_val.txt"
    return split.read_text(encoding="utf-8").split()[:SHOWN_ROOMS]


def main(argv: Sequence[str] | None = None) -> int:
    return run_main(__name__, argv)


if __name__ == "__main__":
    raise SystemExit(main())
