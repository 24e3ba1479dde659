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
    sets = [part for change in changes for part in ("--set", change)]
    what = ("--config", config, "--output", run, "--go-on")
    clock.run(name, train.main, *what, *sets, *options)
