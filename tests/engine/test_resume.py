"""A run that is interrupted and resumed equals one that is not: parameters, moments, metrics."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from pointseg import models
from pointseg.cli.train import main
from pointseg.engine.checkpoint import load_checkpoint
from pointseg.engine.checkpoint_folder import find_checkpoint
from pointseg.engine.interrupt import StopRequest
from pointseg.engine.logging import RunLog
from pointseg.evaluation import voting
from pointseg.experiment import load_trained
from pointseg.geometry import RegionFile, StageRegions, save_regions
from pointseg.sparse import cubes
from tests.engine.runs import assert_same_run, metrics

TOOL = Path(__file__).parents[2] / "tools" / "train.py"


class NoisyNet(nn.Module):
    """A network whose forward pass draws from the global generators, and that follows the
    progress of the run."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.net = models.build_model(
            "minkunet", in_channels, 8, depths=[1, 1], widths=[8, 8], stem_kernel=3, stem_width=8
        )
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(8, num_classes)
        self.register_buffer("temperature", torch.tensor(2.0))

    def set_progress(self, progress):
        self.temperature.fill_(2.0 - progress)

    def geometry(self):
        return self.net.geometry()

    def forward(self, x):
        return self.head(self.dropout(self.net(x))) / self.temperature

    def training_terms(self, progress):
        penalty = (1.0 - progress) * 0.01 * self.head.weight.square().sum()
        return {"penalty": penalty}, {"progress": progress}


@pytest.fixture
def noisy_model(monkeypatch):
    monkeypatch.setitem(models.MODELS, "noisy", NoisyNet)


def interrupt_after(monkeypatch, step: int, number: signal.Signals) -> None:
    """Send a signal to this process in the middle of a run, once ``step`` steps are done."""
    advance = RunLog.advance

    def advance_and_interrupt(self: RunLog, done: int) -> None:
        advance(self, done)
        if done == step:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(RunLog, "advance", advance_and_interrupt)


def train(*arguments: object) -> None:
    assert main([*map(str, arguments), "--device", "cpu"]) == 0


@pytest.mark.parametrize(
    ("step", "number", "options"),
    [
        # 4 scenes a step, 3 an epoch: after step 2 the run stands at scene 2 of an epoch.
        (2, signal.SIGTERM, ()),
        (4, signal.SIGINT, ("data.num_workers=2",)),
        (5, signal.SIGTERM, ("model=noisy", "train.average_decay=0.9")),
        (4, signal.SIGINT, ("optimizer={name: sgd, lr: 0.1}", "train.batch_size=1")),
    ],
)
def test_resumed_equals_uninterrupted(
    step, number, options, tiny_config, tmp_path, monkeypatch, noisy_model, capsys
):
    settings = [word for option in options for word in ("--set", option)]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train("--config", tiny_config, *settings, "--output", whole)
    with monkeypatch.context() as patch:
        interrupt_after(patch, step, number)
        train("--config", tiny_config, *settings, "--output", parts)
    stopped = load_checkpoint(find_checkpoint(parts))
    assert stopped.step == step
    assert stopped.index_in_epoch != 0  # in the middle of an epoch
    assert f"{number.name}: saved after step {step}" in capsys.readouterr().out

    torch.manual_seed(99)  # nothing may depend on the state a new process starts in
    train("--resume", parts)
    assert_same_run(whole, parts)
    assert [row["step"] for row in metrics(parts) if row["kind"] == "validation"] == [3, 6, 7]


def test_a_codebook_model_goes_on_with_the_same_bits(tiny_config, tmp_path, monkeypatch):
    """Codes, their averages, seeding of dead ones, temperature: all in the checkpoint or drawn from
    the generator that is."""
    codebook = {
        "heads": 2,
        "query": "none",
        "choice": {"name": "vq", "code_dim": 3, "dead_below": 0.9},
        "temperature": {"start": 2.0, "end": 0.5, "shape": "linear"},
    }
    check_resumed_is_whole(tiny_config, codebook, tmp_path, monkeypatch)
    assert load_checkpoint(find_checkpoint(tmp_path / "parts")).model[
        "encoder.0.blocks.0.temperature"
    ] == pytest.approx(2.0 - 1.5 * 6 / 7)


def test_a_model_with_fitted_regions_needs_their_file_only_at_the_start(
    tiny_config, tmp_path, monkeypatch
):
    stages = tuple(
        StageRegions(stride, cubes(1, 2), (0.4, 0.3), (0.2, 0.1), (0.5, 0.5), 10)
        for stride in (1, 2)
    )
    file = RegionFile(stages, "scannet", "train", 0.15, 1, 0, True)
    path = save_regions(tmp_path / "regions.json", file)
    codebook = {"heads": 2, "regions_file": str(path), "prior": "product"}
    check_resumed_is_whole(tiny_config, codebook, tmp_path, monkeypatch, path.unlink)
    model = load_trained(tmp_path / "parts").model
    assert model.get_submodule("encoder.0.blocks.0").config.regions == cubes(1, 2)


