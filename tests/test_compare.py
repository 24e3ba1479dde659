"""The comparison of two configurations: small, cut, gone on with; its page and its numbers."""

from __future__ import annotations

import argparse
import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from pointseg.benchmark.comparison import (
    BEGIN,
    END,
    PAGE,
    RunResult,
    comparison_text,
    mean_iou_by_class,
    median_step_time_s,
    spread,
)
from pointseg.cli import compare, evaluate
from pointseg.data.synthetic import RoomSet, synthesize_rooms
from pointseg.engine.logging import RunLog
from pointseg.models import build_model

ROOT = Path(__file__).resolve().parent.parent
MACHINE = {
    "cpu": "A CPU",
    "instruction_set": "avx2",
    "threads": 2,
    "device": "cpu",
    "python": "3.11",
    "torch": "2.13",
    "pointseg": "0.1",
}


def result(config: str, seed: int, mean_iou: float, **changes: object) -> RunResult:
    values: dict[str, object] = {
        "config": config,
        "model": f"net_{config}",
        "seed": seed,
        "parameters": 1234567,
        "mean_iou": mean_iou,
        "iou": {"wall": mean_iou, "floor": 0.9, "door": None},
        "num_scenes": 2,
        "num_points": 1000,
        "protocol": "single pass, raw points",
        "step_time_s": 0.2,
        "evaluation_s": 3.0,
        "machine": MACHINE,
    }
    return RunResult(**{**values, **changes})  # type: ignore[arg-type]


def test_numbers_of_a_comparison() -> None:
    rows = [{"kind": "train", "step_time_s": time} for time in (9.0, 1.0, 2.0, 4.0)]
    assert median_step_time_s([*rows, {"kind": "validation"}]) == 2.0
    assert median_step_time_s(rows[:1]) == 9.0
    with pytest.raises(ValueError, match="cut"):
        median_step_time_s([{"kind": "validation"}])
    assert spread([0.5]) == (0.5, 0.5, 0.5, None)
    assert spread([0.1, 0.2, 0.3]) == pytest.approx((0.2, 0.1, 0.3, 0.1))
    assert mean_iou_by_class([result("a", 0, 0.5), result("a", 1, 0.7)]) == pytest.approx(
        {"wall": 0.6, "floor": 0.9}
    )


def test_text_of_a_comparison() -> None:
    first = [result("a", 0, 0.50), result("a", 1, 0.54)]
    second = [result("b", 0, 0.51, step_time_s=0.5), result("b", 1, 0.52, step_time_s=0.5)]
    text = comparison_text(first, second, "pointseg compare", ["Both: 2 steps."])
    row = "| `a` | net_a | 1,234,567 | 0.500 | 0.540 | **0.520** | 0.500 to 0.540 | 0.028 | 0.200 "
    assert row in text
    assert "`b` minus that of `a`: -0.005 (by seed +0.010, -0.020). Not more than" in text
    assert "range over seeds, 0.040. A step takes 2.50 times as long." in text
    wall = text.index("| wall | 0.520 | 0.515 | -0.005 |")
    assert wall < text.index("| floor | 0.900 | 0.900 | +0.000 |")
    assert "door" not in text
    assert "A CPU, avx2, 2 threads" in text and "More than one machine" not in text
    elsewhere = [result("b", 0, 0.9, machine={**MACHINE, "cpu": "Another"})]
    text = comparison_text(first[:1], elsewhere, "pointseg compare", [])
    assert "More than one machine" in text and "One seed says nothing" in text


def test_only_what_stands_between_the_markers_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "sub" / "results.md"
    PAGE.check_page(page)
    PAGE.write(page, "one")
    assert page.read_text() == f"# Results\n\n{BEGIN}\n\none\n\n{END}\n"
    page.write_text(page.read_text().replace("# Results", "# Mine") + "\n## Diagnosis\n\nmine\n")
    PAGE.write(page, "two")
    PAGE.write(page, "three")
    assert page.read_text() == (f"# Mine\n\n{BEGIN}\n\nthree\n\n{END}\n\n## Diagnosis\n\nmine\n")
    assert list(page.parent.iterdir()) == [page]
    PAGE.check_page(ROOT / "docs" / "results.md")


