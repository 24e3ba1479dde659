"""A program whose saves are killed: prints what a run could go on from after each kill.

``killed_saves.py FOLDER points`` kills a process at every call that changes the folder, in turn;
``killed_saves.py FOLDER moments SEED COUNT`` at random moments. A line a kill: the steps that were
saved before it, and the step that is found after it. A program of its own, because it forks, and
no thread may run where a process forks.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from pointseg.engine.checkpoint import Checkpoint, load_checkpoint
from pointseg.engine.checkpoint_folder import CheckpointFolder, find_checkpoint

SIZE = 20_000
LAST_STEP = 5  # the best one is 3, a milestone 4
CALLS = ("fsync", "link", "replace", "unlink")


def save(folder: Path, step: int) -> None:
    state = Checkpoint(
        model={"weight": torch.full((SIZE,), float(step))},
        config={},
        label_map={},
        in_channels=1,
        step=step,
    )
    CheckpointFolder(folder, keep=1, keep_every=4).save(state, is_best=step % 3 == 0)


def kill_at(count: int) -> None:
    """Let this process die instead of its ``count``-th call that changes a folder."""
    left = count

    def or_die(call: Callable[..., object]) -> Callable[..., object]:
        def counted(*arguments: object, **options: object) -> object:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)

        return counted

    for name in CALLS:
        setattr(os, name, or_die(getattr(os, name)))


def found_after(run: Path) -> int:
    """The step that is found, whole: all its weights are those of that step."""
    checkpoint = load_checkpoint(find_checkpoint(run))
    assert torch.equal(checkpoint.model["weight"], torch.full((SIZE,), float(checkpoint.step)))
    return checkpoint.step


def at_every_point(run: Path) -> None:
    """Save some states, once for every call that they make, and die at that call."""
    for count in range(1, 1000):
        shutil.rmtree(run, ignore_errors=True)
        save(run / "checkpoints", 0)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            kill_at(count)
            for step in range(1, LAST_STEP + 1):
                save(run / "checkpoints", step)
                os.write(writer, bytes([step]))
            os._exit(0)
        os.close(writer)
        _, status = os.waitpid(child, 0)
        with open(reader, "rb") as stream:
            steps = stream.read()
        print(max(steps, default=0), found_after(run), flush=True)
        if os.WIFEXITED(status):
            return


def at_random_moments(run: Path, seed: int, count: int) -> None:
    """Go on saving from where the last kill left it, and be killed again."""
    delays = random.Random(seed)
    save(run / "checkpoints", 0)
    for _ in range(count):
        start = found_after(run)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            for step in range(start + 1, start + 256):
                save(run / "checkpoints", step)
                os.write(writer, bytes([step - start]))
            os._exit(0)
        os.close(writer)
        time.sleep(delays.uniform(0.0, 0.1))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with open(reader, "rb") as stream:
            steps = stream.read()
        print(start + max(steps, default=0), found_after(run), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[2] == "points":
        at_every_point(Path(sys.argv[1]))
    else:
        at_random_moments(Path(sys.argv[1]), int(sys.argv[3]), int(sys.argv[4]))
