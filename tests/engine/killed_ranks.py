"""Ranks of real runs killed at random moments: `python -m tests.engine.killed_ranks --kills 20`.

`torchrun` starts the ranks again, and they go on from the last checkpoint. What a killed run ends
with must be what an undisturbed one ends with, bit for bit.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pointseg.engine.checkpoint import load_checkpoint
from pointseg.engine.checkpoint_folder import find_checkpoint
from tests.engine.runs import assert_same_run, write_config
from tests.helpers.scenes import write_scannet_root

ROOT = Path(__file__).resolve().parents[2]
NUM_RANKS = 2
SETTINGS = ("train.steps=40", "train.save_every=3", "train.evaluate_every=16", "train.accumulate=1")
LONGEST_WAIT_S = 10.0  # from the moment that a rank is there; starting takes about half of it
LIMIT_S = 900.0


@dataclass(frozen=True)
class Kill:
    """What was killed: a rank, so long after it was there, and the last step saved by then."""

    rank: int
    after_s: float
    saved_step: int


def command(config: Path, run: Path, max_restarts: int) -> list[str]:
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
        *("--nproc-per-node", str(NUM_RANKS), "--max-restarts", str(max_restarts)),
        *(str(ROOT / "tools/train.py"), "--config", str(config), *settings),
        *("--output", str(run), "--go-on", "--device", "cpu"),
    ]


@contextlib.contextmanager
def started(arguments: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program in a session of its own, of which nothing is left afterwards."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with log.open("ab") as stream:
        program = subprocess.Popen(
            arguments, stdout=stream, stderr=stream, env=environment, start_new_session=True
        )
        try:
            yield program
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
            for pid in ranks_of(program.pid).values():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            program.wait()


def ranks_of(launcher: int) -> dict[int, int]:
    """Rank -> process id of what a launcher started."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            variables = (entry / "environ").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        ranks = [int(v[5:]) for v in variables if v.startswith(b"RANK=")]
        if parent == launcher and ranks:
            found[ranks[0]] = int(entry.name)
    return found


def saved_step(run: Path) -> int:
    try:
        return load_checkpoint(find_checkpoint(run)).step
    except FileNotFoundError:
        return 0


def train_and_kill(
    config: Path,
    run: Path,
    rng: random.Random,
    num_kills: int,
    longest_wait_s: float = LONGEST_WAIT_S,
) -> list[Kill]:
    """One run, some of whose ranks are killed until it is done; at most ``num_kills``."""
    kills: list[Kill] = []
    deadline = time.monotonic() + LIMIT_S
    with started(command(config, run, num_kills), run.with_suffix(".log")) as launcher:
        while launcher.poll() is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{run}: not done after {LIMIT_S:.0f} s, {len(kills)} kills")
            ranks = ranks_of(launcher.pid)
            if len(kills) == num_kills or len(ranks) < NUM_RANKS:
                time.sleep(0.05)
                continue
            after_s = rng.uniform(0, longest_wait_s)
            with contextlib.suppress(subprocess.TimeoutExpired):
                launcher.wait(after_s)
                break
            victim = rng.randrange(NUM_RANKS)
            if ranks_of(launcher.pid).get(victim) != ranks[victim]:
                continue
            os.kill(ranks[victim], signal.SIGKILL)
            kills.append(Kill(victim, after_s, saved_step(run)))
            _wait_until_gone(ranks, launcher)
    if launcher.returncode != 0:
        raise AssertionError(run.with_suffix(".log").read_text(errors="replace")[-4000:])
    return kills


def _wait_until_gone(ranks: dict[int, int], launcher: subprocess.Popen[bytes]) -> None:
    while launcher.poll() is None and set(ranks.values()) & set(ranks_of(launcher.pid).values()):
        time.sleep(0.05)


def prepare(folder: Path) -> tuple[Path, Path]:
    """A configuration over a few tiny rooms, and an undisturbed run of it."""
    config = write_config(folder, write_scannet_root(folder / "scannet"))
    whole = folder / "whole"
    with started(command(config, whole, 0), whole.with_suffix(".log")) as launcher:
        code = launcher.wait(LIMIT_S)
    if code != 0:
        raise AssertionError(whole.with_suffix(".log").read_text(errors="replace")[-4000:])
    return config, whole


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    rng = random.Random(args.seed)
    done: list[Kill] = []
    with tempfile.TemporaryDirectory() as name:
        config, whole = prepare(Path(name))
        number = 0
        while len(done) < args.kills:
            run = Path(name) / f"killed{number}"
            kills = train_and_kill(config, run, rng, args.kills - len(done))
            assert_same_run(whole, run)
            done += kills
            number += 1
            for kill in kills:
                print(
                    f"run {number}: rank {kill.rank} killed {kill.after_s:.1f} s after it was "
                    f"there, step {kill.saved_step} saved"
                )
    print(
        f"seed {args.seed}: {len(done)} kills in {number} runs of {NUM_RANKS} ranks; every run "
        "ended with the weights, moments, random state and metrics of the undisturbed one"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
