"""Runs on a disk that is full, a real one: what is there stays, and the run goes on or says why."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from rich.console import Console

from pointseg.cli.train import main
from pointseg.engine.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from pointseg.engine.checkpoint_folder import CheckpointFolder, find_checkpoint
from pointseg.engine.failed_saves import FailedSaves
from pointseg.engine.logging import RunLog
from pointseg.engine.row_file import RowFile
from pointseg.engine.run_directory import RunDirectory
from pointseg.engine.sealed_file import NotSaved
from pointseg.engine.sinks import file_sinks
from pointseg.engine.trainer import Trainer
from tests.engine.runs import metrics
from tests.engine.test_trainer import MakeTrainer

SIZE_MIB = 4


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few MiB."""
    mount = shutil.which("mount")
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(folder)]
    if mount is None or subprocess.run([mount, *options], capture_output=True).returncode != 0:
        pytest.skip("this user may not mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(disk: Path, leave: int = 0) -> Path:
    """Take all room but ``leave`` bytes with one file."""
    ballast = disk / "ballast"
    with open(ballast, "wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(4096))
        except OSError as error:
            assert error.errno == errno.ENOSPC
    os.truncate(ballast, ballast.stat().st_size - leave)
    return ballast


def state(step: int, size: int = 100_000) -> Checkpoint:
    weight = torch.full((size,), float(step))
    return Checkpoint(model={"weight": weight}, config={}, label_map={}, in_channels=1, step=step)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("leave", [0, 4096, 300_000])
def test_a_save_that_does_not_fit_changes_nothing_and_says_what_it_takes(small_disk, leave):
    folder = CheckpointFolder(small_disk / "checkpoints")
    for step in (1, 2):
        folder.save(state(step), is_best=True)
    size = (folder.path / "last.pt").stat().st_size
    before = {path.name: path.read_bytes() for path in folder.path.iterdir()}
    ballast = fill(small_disk, leave)
    with pytest.raises(NotSaved) as refused:
        folder.save(state(3), is_best=True)
    told = str(refused.value)
    assert told.startswith(f"{folder.path / 'last.pt'} could not be written (No space left")
    needed = int(told.partition("it takes ")[2].partition(" bytes")[0].replace(",", ""))
    free = int(told.partition("bytes, ")[2].partition(" are free")[0].replace(",", ""))
    assert size - 300 < needed <= size and abs(free - leave) <= 8192  # whole pages
    assert {path.name: path.read_bytes() for path in folder.path.iterdir()} == before
    ballast.unlink()
    folder.save(state(3))
    assert names(folder.path) == ["best.pt", "last.pt", "step_00000002.pt"]


def no_links(*arguments, **options):
    raise OSError(errno.EPERM, "Operation not permitted")


def test_no_room_for_the_copy_of_the_best_one(small_disk, monkeypatch):
    """Without hard links it takes room of its own; then neither of the two is replaced."""
    monkeypatch.setattr(os, "link", no_links)
    folder = CheckpointFolder(small_disk, keep=0)
    folder.save(state(1), is_best=True)
    ballast = fill(small_disk, leave=500_000)
    with pytest.raises(NotSaved, match=r"best\.pt could not be written .*No space"):
        folder.save(state(2), is_best=True)
    ballast.unlink()
    assert {name: load_checkpoint(small_disk / name).step for name in names(small_disk)} == {
        "best.pt": 1,
        "last.pt": 1,
    }


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(NotSaved, match=r"last\.pt could not be written"):
        save_checkpoint(state(1), tmp_path / "file" / "last.pt")


def test_failures_in_a_row_are_counted_by_step():
    saves = FailedSaves(limit=2)
    error = NotSaved("last.pt could not be written")
    for _ in range(3):
        assert "1 of 2 failed in a row" in saves.add(1, error)
    saves.clear()
    saves.add(2, error)
    with pytest.raises(NotSaved, match=r"written\. 2 saves in a row .*train\.max_failed_saves"):
        saves.add(3, error)


def at_steps(monkeypatch, actions: dict[int, Callable[[], object]]) -> None:
    """Do something once a number of steps is done, before that step is logged or saved."""
    advance = RunLog.advance

    def advance_and_act(self: RunLog, done: int) -> None:
        advance(self, done)
        actions.get(done, lambda: None)()

    monkeypatch.setattr(RunLog, "advance", advance_and_act)


def stand_in(folder: Path, **options) -> Trainer:
    """A trainer of a tiny model that saves after every step."""
    console = Console(record=True, width=400, file=io.StringIO())
    given = {"steps": 6, "save_every": 1, **options}
    return MakeTrainer(folder)(evaluate=True, console=console, **given)


def command(config: Path, run: Path, *settings: str) -> list[str]:
    base = ("train.steps=4", "train.save_every=1", "train.evaluate_every=0", "train.accumulate=1")
    words = [word for setting in (*base, *settings) for word in ("--set", setting)]
    return ["--config", str(config), *words, "--device", "cpu", "--output", str(run)]


def test_a_run_warns_goes_on_and_saves_when_there_is_room(small_disk, monkeypatch):
    trainer = stand_in(small_disk)
    ballast = small_disk / "ballast"
    at_steps(monkeypatch, {3: lambda: fill(small_disk), 5: ballast.unlink})
    with trainer.log:
        assert trainer.run().completed
    run = trainer.log.run
    told = trainer.log.terminal.console.export_text()
    assert "step 3/6  warning: " in told and "(1 of 3 failed in a row)" in told
    assert "step 4/6  warning: " in told and "(2 of 3 failed in a row)" in told
    assert [row["step"] for row in metrics(run.path)] == [1, 2, 3, 4, 5, 6, 6]
    assert names(run.checkpoints) == ["best.pt", "last.pt", "step_00000005.pt"]
    assert load_checkpoint(find_checkpoint(run.path)).step == 6
    assert not list(run.path.rglob("*.part"))


def test_a_run_ends_with_an_error_after_too_many_failures_and_can_go_on(
    tiny_config, small_disk, monkeypatch, capsys
):
    run = small_disk / "run"
    with monkeypatch.context() as patch:
        at_steps(patch, {3: lambda: fill(small_disk)})
        assert main(command(tiny_config, run, "train.max_failed_saves=2")) == 2
    told = capsys.readouterr()
    assert "2 saves in a row have failed (train.max_failed_saves)" in told.err
    assert str(run / "checkpoints" / "last.pt") in told.err
    assert load_checkpoint(find_checkpoint(run)).step == 2
    assert not list(run.rglob("*.part"))
    (small_disk / "ballast").unlink()
    assert main(["--resume", str(run), "--device", "cpu"]) == 0
    assert [row["step"] for row in metrics(run)] == [1, 2, 3, 4, 4]


def test_the_last_save_of_a_run_must_succeed(small_disk, monkeypatch):
    trainer = stand_in(small_disk, steps=3)
    at_steps(monkeypatch, {3: lambda: fill(small_disk)})
    with trainer.log, pytest.raises(NotSaved, match=r"last\.pt could not be written \(No space"):
        trainer.run()
    checkpoint = load_checkpoint(find_checkpoint(trainer.log.run.path))
    assert checkpoint.step == 2 and checkpoint.best_metric is None


def test_a_best_model_that_could_not_be_saved_is_none(small_disk, monkeypatch):
    """Or no later one that is worse, but there, would be kept."""
    trainer = stand_in(small_disk, steps=3, evaluate_every=1, lr=1e-9)
    at_steps(
        monkeypatch, {1: lambda: fill(small_disk), 2: lambda: (small_disk / "ballast").unlink()}
    )
    with trainer.log:
        result = trainer.run()
    best = load_checkpoint(trainer.log.run.checkpoints / "best.pt")
    assert best.step == 2 and best.best_metric == result.best_metric


def test_rows_wait_for_room_and_none_is_torn(small_disk):
    path = small_disk / "rows.jsonl"
    rows = RowFile(path)
    assert rows.append(json.dumps({"row": 0})) is None
    ballast = fill(small_disk)
    # The page that the file has begun takes some of them.
    problems = [rows.append(json.dumps({"row": i, "text": "x" * 1000})) for i in range(1, 8)]
    assert problems[-1] is not None and problems[-1].errno == errno.ENOSPC
    assert rows.num_waiting > 0
    ballast.unlink()
    assert rows.append(json.dumps({"row": 8})) is None and rows.close() is None
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["row"] for line in lines] == list(range(9))


# TensorBoard's own thread says so, too.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_tensorboard_ends_on_a_full_disk_and_the_run_does_not(small_disk):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    run = RunDirectory(small_disk / "run")
    run.create("", {}, [])
    console = Console(record=True, width=200, file=io.StringIO())
    shown = ("loss", "lr", "scenes_per_s", "points_per_s", "step_time_s", "peak_memory_gib")
    values = dict.fromkeys((*shown, *map(str, range(2000))), 0.5)
    options = {"tensorboard": True, "wandb": None, "project": "rooms", "config": {}}
    sinks = file_sinks(run, 0, console.print, **options)
    with RunLog(run, 10, sinks=sinks, console=console) as log:
        fill(small_disk)
        for step in range(1, 6):
            log.train_row(step, values)
    told = console.export_text()
    assert "TensorBoard's log ends here" in told
    assert "bytes of" in told and "metrics.jsonl could not be written" in told