@pytest.mark.parametrize("text", ["", f"{BEGIN}\n", f"{END}\n{BEGIN}\n", f"{BEGIN}\n{END}\n" * 2])
def test_a_page_without_markers_is_left_alone(tmp_path: Path, text: str) -> None:
    page = tmp_path / "results.md"
    page.write_text(text)
    with pytest.raises(ValueError, match=r"results\.md: expected the lines"):
        PAGE.write(page, "new")
    assert page.read_text() == text
    assert compare.main(["--out", str(page), "--work", str(tmp_path / "work")]) == 2
    assert not (tmp_path / "work").exists()


def write_config(folder: Path, name: str, more: str) -> str:
    """The demo's configuration with a tiny network."""
    path = folder / f"{name}.yaml"
    base = ROOT / "configs" / "synthetic_minkunet14.yaml"
    path.write_text(f"base: {base}\nname: {name}\n{more}")
    return str(path)


@pytest.fixture
def configs(tmp_path: Path) -> list[str]:
    shape = "depths: [1, 1], widths: [8, 8], stem_width: 8, stem_kernel: 3"
    codebook = "codebook: {heads: 4}, blocks: [basic, codebook]"
    return [
        write_config(tmp_path, "plain", f"model: {{name: minkunet, {shape}}}\n"),
        write_config(tmp_path, "coded", f"model: {{name: codedvtr, {shape}, {codebook}}}\n"),
    ]