def check_resumed_is_whole(config, codebook, tmp_path, monkeypatch, before_resume=lambda: None):
    """Train a tiny CodedVTR in one go, and with an interruption; compare."""
    model = {"name": "codedvtr", "depths": [1, 1], "widths": [8, 8], "stem_width": 8}
    model |= {"blocks": ["codebook", "codebook"], "codebook": codebook}
    settings = ["--set", f"model={json.dumps(model)}"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train("--config", config, *settings, "--output", whole)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 4, signal.SIGTERM)
        train("--config", config, *settings, "--output", parts)
    before_resume()
    torch.manual_seed(99)
    train("--resume", parts)
    assert_same_run(whole, parts)


def test_interrupted_in_an_evaluation_it_is_made_up_for(tiny_config, tmp_path, monkeypatch):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train("--config", tiny_config, "--output", whole)
    predict_points = voting.predict_points

    def predict_and_interrupt(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return predict_points(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(voting, "predict_points", predict_and_interrupt)
        train("--config", tiny_config, "--output", parts)
    stopped = load_checkpoint(find_checkpoint(parts))
    assert (stopped.step, stopped.evaluated_step) == (3, 0)
    train("--resume", parts)
    assert_same_run(whole, parts)


def test_after_a_crash_the_metrics_go_on_from_the_last_checkpoint(
    tiny_config, tmp_path, monkeypatch
):
    """A process that dies without warning leaves metrics beyond its checkpoint."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    settings = ["--set", "train.save_every=2"]
    train("--config", tiny_config, *settings, "--output", whole)
    advance = RunLog.advance

    def advance_and_die(self: RunLog, done: int) -> None:
        advance(self, done)
        if done == 6:
            raise KeyError("power failure")

    with monkeypatch.context() as patch:
        patch.setattr(RunLog, "advance", advance_and_die)
        with pytest.raises(KeyError):
            main(["--config", str(tiny_config), *settings, "--output", str(parts)])
    assert load_checkpoint(find_checkpoint(parts)).step == 4
    assert metrics(parts)[-1]["step"] == 5
    train("--resume", parts)
    assert_same_run(whole, parts)


def test_the_number_of_workers_changes_nothing(tiny_config, tmp_path):
    for workers in (0, 2):
        run = tmp_path / str(workers)
        train("--config", tiny_config, "--set", f"data.num_workers={workers}", "--output", run)
    assert_same_run(tmp_path / "0", tmp_path / "2")


def test_the_run_directory_runs_again(tiny_config, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    train("--config", tiny_config, "--set", "train.steps=3", "--output", first)
    train("--config", first / "config.yaml", "--output", second)
    assert_same_run(first, second)


def test_sigterm_to_the_command(tiny_config, tmp_path):
    """The real tool in a process of its own: finishes the step, saves, exits with 0, resumes."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    settings = ["--set", "train.steps=15", "--set", "data.num_workers=1", "--device", "cpu"]
    train("--config", tiny_config, *settings, "--output", whole)

    # The order of torch's own sums depends on the number of threads.
    threads = str(torch.get_num_threads())
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": threads}
    command = [sys.executable, str(TOOL)]
    start = ["--config", str(tiny_config), *settings, "--output", str(parts)]
    with subprocess.Popen(
        command + start, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("step  4/15"):
                process.send_signal(signal.SIGTERM)
                break
        rest = process.stdout.read()
    assert process.returncode == 0, rest
    stopped = load_checkpoint(find_checkpoint(parts)).step
    assert 4 <= stopped < 15
    assert f"SIGTERM: saved after step {stopped}; go on with: --resume {parts}" in rest

    resumed = subprocess.run(
        [*command, "--resume", str(parts), "--device", "cpu"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert resumed.returncode == 0, resumed.stderr
    assert "done after 15 steps" in resumed.stdout
    assert_same_run(whole, parts)


def test_a_second_ctrl_c_leaves_at_once():
    before = signal.getsignal(signal.SIGINT)
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested and stop.signal_name == "SIGINT"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_settings_may_change_on_resuming(tiny_config, tmp_path):
    run = tmp_path / "run"
    train("--config", tiny_config, "--set", "train.steps=3", "--output", run)
    train("--resume", run, "--set", "train.steps=5", "--set", "optimizer.weight_decay=0.25")
    checkpoint = load_checkpoint(find_checkpoint(run))
    assert checkpoint.step == 5
    assert checkpoint.optimizer["param_groups"][0]["weight_decay"] == 0.25
    assert [row["step"] for row in metrics(run) if row["kind"] == "train"] == [1, 2, 3, 4, 5]


def test_other_data_is_refused(tiny_config, tmp_path):
    from tests.helpers.scenes import write_scannet_root

    run = tmp_path / "run"
    train("--config", tiny_config, "--set", "train.steps=2", "--output", run)
    other = write_scannet_root(tmp_path / "other", train=("scene0007_00",))
    code = main(["--resume", str(run), "--set", f"data.root={other}", "--set", "train.steps=4"])
    assert code == 2
