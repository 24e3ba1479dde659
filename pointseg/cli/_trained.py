"""What the sub-commands that use a trained model have in common."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pointseg import nn
from pointseg.cli._device import add_device_argument, chosen_device
from pointseg.data import SceneDataset
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
    if dataset.label_map.names != trained.label_map.names:
        raise ValueError(
            f"the model was trained on the {trained.label_map.num_classes} classes of "
            f"{trained.label_map.name!r}, the data set has the {dataset.label_map.num_classes} "
            f"classes of {dataset.label_map.name!r}; choose another with data.root"
        )
    return dataset


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
