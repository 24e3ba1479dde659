"""Generate synthetic rooms, scanned by ray casting, in ScanNet's or S3DIS's on-disk format.

The folder is read like the data set itself. For ScanNet it holds homes, in `scans/`, and `meta/`
with split lists and label table; for S3DIS rooms of an office building in six areas, of which the
fifth is for validation. Rooms that are there already are kept, so an interrupted run goes on where
it stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from pointseg.cli import run_main
from pointseg.cli._generation import add_generation_arguments, progress_bar
from pointseg.data.synthetic import FORMATS, RoomSet, synthesize_rooms


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_generation_arguments(parser)
    parser.add_argument(
        "--format", choices=tuple(FORMATS), default="scannet", help="layout (default: scannet)"
    )
    parser.add_argument("--train", type=int, default=200, help="training rooms (default: 200)")
    parser.add_argument("--val", type=int, default=24, help="validation rooms (default: 24)")


def run(args: argparse.Namespace) -> int:
    form = FORMATS[args.format]
    rooms = RoomSet(train=args.train, val=args.val, seed=args.seed, settings=form.settings)
    total = len(rooms.indices())
    with progress_bar("rooms", total) as on_room:
        made = synthesize_rooms(args.out, rooms, args.workers, on_room, form)
    kept = total - made
    print(
        f"{args.out}: {made} rooms generated, {kept} were there; train {args.train}, val {args.val}"
    )
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    return run_main(__name__, argv)


if __name__ == "__main__":
    raise SystemExit(main())
