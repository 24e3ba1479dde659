"""How predictions are made, for the sub-commands that make them: views and tiles."""

from __future__ import annotations

import argparse
import sys

from pointseg.data import SceneDataset, find_spec
from pointseg.engine.loaders import EvaluationLoader
from pointseg.evaluation import Protocol, Tiling, ViewedScenes, Views, margin_of, parse_views
from pointseg.evaluation.views import PRESETS
from pointseg.experiment import Trained, training_pivot

DEFAULT_MARGIN = 64
AUTO = "auto"


def add_protocol_arguments(
    parser: argparse.ArgumentParser, default_max_voxels: int | None = None
) -> None:
    group = parser.add_argument_group("how predictions are made")
    group.add_argument(
        "--tta",
        metavar="VIEWS",
        help="test-time augmentation, logits of all views summed: "
        f"{', '.join(PRESETS)}, or settings such as 'rotations=4 flips=x scales=0.95,1,1.05 "
        "offsets=2 about=origin', or both (default: a single view)",
    )
    shown = "no bound" if default_max_voxels is None else f"{default_max_voxels}"
    group.add_argument(
        "--max-voxels",
        type=int,
        metavar="N",
        help="voxels that the model sees at once; larger scenes are cut into overlapping tiles "
        f"(default: {shown})",
    )
    group.add_argument(
        "--margin",
        type=_margin,
        metavar="N",
        help="overlap of tiles on each side, in voxels, or auto: as far as the model looks, which "
        f"gives what the whole scene gives (default: {DEFAULT_MARGIN})",
    )
    parser.set_defaults(default_max_voxels=default_max_voxels)


def protocol_of(args: argparse.Namespace, trained: Trained) -> Protocol:
    """The protocol that the arguments ask for; what it costs in accuracy is noted on stderr."""
    protocol = planned_protocol(args, trained)
    for note in (_note_on_views(trained, protocol.views), _note_on_margin(args, trained, protocol)):
        if note is not None:
            print(f"note: {note}", file=sys.stderr)
    return protocol


def planned_protocol(args: argparse.Namespace, trained: Trained) -> Protocol:
    """The protocol that the arguments ask for. Views turn about what training turned scenes about,
    unless --tta says it.
    """
    views = Views() if args.tta is None else parse_views(args.tta, training_pivot(trained.config))
    max_voxels = args.default_max_voxels if args.max_voxels is None else args.max_voxels
    if max_voxels is None:
        if args.margin is not None:
            raise ValueError("--margin is that of tiles: pass --max-voxels too")
        return Protocol(views)
    margin = DEFAULT_MARGIN if args.margin is None else args.margin
    return Protocol(
        views, Tiling(max_voxels, margin_of(trained.model) if margin == AUTO else margin)
    )


def _note_on_views(trained: Trained, views: Views) -> str | None:
    data = trained.config.data
    seen = [feature for feature in ("xyz", "range") if feature in data.features]
    if not (seen and views.turns and views.about == "middle"):
        return None
    if not find_spec(data.dataset).sensor_at_origin:
        return None
    return (
        f"the model sees {' and '.join(seen)}, and views about the middle of the box move the "
        "sensor away from the origin; about=origin in --tta keeps it there"
    )


def _note_on_margin(args: argparse.Namespace, trained: Trained, protocol: Protocol) -> str | None:
    """Only where tiles were asked for: those of a default bound are rare."""
    if protocol.tiling is None or args.max_voxels is None:
        return None
    margin, needed = protocol.tiling.margin, margin_of(trained.model)
    if margin >= needed:
        return None
    return (
        f"the model looks {needed} voxels far and tiles have a margin of {margin}: near their "
        "borders predictions can differ from those of one pass (--margin auto)"
    )


def view_loader(trained: Trained, dataset: SceneDataset, protocol: Protocol) -> EvaluationLoader:
    """Every view of every scene once, in order, one a batch."""
    scenes = ViewedScenes(dataset, protocol.views)
    data = trained.config.data
    return EvaluationLoader(scenes, data.num_workers, data.max_worker_restarts)


def _margin(text: str) -> int | str:
    if text == AUTO:
        return text
    try:
        return int(text)
    except ValueError as error:
        message = f"expected a number of voxels or {AUTO}, got {text!r}"
        raise argparse.ArgumentTypeError(message) from error
