"""What the sub-commands that use a trained model have in common."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pointseg import nn
from pointseg.cli._device import add_device_argument, chosen_device
from pointseg.data import LabelMap, SceneDataset, find_spec
from pointseg.data.registry import open_settled
from pointseg.evaluation.scored_data import ScoredData, changed_options, seen_in_training
from pointseg.experiment import Trained, build_dataset, load_trained

T = TypeVar("T")


def add_model_arguments(parser: argparse.ArgumentParser, required: bool = True) -> None:
    parser.add_argument(
        "--checkpoint",
        type=Path,
        required=required,
        metavar="FILE_OR_RUN",
        help="checkpoint, or run directory (its best checkpoint)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a key of the configuration stored in the checkpoint (repeatable)",
    )
    add_device_argument(parser)


def load_model(args: argparse.Namespace) -> Trained:
    """The trained model of ``--checkpoint`` on ``--device``, folded for inference."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    trained = load_trained(args.checkpoint, args.set)
    return replace(trained, model=nn.folded(trained.model).to(chosen_device(args.device)))


def open_split(trained: Trained, split: str | None) -> SceneDataset:
    """The scenes of ``split`` (None: the configuration's ``data.val_split``), not augmented.

    Raises ValueError where their classes are not those the model was trained on.
    """
    dataset = build_dataset(trained.config, split or trained.config.data.val_split, training=False)
    check_classes(trained, dataset.label_map)
    return dataset


def check_classes(trained: Trained, label_map: LabelMap) -> None:
    """ValueError where the classes of a data set are not those the model was trained on."""
    if label_map.names != trained.label_map.names:
        raise ValueError(
            f"the model was trained on the {trained.label_map.num_classes} classes of "
            f"{trained.label_map.name!r}, the data set has the {label_map.num_classes} "
            f"classes of {label_map.name!r}; choose another with data.root"
        )


def scored_data(trained: Trained, split: str, scene_ids: Sequence[str]) -> ScoredData:
    """What a report says of the scenes of a split that the model is scored on."""
    data = trained.config.data
    spec, reader = find_spec(data.dataset), open_settled(data.dataset, data.root, data.options)
    return ScoredData(
        data.dataset,
        changed_options(spec, reader),
        spec.num_in_release(split),
        data.voxel_size_m,
        data.train_split,
        seen_in_training(reader, scene_ids, data.train_split),
    )


def shown(items: Iterable[T], total: int, title: str) -> Iterator[T]:
    """``items`` with a progress bar on stderr (none where that is no terminal)."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield from progress.track(items, total=total, description=title)
