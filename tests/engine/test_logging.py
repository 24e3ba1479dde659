"""The sinks of a run: metrics.jsonl, W&B and its absence, and what comes of errors."""

from __future__ import annotations

import json
import math
import sys
import types

import pytest
from rich.console import Console

from pointseg.cli.train import main
from pointseg.engine.logging import RunLog
from pointseg.engine.run_directory import RunDirectory
from pointseg.engine.sinks import JsonLines, Row, Sink, TensorBoard, Wandb, file_sinks

ROW = Row("train", 4, {"loss": 2.0, "grad_norm": math.inf}, warnings=("encoder.1",))


class FakeWandb(types.ModuleType):
    """What is used of wandb, and a diary of it."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.diary: list[tuple] = []

    def init(self, **options):
        self.diary.append(("init", options))
        return self

    def define_metric(self, name, step_metric=None):
        self.diary.append(("metric", name, step_metric))

    def log(self, values):
        self.diary.append(("log", values))

    def alert(self, title, text):
        self.diary.append(("alert", title, text))

    def finish(self, exit_code):
        self.diary.append(("finish", exit_code))


@pytest.fixture
def wandb(monkeypatch) -> FakeWandb:
    module = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


@pytest.fixture
def run(tmp_path) -> RunDirectory:
    made = RunDirectory(tmp_path / "first")
    made.create("", {}, [])
    return made


def log_of(run: RunDirectory, *sinks: Sink) -> RunLog:
    return RunLog(run, 10, sinks=sinks, console=Console(quiet=True))


def test_rows_are_on_disk_at_once_and_join_earlier_ones(run):
    for step in (1, 2):
        with JsonLines(run.metrics, print) as sink:
            sink.row(Row("validation", step, {"mean_iou": math.nan}))
            sink.row(ROW)
            rows = [json.loads(line) for line in run.metrics.read_text().splitlines()]
            assert len(rows) == 2 * step
    assert rows[2] == {"step": 2, "kind": "validation", "mean_iou": None}
    assert rows[3] == {
        "step": 4,
        "kind": "train",
        "loss": 2.0,
        "grad_norm": None,
        "warnings": ["encoder.1"],
    }


def test_wandb_is_offline_in_the_run_directory_and_keeps_its_id(run, wandb):
    for _ in range(2):
        with log_of(run, Wandb(run.path, "offline", "rooms", {"train": {"steps": 10}})) as log:
            log.train_row(4, ROW.values | {"lr": 1.0, **dict.fromkeys(SHOWN, 1.0)}, ["encoder.1"])
            log.warn(4, {"encoder.1": "it has collapsed"})
    starts = [entry[1] for entry in wandb.diary if entry[0] == "init"]
    assert starts[0] == starts[1] and starts[0]["id"]
    assert starts[0] | {"id": ""} == {
        "project": "rooms",
        "name": "first",
        "config": {"train": {"steps": 10}},
        "id": "",
        "dir": str(run.path),
        "mode": "offline",
        "resume": None,
    }
    logged = [entry[1] for entry in wandb.diary if entry[0] == "log"]
    assert logged[0]["step"] == 4 and logged[0]["train/loss"] == 2.0
    assert logged[0]["train/warnings"] == 1
    assert ("metric", "*", "step") in wandb.diary
    assert ("alert", "encoder.1 at step 4", "it has collapsed") in wandb.diary
    assert wandb.diary[-1] == ("finish", 0)


SHOWN = ("scenes_per_s", "points_per_s", "step_time_s", "peak_memory_gib")


def test_sinks_are_closed_when_a_run_fails_and_when_one_of_them_does(run, wandb):
    with pytest.raises(KeyError), log_of(run, Wandb(run.path, "offline", "rooms", {})):
        raise KeyError
    assert wandb.diary[-1] == ("finish", 1)
    opened = JsonLines(run.metrics, print)
    missing = JsonLines(run.path / "no" / "folder", print)
    with pytest.raises(FileNotFoundError):
        log_of(run, opened, missing).__enter__()
    with pytest.raises(ValueError, match="closed"):
        opened.row(ROW)


def test_wandb_that_is_not_installed_stops_a_run_before_it_begins(
    tiny_config, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "wandb", None)
    run = tmp_path / "run"
    command = ["--config", str(tiny_config), "--output", str(run), "--device", "cpu"]
    assert main([*command, "--set", "train.wandb=offline"]) == 2
    error = capsys.readouterr().err
    assert "pip install 'pointseg[wandb]'" in error and "train.wandb=null" in error
    assert not run.exists()
    assert main([*command, "--set", "train.wandb=yes please"]) == 2
    assert "train.wandb" in capsys.readouterr().err


def test_wandb_is_not_imported_unasked(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    options = {"project": "rooms", "config": {}}
    sinks = file_sinks(run, 0, print, tensorboard=True, wandb=None, **options)
    assert [type(sink) for sink in sinks] == [JsonLines, TensorBoard]
    with pytest.raises(ValueError, match="offline, online, got 'on'"):
        Wandb(run.path, "on", "rooms", {})


def test_tensorboard_that_is_not_installed_is_left_out(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    told: list[str] = []
    with log_of(run, TensorBoard(run.tensorboard, 0, told.append)) as log:
        log.train_row(4, ROW.values | {"lr": 1.0, **dict.fromkeys(SHOWN, 1.0)})
        log.warn(4, {"encoder.1": "it has collapsed"})
    assert ["pip install tensorboard" in line for line in told] == [True]