SHORT = (
    *("--set", "train.steps=2", "--set", "train.log_every=1", "--set", "data.num_workers=0"),
    *("--set", "train.batch_size=1", "--set", "train.tensorboard=false"),
    *("--set", "data.voxel_size_m=0.2"),
)


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rooms to train on and an unseen one."""
    pytest.importorskip("open3d", reason="open3d does not import here: no rooms can be made")
    folder = tmp_path_factory.mktemp("compare") / "rooms"
    synthesize_rooms(folder, RoomSet(train=2, val=1), workers=1)
    return folder


def interrupt_after(monkeypatch: pytest.MonkeyPatch, num_steps: int) -> None:
    """Ask this process to stop once so many training steps are done, of all runs together."""
    done: list[int] = []
    advance = RunLog.advance

    def advance_and_interrupt(self: RunLog, step: int) -> None:
        advance(self, step)
        done.append(step)
        if len(done) == num_steps:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(RunLog, "advance", advance_and_interrupt)


def test_two_configurations_are_compared_cut_and_gone_on_with(
    tmp_path: Path,
    rooms: Path,
    configs: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work, page = tmp_path / "work", tmp_path / "results.md"
    argv = ["--configs", *configs, "--seeds", "0", "3", "--data", str(rooms), *SHORT]
    argv += ["--work", str(work), "--out", str(page), "--device", "cpu"]

    with monkeypatch.context() as patch:  # in the first step of the second of four runs
        interrupt_after(patch, 3)
        assert compare.main(argv) == 130
    assert "run the same command again to go on" in capsys.readouterr().out
    assert (work / "plain" / "seed0" / "result.json").is_file()
    assert not (work / "coded" / "seed0" / "result.json").exists()

    scored: list[list[str]] = []

    def fail_in_third(argv: list[str]) -> int:
        scored.append(argv)
        return 3 if len(scored) == 2 else evaluate.main(argv)

    with monkeypatch.context() as patch:
        patch.setattr(compare, "evaluate", SimpleNamespace(main=fail_in_third))
        with pytest.raises(SystemExit) as stopped:
            compare.main(argv)
    assert stopped.value.code == 3
    out = capsys.readouterr().out
    assert "going on after step 1" in out and "== plain, seed 0: mIoU 0." in out
    assert not page.exists()

    assert compare.main(argv) == 0
    document = json.loads((work / "compare.json").read_text())
    runs = [RunResult(**values) for values in document["runs"]]
    names = [(run.config, run.model, run.seed) for run in runs]
    assert names == [
        *(("plain", "minkunet", 0), ("plain", "minkunet", 3)),
        *(("coded", "codedvtr", 0), ("coded", "codedvtr", 3)),
    ]
    assert runs[0].parameters == runs[1].parameters != runs[2].parameters
    assert all(run.step_time_s > 0 and run.evaluation_s > 0 for run in runs)
    for run in runs:
        folder = work / run.config / f"seed{run.seed}"
        report = json.loads((folder / "scores" / "evaluation.json").read_text())
        assert report["mean_iou"] == run.mean_iou
        assert Path(report["checkpoint"]) == folder / "checkpoints" / "last.pt"
        assert (report["split"], report["num_scenes"]) == ("val", 1)
        metrics = [json.loads(line) for line in (folder / "metrics.jsonl").open()]
        assert [row["step"] for row in metrics if row["kind"] == "train"] == [1, 2]
    text = page.read_text()
    command = f"pointseg compare --configs {' '.join(configs)} --seeds 0 3 --data {rooms}"
    assert command in text and str(work) not in text
    assert f"{runs[0].mean_iou:.3f} | {runs[1].mean_iou:.3f} | **" in text
    assert "Both: 2 steps of 1 scenes with 20 cm voxels" in text

    def never(*_: object) -> None:
        raise AssertionError("a finished run was repeated")

    monkeypatch.setattr(compare, "train_or_go_on", never)
    page.write_text(text + "\n## Diagnosis\n\nBy hand.\n")
    assert compare.main(argv) == 0
    assert page.read_text() == text + "\n## Diagnosis\n\nBy hand.\n"
    assert compare.main([*argv, "--set", "optimizer.lr=0.5"]) == 2
    assert "plain/seed0 was trained with other settings" in capsys.readouterr().err

    # The same folder with other rooms in it: neither a finished run nor a cut one may pass for it.
    names = (rooms / "meta" / "scannetv2_train.txt").read_text().split()
    monkeypatch.setattr(compare, "_scenes", lambda config: {"train": names[:1], "val": ["x"]})
    assert compare.main(argv) == 2
    assert "plain/seed0 was trained with other settings or on other scenes" in (
        capsys.readouterr().err
    )
    (work / "plain" / "seed0" / "result.json").unlink()
    assert compare.main(argv) == 2
    assert "plain/seed0 was begun with other settings or scenes" in capsys.readouterr().err


def test_the_default_configurations_are_a_fair_pair(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    compare.add_arguments(parser)
    first, second = compare._checked_configs(parser.parse_args([]), tmp_path)
    assert first.model.name != second.model.name
    assert first.optimizer == second.optimizer
    assert first.model.options["depths"] == second.model.options["depths"]
    sizes = [
        sum(p.numel() for p in build_model(c.model.name, 7, 20, **c.model.options).parameters())
        for c in (first, second)
    ]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.02)
    assert compare._command(parser.parse_args([])) == "pointseg compare"


def test_rooms_are_generated_where_none_are_named(
    tmp_path: Path, configs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(compare, "make_rooms", lambda _, *rest: asked.append(rest))
    changes_of_runs: list[list[str]] = []

    def one_run(_: object, given: str, changes: list[str], *rest: object) -> RunResult:
        changes_of_runs.append(changes)
        return result(Path(given).stem, 0, 0.5)

    monkeypatch.setattr(compare, "_one_run", one_run)
    argv = ["--configs", *configs, "--train", "5", "--work", str(tmp_path), "--seeds", "0"]
    assert compare.main([*argv, "--out", str(tmp_path / "page.md")]) == 0
    assert asked == [(tmp_path / "rooms", 5, 28, 0)]
    assert changes_of_runs == [[f"data.root={tmp_path / 'rooms'}", "train.seed=0"]] * 2
    assert "--seeds 0 --train 5 --val 28\n" in (tmp_path / "page.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--seeds", "1", "1"), "--seeds: expected different numbers"),
        (("--set", "train.seed=4"), "use --seeds"),
        (("--set", "data.root=x"), "use --data"),
        (("--data", "nowhere"), "--data nowhere: no such folder; leave it out"),
        (("--configs", "plain", "longer"), "not trained alike, they differ in train.steps"),
        (("--configs", "plain", "plain"), "both are named 'plain'"),
        (("--configs", "plain", "nothing"), "nothing: no such configuration"),
    ],
)
def test_what_would_say_nothing_is_refused_at_once(
    tmp_path: Path,
    configs: list[str],
    arguments: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_config(tmp_path, "longer", "train: {steps: 900}\n")
    monkeypatch.chdir(tmp_path)
    assert compare.main(["--configs", *configs, *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "outputs").exists() and not (tmp_path / "docs").exists()
