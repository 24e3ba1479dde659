"""Train a model as a configuration says, evaluate it, and keep all it takes to run it again.

--config names a file, or one of the configurations that come with pointseg. Ctrl-C or SIGTERM
finishes the step, saves and leaves; --resume goes on from there as if nothing had happened.

On several devices or machines: torchrun --nproc-per-node N tools/train.py --config ...
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from pointseg import config as configuration
from pointseg.cli import run_main
from pointseg.cli._device import add_device_argument, chosen_device
from pointseg.data import SceneDataset
from pointseg.distributed import (
    Group,
    everywhere,
    gather_objects,
    is_main,
    num_ranks,
    process_group,
    rank,
)
from pointseg.engine.checkpoint import (
    CHECKPOINT_DIR,
    LAST_NAME,
    Checkpoint,
    find_checkpoint,
    load_checkpoint,
    pack_label_map,
)
from pointseg.engine.logging import RankLog, RunLog
from pointseg.engine.random_state import seed_everything, seed_rank
from pointseg.engine.run_directory import RunDirectory, default_run_path
from pointseg.experiment import (
    ExperimentConfig,
    build_dataset,
    build_model,
    build_trainer,
    checkpoint_config,
    load_config,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--config", metavar="FILE_OR_NAME", help="configuration to train")
    what.add_argument("--resume", type=Path, metavar="RUN_OR_CHECKPOINT", help="run to go on with")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a key of the configuration, such as train.steps=100 (repeatable)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="run directory (default: a new one in output_dir; with --resume: the run's own)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the run that is in --output already"
    )
    add_device_argument(parser)


def run(args: argparse.Namespace) -> int:
    device = chosen_device(args.device)
    checkpoint: Checkpoint | None = None
    if args.resume is not None:
        path = find_checkpoint(args.resume)
        checkpoint = load_checkpoint(path)
        config = checkpoint_config(checkpoint, path, args.set)
        directory = RunDirectory(args.output or _run_of(path))
        is_new = path.resolve().parent != directory.checkpoints.resolve()
    else:
        config = load_config(args.config, args.set)
        directory = RunDirectory(args.output or default_run_path(config.output_dir, config.name))
        is_new = True
    with process_group(device.type, config.train.timeout_s) as group:
        _start_logging()
        directory = gather_objects(directory)[0]  # its name may be the time on rank 0
        everywhere(lambda: _refuse_existing(directory, is_new and not args.overwrite))
        return train(config, directory, device, checkpoint, is_new, group)


def train(
    config: ExperimentConfig,
    directory: RunDirectory,
    device: torch.device,
    checkpoint: Checkpoint | None = None,
    is_new: bool = True,
    group: Group | None = None,
) -> int:
    """Train ``config`` in ``directory``, from ``checkpoint`` on where there is one.

    ``is_new``: the directory is not the one that the checkpoint was written in; an earlier run in
    it is removed. Every rank of ``group`` calls it; only rank 0 writes and prints. Returns the exit
    code.
    """
    group = group or Group()
    console = Console(quiet=not is_main())
    text = configuration.dump(config)
    console.print(text, highlight=False, markup=False, soft_wrap=True)

    def open_scenes() -> tuple[SceneDataset, SceneDataset]:
        return (
            build_dataset(config, config.data.train_split, training=True),
            build_dataset(config, config.data.val_split, training=False),
        )

    # Scenes that are not prepared yet are by rank 0, and found by the others.
    train_scenes, val_scenes = group.main_first("scenes", open_scenes)
    seed_everything(config.train.seed)
    model = build_model(config, train_scenes.label_map)
    ranks = f"; {num_ranks()} ranks" if num_ranks() > 1 else ""
    console.print(
        f"{config.model.name}: {sum(p.numel() for p in model.parameters()):,} parameters; "
        f"{len(train_scenes)} training scenes, {len(val_scenes)} validation scenes; on {device}"
        f"{ranks}",
        highlight=False,
        soft_wrap=True,
    )
    if rank() > 0:  # equal weights, but other draws from here on
        seed_rank(config.train.seed)
    start = 0 if checkpoint is None else checkpoint.step
    log: RunLog = RankLog(directory, config.train.steps, rank())
    if is_main():
        log = RunLog(directory, config.train.steps, start, config.train.tensorboard, console)
    # All that can be refused is refused before anything in the run directory changes.
    trainer = everywhere(
        lambda: build_trainer(config, model, train_scenes, val_scenes, log, device, group)
    )
    if checkpoint is not None:
        everywhere(lambda: trainer.restore(checkpoint))
    labels = pack_label_map(train_scenes.label_map)
    everywhere(lambda: _open_directory(directory, text, labels, checkpoint, is_new))
    with log:
        if checkpoint is not None:
            log.message(f"going on after step {start} of {directory.path}")
        result = trainer.run()
        if result.completed:
            log.message(f"done after {result.step} steps; run directory: {directory.path}")
        else:
            log.message(
                f"{result.signal_name}: saved after step {result.step}; "
                f"go on with: --resume {directory.path}"
            )
    return 0


def _start_logging() -> None:
    """Everything of rank 0, warnings of the others with their number."""
    if is_main():
        logging.basicConfig(level=logging.INFO, format="%(message)s")
    else:
        logging.basicConfig(level=logging.WARNING, format=f"rank {rank()}: %(message)s")


def _refuse_existing(directory: RunDirectory, refuse: bool) -> None:
    if refuse and is_main():
        directory.refuse_existing()


def _open_directory(
    directory: RunDirectory,
    config_text: str,
    labels: dict[str, Any],
    checkpoint: Checkpoint | None,
    is_new: bool,
) -> None:
    if not is_main():
        return
    command = [sys.executable, *sys.argv]
    if is_new:
        directory.clear()
    if checkpoint is None:
        directory.create(config_text, labels, command)
    else:
        directory.reopen(config_text, labels, command, checkpoint.step, checkpoint.evaluated_step)


def _run_of(checkpoint_path: Path) -> Path:
    folder = checkpoint_path.resolve().parent
    if folder.name != CHECKPOINT_DIR:
        raise ValueError(
            f"{checkpoint_path} is not in a run directory ({CHECKPOINT_DIR}/{LAST_NAME}): "
            "pass --output DIR for what the resumed run writes"
        )
    return folder.parent


def main(argv: Sequence[str] | None = None) -> int:
    return run_main(__name__, argv)


if __name__ == "__main__":
    raise SystemExit(main())
