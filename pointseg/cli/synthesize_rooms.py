"""Generate synthetic rooms, scanned by ray casting, in ScanNet's on-disk format.

The folder holds `scans/`, `meta/` with split lists and label table, and is read like ScanNet
itself. Rooms that are there already are kept, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from pointseg.cli import run_main
from pointseg.cli._generation import add_generation_arguments, progress_bar
from pointseg.data.synthetic import RoomSet, synthesize_rooms


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_generation_arguments(parser)
    parser.add_argument("--train", type=int, default=200, help="training rooms (default: 200)")
    parser.add_argument("--val", type=int, default=24, help="validation rooms (default: 24)")


def run(args: argparse.Namespace) -> int:
    rooms = RoomSet(train=args.train, val=args.val, seed=args.seed)
    total = len(rooms.indices())
    with progress_bar("rooms", total) as on_room:
        made = synthesize_rooms(args.out, rooms, args.workers, on_room)
    kept = total - made
    print(
        f"{args.out}: {made} rooms generated, {kept} were there; train {args.train}, val {args.val}"
    )
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    return run_main(__name__, argv)


if __name__ == "__main__":
    raise SystemExit(main())
