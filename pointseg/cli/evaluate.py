"""Score a trained model on every raw point of a split, and write the scores and a heat map.

One forward pass per scene, without augmentation or voting ("single pass, raw points"), unless --tta
sums several views. Prints a table of the classes; with --out also writes evaluation.json and
confusion.html (works offline).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pointseg.cli import run_main
from pointseg.cli._protocol import add_protocol_arguments, protocol_of, view_loader
from pointseg.cli._trained import add_model_arguments, load_model, open_split, shown
from pointseg.evaluation import evaluate, write_heatmap, write_json
from pointseg.files import refuse_existing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_arguments(parser)
    parser.add_argument(
        "--split", help="split to score (default: the configuration's data.val_split)"
    )
    add_protocol_arguments(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for JSON and heat map")
    parser.add_argument("--overwrite", action="store_true", help="replace earlier results in --out")


def run(args: argparse.Namespace) -> int:
    outputs = (
        [args.out / name for name in ("evaluation.json", "confusion.html")] if args.out else []
    )
    refuse_existing(outputs, args.overwrite)
    trained = load_model(args)
    split = args.split or trained.config.data.val_split
    dataset = open_split(trained, split)
    protocol = protocol_of(args, trained.model)
    loader = view_loader(trained, dataset, protocol)
    with trained.autocast():
        report = evaluate(
            trained.model,
            shown(loader, len(loader), f"evaluating {split}"),
            trained.label_map,
            protocol,
        )
    console = Console()
    console.print(report.table())
    if outputs:
        context = {"checkpoint": str(args.checkpoint), "split": split}
        write_json(report, outputs[0], context, args.overwrite)
        write_heatmap(report, outputs[1], args.overwrite)
        print(f"wrote {outputs[0]} and {outputs[1]}")
    print(report.headline)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    return run_main(__name__, argv)


if __name__ == "__main__":
    raise SystemExit(main())
