"""The `pointseg` command and its `info`."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pointseg
from pointseg import cli
from pointseg.cli import info

ROOT = Path(__file__).resolve().parent.parent


def test_info_tells_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info"]) == 0
    printed = capsys.readouterr().out
    for name in ("pointseg", "python", "torch", "numpy", "open3d", "plotly", "CPU library"):
        assert any(line.startswith(name) for line in printed.splitlines()), name
    assert pointseg.__version__ in printed


def test_info_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert info.main(["--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["CPU library"].startswith("loaded from")
    assert facts["instruction set"] in ("baseline", "avx2", "avx512", "avx512_bf16")
    assert {"CUDA library", "threads", "GPU"} <= facts.keys()


def test_info_without_libraries(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "pointseg", tmp_path / "pointseg", ignore=shutil.ignore_patterns("*.so"))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "pointseg", "info"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "not loaded: pointseg's compiled part is missing" in done.stdout


def test_info_with_an_unknown_instruction_set() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pointseg", "info"],
        cwd=ROOT,
        env={**os.environ, "POINTSEG_ISA": "sse9"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "refused: POINTSEG_ISA must be" in done.stdout


def test_every_command_has_its_tool() -> None:
    """A tool is a thin file over the module of the same name, and the command offers them all."""
    tools = {path.stem for path in (ROOT / "tools").glob("*.py") if not path.stem.startswith("_")}
    modules = {name.rpartition(".")[2] for name in cli.commands().values()}
    assert tools <= modules


@pytest.mark.parametrize("module_name", cli.commands().values())
def test_every_command_has_a_one_line_summary(module_name: str) -> None:
    summary = cli.summary(module_name)
    assert 10 <= len(summary) <= 100


@pytest.mark.parametrize("name", cli.commands())
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        cli.main([name, "--help"])
    assert exit_info.value.code == 0
    assert f"pointseg {name}" in capsys.readouterr().out


def test_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        cli.main(["nonsense"])
    assert exit_info.value.code == 2
    assert "info" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out.strip() == f"pointseg {pointseg.__version__}"


def test_missing_file_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(info, "run", lambda _: Path("/nowhere/at/all").read_text())
    assert cli.main(["info"]) == 2
    assert "/nowhere/at/all" in capsys.readouterr().err


def test_errors_of_the_package_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = "def run(_):\n    raise ValueError('voxel_size_m: expected a positive number, got -1')"
    space: dict[str, object] = {}
    exec(compile(code, str(ROOT / "pointseg" / "made_up.py"), "exec"), space)
    monkeypatch.setattr(info, "run", space["run"])
    assert cli.main(["info"]) == 2
    assert capsys.readouterr().err == (
        "pointseg info: voxel_size_m: expected a positive number, got -1\n"
    )


def test_errors_from_elsewhere_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(info, "run", lambda _: int("not a number"))
    with pytest.raises(ValueError, match="not a number"):
        cli.main(["info"])


def test_interrupt_has_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(info, "run", interrupted)
    assert cli.main(["info"]) == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    import torch

    from pointseg.engine.checkpoint import Checkpoint, save_checkpoint

    path = tmp_path / "run" / "checkpoints" / "last.pt"
    data = {"features": ["color"], "voxel_size_m": 0.05}
    model = {"name": "minkunet", "stem_kernel": 3}
    stored = Checkpoint(
        model={"weight": torch.zeros(2, 3), "count": torch.tensor(1)},
        config={"name": "rooms", "data": data, "model": model, "train": {"steps": 20}},
        label_map={"name": "two", "names": ["wall", "chair"]},
        in_channels=3,
        step=12,
        optimizer={"state": {0: {"exp_avg": torch.zeros(2, 3)}}, "param_groups": [{"lr": 0.1}]},
        best_metric=0.5,
        metrics={"mean_iou": 0.5},
        versions={"pointseg": "1.2.3"},
    )
    save_checkpoint(stored, path)
    return path


def test_info_describes_a_checkpoint(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info", str(checkpoint.parents[1])]) == 0  # the run stands for it
    lines = capsys.readouterr().out.splitlines()
    facts = dict(line.split("  ", 1) for line in lines)
    told = {name: value.strip() for name, value in facts.items()}
    assert told["checkpoint"] == str(checkpoint)
    assert told["format"] == "2, written by pointseg 1.2.3"
    assert told["step"] == "12 of 20" and told["best"] == "mean_iou 0.5000"
    assert told["metrics"] == "mean_iou 0.5" and told["classes"] == "wall, chair"
    assert told["weights"] == "2 tensors, 7 numbers, 32 bytes"
    assert told["optimizer"] == "1 tensors, 6 numbers, 24 bytes"
    assert told["evaluated at step"] == "none" and "moving average" not in told


def test_info_of_a_checkpoint_as_json(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info", str(checkpoint), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["classes"] == ["wall", "chair"] and facts["model options"] == {"stem_kernel": 3}


def test_info_of_a_damaged_checkpoint(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[:-10])
    assert cli.main(["info", str(checkpoint)]) == 2
    assert "not a readable checkpoint" in capsys.readouterr().err
