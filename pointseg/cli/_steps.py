"""What the commands have in common that run others one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pointseg.cli import prepare_data, synthesize_rooms, train


class Clock:
    """Runs the steps one after the other and keeps what each took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def run(self, name: str, command: Callable[[Sequence[str]], int], *arguments: object) -> None:
        """Run one command with its arguments; a failure of it ends the whole with its exit code."""
        print(f"\n== {name}", flush=True)
        start = time.perf_counter()
        code = command([str(argument) for argument in arguments])
        if code != 0:
            raise SystemExit(code)
        self.seconds[name] = time.perf_counter() - start


def make_rooms(clock: Clock, folder: Path, num_train: int, num_val: int, seed: int) -> None:
    """Generate and prepare rooms; those that are there are kept."""
    sizes = ("--train", num_train, "--val", num_val, "--seed", seed)
    clock.run("rooms", synthesize_rooms.main, "--out", folder, *sizes)
    clock.run("preparation", prepare_data.main, "--dataset", "synthetic", "--root", folder)


def train_or_go_on(
    clock: Clock, name: str, config: str, run: Path, changes: Sequence[str], *options: object
) -> None:
    """Train a configuration in `run`, from the checkpoint there on where there is one.

    ValueError where the checkpoint has other settings.
    """
    if _is_started(run, config, changes):
        what: tuple[object, ...] = ("--resume", run)
    else:
        what = ("--config", config, "--overwrite")
    sets = [part for change in changes for part in ("--set", change)]
    clock.run(name, train.main, *what, "--output", run, *sets, *options)


def _is_started(run: Path, config: str, changes: Sequence[str]) -> bool:
    """Whether there is a checkpoint to go on from; ValueError if it has other settings."""
    from pointseg import config as configuration
    from pointseg.engine.checkpoint import CHECKPOINT_DIR, load_checkpoint
    from pointseg.engine.checkpoint_folder import find_checkpoint
    from pointseg.experiment import load_config

    if not any((run / CHECKPOINT_DIR).glob("*.pt")):
        return False
    if load_checkpoint(find_checkpoint(run)).config != configuration.to_dict(
        load_config(config, changes)
    ):
        raise ValueError(
            f"{run} was trained with other settings than these: remove it, or work in another "
            "folder"
        )
    return True
