"""Train two configurations on synthetic rooms with several seeds, and write how they compare.

Both see the same rooms, in the same order, on the same schedule; every raw point of unseen rooms is
scored after the last step. A run that is finished is not repeated, and one that was cut is gone on
with: call the command again. The results go between two marker lines of --out.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pointseg import config as configuration
from pointseg.benchmark.comparison import (
    PAGE,
    RunResult,
    comparison_text,
    median_step_time_s,
)
from pointseg.benchmark.report import machine
from pointseg.cli import evaluate, run_main
from pointseg.cli._device import add_device_argument, chosen_device
from pointseg.cli._steps import Clock, make_rooms, train_or_go_on
from pointseg.engine.checkpoint import CHECKPOINT_DIR, LAST_NAME, load_checkpoint
from pointseg.engine.run_directory import METRICS_FILE
from pointseg.experiment import ExperimentConfig, build_dataset, load_config, load_trained
from pointseg.files import written_whole

CONFIGS = ("synthetic_tr_minkunet", "synthetic_tr")
SEEDS = (0, 1, 2)
ROOMS = (200, 28)  # training, unseen
ROOM_SEED = 0
RESULT_FILE = "result.json"
SETTINGS_FILE = "settings.json"
COMPARISON_FILE = "compare.json"
# What may differ between two configurations that are compared.
OWN_KEYS = ("name", "output_dir", "model", "optimizer")
SET_OTHERWISE = {"data.root": "--data", "train.seed": "--seeds"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--configs",
        nargs=2,
        default=list(CONFIGS),
        metavar="FILE_OR_NAME",
        help=f"what is compared (default: {' '.join(CONFIGS)})",
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS), help="default: 0 1 2")
    parser.add_argument("--data", type=Path, help="folder of rooms (default: they are generated)")
    parser.add_argument("--train", type=int, default=ROOMS[0], help="training rooms to generate")
    parser.add_argument("--val", type=int, default=ROOMS[1], help="unseen rooms to generate")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("outputs/compare"),
        help=f"working folder: rooms, runs and {COMPARISON_FILE}",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("docs/results.md"), help="page that gets the results"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a key of both configurations, such as train.steps=100 (repeatable)",
    )
    add_device_argument(parser)


def run(args: argparse.Namespace) -> int:
    PAGE.check_page(args.out)
    rooms = args.data or args.work / "rooms"
    configs = _checked_configs(args, rooms)
    clock = Clock()
    if args.data is None:
        make_rooms(clock, rooms, args.train, args.val, ROOM_SEED)
    elif not rooms.is_dir():
        raise FileNotFoundError(f"--data {rooms}: no such folder; leave it out to generate rooms")
    results: dict[str, list[RunResult]] = {config.name: [] for config in configs}
    for seed in args.seeds:
        for given, config in zip(args.configs, configs, strict=True):
            folder = args.work / config.name / f"seed{seed}"
            changes = [f"data.root={rooms}", f"train.seed={seed}", *args.set]
            results[config.name].append(_one_run(clock, given, changes, folder, args.device))
    first, second = results.values()
    text = comparison_text(first, second, _command(args), _notes(*configs))
    _write_json(
        args.work / COMPARISON_FILE,
        {"command": _command(args), "runs": [dataclasses.asdict(r) for r in (*first, *second)]},
    )
    PAGE.write(args.out, text)
    print(f"\n{text}\n\nwrote {args.out} and {args.work / COMPARISON_FILE}")
    return 0


def _checked_configs(
    args: argparse.Namespace, rooms: Path
) -> tuple[ExperimentConfig, ExperimentConfig]:
    """Both configurations; ValueError where a comparison of them would say nothing."""
    if len(set(args.seeds)) != len(args.seeds) or min(args.seeds) < 0:
        raise ValueError(f"--seeds: expected different numbers from 0 on, got {args.seeds}")
    for change in args.set:
        key = change.partition("=")[0].strip()
        if key in SET_OTHERWISE:
            raise ValueError(f"--set {change}: use {SET_OTHERWISE[key]} for that")
    first, second = (
        load_config(given, [f"data.root={rooms}", *args.set]) for given in args.configs
    )
    if first.name == second.name:
        raise ValueError(
            f"--configs: both are named {first.name!r}, which their folders are called after; "
            "give one another name"
        )
    other = _differences(first, second, OWN_KEYS)
    if other:
        raise ValueError(
            f"--configs: {first.name} and {second.name} are not trained alike, they differ in "
            f"{', '.join(other)}; make these equal in the files, or with --set for both"
        )
    return first, second


def _differences(
    first: ExperimentConfig, second: ExperimentConfig, without: Sequence[str] = ()
) -> list[str]:
    """Keys, one level down, in which two configurations differ."""
    ours, theirs = configuration.to_dict(first), configuration.to_dict(second)
    found = []
    for section, values in ours.items():
        other = theirs[section]
        if section in without or values == other:
            continue
        if isinstance(values, dict):
            keys = [key for key in {**values, **other} if values.get(key) != other.get(key)]
            found += [f"{section}.{key}" for key in keys]
        else:
            found.append(section)
    return found


def _notes(first: ExperimentConfig, second: ExperimentConfig) -> list[str]:
    """How both were trained, and in what they differ apart from the network."""
    train, voxel_cm = first.train, first.data.voxel_size_m * 100
    batch = train.batch_size * train.accumulate
    notes = [
        f"Both: {train.steps} steps of {batch} scenes with {voxel_cm:g} cm voxels, scored after "
        "the last step."
    ]
    optimizer = _differences(
        first, second, [k for k in configuration.to_dict(first) if k != "optimizer"]
    )
    if optimizer:
        notes.append(f"They differ in {', '.join(optimizer)} as well.")
    return notes


def _one_run(
    clock: Clock, given: str, changes: Sequence[str], folder: Path, device_name: str
) -> RunResult:
    """Train and score one configuration with one seed, unless that is done."""
    config = load_config(given, changes)
    settings = {**configuration.to_dict(config), "scenes": _scenes(config)}
    done = _finished(folder, settings)
    name = f"{config.name}, seed {config.train.seed}"
    if done is not None:
        print(f"\n== {name}: mIoU {done.mean_iou:.3f}, from {folder}")
        return done
    _claim(folder, settings)
    checkpoint = folder / CHECKPOINT_DIR / LAST_NAME
    options = ("--device", device_name)
    train_or_go_on(clock, f"training {name}", given, folder, changes, *options)
    if load_checkpoint(checkpoint).evaluated_step < config.train.steps:
        print("run the same command again to go on")
        raise KeyboardInterrupt
    scores = folder / "scores"
    # The last state, not the best: that was chosen on the scenes that are scored.
    what = ("--checkpoint", checkpoint, "--out", scores, "--overwrite")
    evaluation = f"evaluating {name}"
    clock.run(evaluation, evaluate.main, *what, *options)
    report = json.loads((scores / "evaluation.json").read_text(encoding="utf-8"))
    lines = (folder / METRICS_FILE).read_text(encoding="utf-8").splitlines()
    result = RunResult(
        config=config.name,
        model=config.model.name,
        seed=config.train.seed,
        parameters=sum(p.numel() for p in load_trained(checkpoint).model.parameters()),
        mean_iou=report["mean_iou"],
        iou={row["name"]: row["iou"] for row in report["classes"]},
        num_scenes=report["num_scenes"],
        num_points=report["num_points"],
        protocol=report["protocol"],
        step_time_s=median_step_time_s([json.loads(line) for line in lines]),
        evaluation_s=clock.seconds[evaluation],
        machine={
            **machine(torch.get_num_threads()),
            "device": str(chosen_device(device_name)),
        },
    )
    _write_json(folder / RESULT_FILE, {"settings": settings, "result": dataclasses.asdict(result)})
    return result


def _scenes(config: ExperimentConfig) -> dict[str, list[str]]:
    """The scenes of both splits: a folder may get others under the same name."""
    return {
        split: list(build_dataset(config, split, training=False).scene_ids)
        for split in (config.data.train_split, config.data.val_split)
    }


def _claim(folder: Path, settings: dict[str, Any]) -> None:
    """Note what a run is of before it begins; ValueError where it has begun with something else."""
    path = folder / SETTINGS_FILE
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != _plain(settings):
        raise ValueError(
            f"{folder} was begun with other settings or scenes than these: remove it, or choose "
            "another --work"
        )
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(path, settings)


def _plain(settings: dict[str, Any]) -> Any:
    return json.loads(json.dumps(settings))


def _finished(folder: Path, settings: dict[str, Any]) -> RunResult | None:
    """The result that a run left; ValueError if it has other settings."""
    path = folder / RESULT_FILE
    if not path.is_file():
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        result, known = RunResult(**document["result"]), document["settings"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a result of this version; remove {folder}") from error
    if known != _plain(settings):
        raise ValueError(
            f"{folder} was trained with other settings or on other scenes than these: remove it, "
            "or choose another --work"
        )
    return result


def _command(args: argparse.Namespace) -> str:
    """The command, without where its files went."""
    words = ["pointseg", "compare"]
    if tuple(args.configs) != CONFIGS:
        words += ["--configs", *args.configs]
    if tuple(args.seeds) != SEEDS:
        words += ["--seeds", *map(str, args.seeds)]
    if args.data is not None:
        words += ["--data", str(args.data)]
    elif (args.train, args.val) != ROOMS:
        words += ["--train", str(args.train), "--val", str(args.val)]
    words += [part for change in args.set for part in ("--set", change)]
    return shlex.join(words)


def _write_json(path: Path, document: dict[str, Any]) -> None:
    with written_whole(path, overwrite=True) as temporary:
        temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    return run_main(__name__, argv)


if __name__ == "__main__":
    raise SystemExit(main())
