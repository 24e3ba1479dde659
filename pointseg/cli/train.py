"""Train a model as a configuration says, evaluate it, and keep all it takes to run it again.

--config names a file, or one of the configurations that come with pointseg. Ctrl-C or SIGTERM
finishes the step, saves and leaves; --resume goes on from there as if nothing had happened.
--init-from begins a new run with the weights of another one.

On several devices or machines: torchrun --nproc-per-node N tools/train.py --config ...
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
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
    load_checkpoint,
    pack_label_map,
)
from pointseg.engine.checkpoint_folder import find_checkpoint
from pointseg.engine.fingerprint import Fingerprint
from pointseg.engine.logging import RankLog, RunLog
from pointseg.engine.profiling import StepProfiler
from pointseg.engine.random_state import seed_everything, seed_rank
from pointseg.engine.run_directory import RunDirectory, default_run_path
from pointseg.engine.sinks import file_sinks
from pointseg.engine.trainer import Trainer
from pointseg.experiment import (
    ExperimentConfig,
    build_dataset,
    build_model,
    build_trainer,
    checkpoint_config,
    fingerprint,
    load_config,
)
from pointseg.initial_weights import InitialWeights
from pointseg.teacher import build_distillation, find_teacher

DEFAULT_PROFILED_STEPS = 5


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
    parser.add_argument(
        "--go-on",
        action="store_true",
        help="with --config and --output: go on with the run that is there, or begin it "
        "otherwise; for torchrun --max-restarts and schedulers that start the same line again",
    )
    parser.add_argument(
        "--init-from",
        type=Path,
        metavar="FILE_OR_RUN",
        help="with --config: begin with the weights of this checkpoint (of a run: its best one)",
    )
    parser.add_argument(
        "--partial",
        action="store_true",
        help="with --init-from: load the weights that fit, list the rest",
    )
    parser.add_argument(
        "--match-classes",
        nargs="*",
        metavar="CLASS=STORED",
        help="with --init-from: of other classes, take over the rows of those with the same name, "
        "or with the given ones, such as couch=sofa; the rest of the head begins anew",
    )
    parser.add_argument(
        "--profile",
        type=int,
        nargs="?",
        const=DEFAULT_PROFILED_STEPS,
        metavar="STEPS",
        help="also write a torch.profiler trace of so many steps (default: "
        f"{DEFAULT_PROFILED_STEPS}) near the start, and list the heaviest operators; the run goes "
        "on afterwards",
    )
    add_device_argument(parser)


def run(args: argparse.Namespace) -> int:
    device = chosen_device(args.device)
    checkpoint: Checkpoint | None = None
    if args.go_on and (args.config is None or args.output is None or args.overwrite):
        raise ValueError(
            "--go-on needs --config and --output, the folder of the run, and no --overwrite; a run "
            "by itself is gone on with by --resume"
        )
    if args.resume is not None and args.init_from is not None:
        raise ValueError("--init-from begins a new run: give --config with it, not --resume")
    if args.partial and args.init_from is None:
        raise ValueError("--partial says how --init-from loads: give both")
    if args.match_classes is not None and args.init_from is None:
        raise ValueError("--match-classes says how --init-from loads: give both")
    initial = None
    if args.init_from is not None:
        initial = InitialWeights(args.init_from, args.partial, _renamed(args.match_classes))
    if args.resume is not None:
        path = find_checkpoint(args.resume)
        checkpoint = load_checkpoint(path)
        config = checkpoint_config(checkpoint, path, args.set)
        directory = RunDirectory(args.output or _run_of(path))
        is_new = path.resolve().parent != directory.checkpoints.resolve()
    else:
        config = load_config(args.config, args.set)
        directory = RunDirectory(args.output or default_run_path(config.output_dir, config.name))
        if args.go_on:
            checkpoint = _begun(config, directory)
        is_new = checkpoint is None
    may_replace = args.overwrite or args.go_on  # what has no checkpoint yet is begun anew
    with process_group(device.type, config.train.timeout_s) as group:
        _start_logging()
        directory = gather_objects(directory)[0]  # its name may be the time on rank 0
        everywhere(lambda: _refuse_existing(directory, is_new and not may_replace))
        return train(config, directory, device, checkpoint, is_new, group, initial, args.profile)


def train(
    config: ExperimentConfig,
    directory: RunDirectory,
    device: torch.device,
    checkpoint: Checkpoint | None = None,
    is_new: bool = True,
    group: Group | None = None,
    initial: InitialWeights | None = None,
    profiled_steps: int | None = None,
) -> int:
    """Train ``config`` in ``directory``, from ``checkpoint`` on where there is one.

    ``is_new``: the directory is not the one that the checkpoint was written in; an earlier run in
    it is removed. ``initial``: the weights that a new run begins with. Every rank of ``group``
    calls it; only rank 0 writes and prints. ``profiled_steps``: how many a trace is written of, on
    rank 0; None for no trace. Returns the exit code.
    """
    group = group or Group()
    console = Console(quiet=not is_main())
    config, teacher = find_teacher(config)
    text = configuration.dump(config)
    say = partial(console.print, highlight=False, markup=False, soft_wrap=True)
    say(text)

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
    say(
        f"{config.model.name}: {sum(p.numel() for p in model.parameters()):,} parameters; "
        f"scenes: {len(train_scenes)} to train on, {len(val_scenes)} to evaluate; on {device}"
        f"{ranks}"
    )
    identity = fingerprint(config, train_scenes.label_map)
    if initial is not None:
        lines = everywhere(lambda: initial.load(model, identity))
        console.print(*lines, sep="\n", highlight=False, markup=False, soft_wrap=True)
    if rank() > 0:  # equal weights, but other draws from here on
        seed_rank(config.train.seed)
    start = 0 if checkpoint is None else checkpoint.step
    log = everywhere(lambda: _log_of(config, directory, start, console))

    def prepare() -> Trainer:
        distillation = build_distillation(config, teacher, train_scenes.label_map, device)
        return build_trainer(
            config, model, train_scenes, val_scenes, log, device, group, distillation
        )

    # All that can be refused is refused before anything in the run directory changes.
    trainer = everywhere(prepare)
    changes: list[str] = []
    if checkpoint is not None:
        earlier = Fingerprint.of(checkpoint)
        earlier.check(identity, "the checkpoint")
        changes = earlier.changes(identity)
        everywhere(lambda: trainer.restore(checkpoint))
    if profiled_steps is not None:
        profiler = everywhere(
            lambda: StepProfiler(directory.profile, profiled_steps, start, device, say)
        )
        trainer.profiler = profiler if is_main() else None
    labels = pack_label_map(train_scenes.label_map)
    everywhere(lambda: _open_directory(directory, text, labels, checkpoint, is_new))
    with log, trainer.profiler or nullcontext():
        if checkpoint is not None:
            log.message(f"going on after step {start} of {directory.path}")
            for change in changes:
                log.message(f"changed: {change}")
        result = trainer.run()
        if result.completed:
            if result.report is not None:
                say(result.report.table())
            best = "" if result.best_metric is None else f", best mIoU {result.best_metric:.3f}"
            log.message(f"done after {result.step} steps{best}; run directory: {directory.path}")
            log.message(f"curves: pointseg report {directory.path} --out report.html")
        else:
            log.message(
                f"{result.signal_name}: saved after step {result.step}; "
                f"go on with: --resume {directory.path}"
            )
    return 0


def _begun(config: ExperimentConfig, directory: RunDirectory) -> Checkpoint | None:
    """The last checkpoint of the run in a directory, None where there is none yet; ValueError
    where it is of another configuration.
    """
    if not any(directory.checkpoints.glob("*.pt")):
        return None
    path = find_checkpoint(directory.path)
    checkpoint = load_checkpoint(path)
    if checkpoint.config != configuration.to_dict(find_teacher(config)[0]):
        raise ValueError(
            f"{directory.path} was trained with other settings than these: remove it, work in "
            f"another folder, or change them on purpose with --resume {directory.path} --set ..."
        )
    return checkpoint


def _renamed(pairs: Sequence[str] | None) -> dict[str, str] | None:
    """``["couch=sofa"]`` as a mapping; None stays None."""
    if pairs is None:
        return None
    split = [pair.partition("=") for pair in pairs]
    for name, equals, stored in split:
        if not (name and equals and stored):
            raise ValueError(
                f"--match-classes {name}{equals}{stored}: expected CLASS=STORED, the name of a "
                "class now and that in the checkpoint"
            )
    return {name.strip(): stored.strip() for name, _, stored in split}


def _log_of(
    config: ExperimentConfig, directory: RunDirectory, start_step: int, console: Console
) -> RunLog:
    """The log of this rank."""
    if not is_main():
        return RankLog(directory, config.train.steps, rank())
    sinks = file_sinks(
        directory,
        start_step,
        partial(console.print, highlight=False, markup=False, soft_wrap=True),
        tensorboard=config.train.tensorboard,
        wandb=config.train.wandb,
        project=config.name,
        config=configuration.to_dict(config),
    )
    return RunLog(directory, config.train.steps, start_step, sinks, console)


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
