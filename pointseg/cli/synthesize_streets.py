"""Generate synthetic streets, scanned by a lidar, in SemanticKITTI's on-disk format.

The folder holds `dataset/sequences/NN/` with points, labels, poses, times and calibration. The
splits are SemanticKITTI's: sequences 00 to 07, 09 and 10 for training, 08 for validation, 11 to 21
without labels. Scans that are there already are kept, so an interrupted run goes on where it
stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from pointseg.cli import run_main
from pointseg.cli._generation import add_generation_arguments, progress_bar
from pointseg.data.synthetic.streets import LidarSettings, StreetSet, synthesize_streets


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_generation_arguments(parser)
    parser.add_argument(
        "--train", type=int, default=10, help="training sequences, at most 10 (default: 10)"
    )
    parser.add_argument(
        "--val", type=int, default=1, help="validation sequences: 0 or 1 (default: 1)"
    )
    parser.add_argument(
        "--test", type=int, default=0, help="sequences without labels, at most 11 (default: 0)"
    )
    parser.add_argument(
        "--scans", type=int, default=20, help="scans a sequence, a metre apart (default: 20)"
    )
    parser.add_argument(
        "--azimuth-steps",
        type=int,
        default=512,
        help="pulses per turn and beam: 512 give some 29,000 points a scan (default: 512)",
    )


def run(args: argparse.Namespace) -> int:
    streets = StreetSet(
        train=args.train,
        val=args.val,
        test=args.test,
        scans=args.scans,
        seed=args.seed,
        lidar=LidarSettings(azimuth_steps=args.azimuth_steps),
    )
    with progress_bar("scans", streets.num_scans) as on_scan:
        made = synthesize_streets(args.out, streets, args.workers, on_scan)
    print(
        f"{args.out}: {made} scans generated, {streets.num_scans - made} were there; sequences: "
        f"train {args.train}, val {args.val}, test {args.test}"
    )
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    return run_main(__name__, argv)


if __name__ == "__main__":
    raise SystemExit(main())
