"""The command for a machine with a GPU, as far as one without can tell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pointseg.benchmark import gpu_check
from pointseg.benchmark.gpu_check import Part, environment, processes, sanitizer
from pointseg.benchmark.gpu_check.processes import run_together
from pointseg.benchmark.gpu_check.pytest_runs import run_tests
from pointseg.benchmark.gpu_check.sanitizer import run_sanitizer
from pointseg.cli import gpu_check as command

ROOT = Path(__file__).resolve().parents[2]
FACTS = {
    "gpu": "NVIDIA H100 80GB",
    "sm": "90",
    "memory_mib": 81559,
    "driver": "580.1",
    "cuda": "13.0",
    "torch": "2.11.0",
    "commit": "abc",
}
BARE = ("hypothesis", "yaml", "rich", "plyfile", "plotly", "open3d", "sklearn", "tensorboard")


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_programs_run_together_and_end_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "GRACE_S", 6.0)
    stubborn = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(600)"
    polite = "import time, pathlib\ntry: time.sleep(600)\nfinally: pathlib.Path('wrote').touch()"
    start = time.monotonic()
    quick, failing, written, killed = run_together(
        [
            python("import os; print('said', os.environ['WORD'])"),
            python("raise SystemExit(7)"),
            python(polite),
            python(stubborn),
        ],
        6.0,
        tmp_path,
        {"WORD": "hello"},
    )
    assert time.monotonic() - start < 60
    assert (quick.code, quick.in_time, quick.said) == (0, True, "said hello\n")
    assert (failing.code, failing.in_time) == (7, True)
    assert not written.in_time and (tmp_path / "wrote").exists()
    assert (killed.code, killed.in_time) == (-9, False)


def fake_part(name: str, status: str, calls: list[float], **content: Any) -> Part:
    def run(seconds: float) -> dict[str, Any]:
        calls.append(seconds)
        return {"status": status, **content}

    return Part(name, 10.0, run)


def told(lines: list[str]) -> Callable[[str], None]:
    return lines.append


def test_results_are_written_after_each_part(tmp_path: Path) -> None:
    seconds: list[float] = []
    lines: list[str] = []
    seen: list[dict[str, Any]] = []
    path = tmp_path / "sub" / "nvidia-h100-80gb.json"

    def look(seconds: float) -> dict[str, Any]:
        seen.append(json.loads(path.read_text()))
        return {"status": "skipped", "reason": "not installed"}

    parts = (
        fake_part("environment", "passed", seconds, facts=dict(FACTS), problems=[]),
        fake_part("sweep", "passed", seconds, passed=3, failed=0, reasons={"no GPU": 2}),
        Part("sanitizer", 10.0, look),
    )
    assert gpu_check.check(parts, path.parent, "given", told(lines)) == 0
    assert list(seen[0]["parts"]) == ["environment", "sweep"]
    assert not seen[0]["finished"]
    document = json.loads(path.read_text())
    assert document["finished"] and document["environment"]["commit"] == "given"
    assert seconds[0] == pytest.approx(10, abs=1) and seconds[1] == pytest.approx(20, abs=1)
    assert "    2 skipped: no GPU" in "\n".join(lines)
    assert "    not installed" in "\n".join(lines)


@pytest.mark.parametrize("status", ["failed", "out of time"])
def test_what_fails_or_is_not_done_is_exit_status_one(status: str, tmp_path: Path) -> None:
    parts = (
        fake_part("environment", "passed", [], facts=dict(FACTS), problems=[]),
        fake_part("sweep", status, [], failures={"tests.x": "wrong\nmore"}, said="the end"),
        fake_part("benchmark", "passed", []),
    )
    lines: list[str] = []
    assert gpu_check.check(parts, tmp_path, None, told(lines)) == 1
    assert "tests.x" in "\n".join(lines)
    (path,) = tmp_path.iterdir()
    assert json.loads(path.read_text())["parts"]["benchmark"]["status"] == "passed"


def test_a_machine_that_cannot_run_the_kernels_is_exit_status_two(tmp_path: Path) -> None:
    later: list[float] = []
    parts = (
        fake_part("environment", "failed", [], facts={"gpu": None}, problems=["torch sees no GPU"]),
        fake_part("sweep", "passed", later),
    )
    lines: list[str] = []
    assert gpu_check.check(parts, tmp_path, None, told(lines)) == 2
    assert "torch sees no GPU" in "\n".join(lines)
    assert not later and not list(tmp_path.iterdir())


def test_parts_are_chosen_by_name_and_end_within_eight_minutes() -> None:
    names = ["environment", "sweep", "gpu_tests", "sanitizer", "benchmark"]
    assert [part.name for part in gpu_check.chosen_parts(())] == names
    some = gpu_check.chosen_parts(("benchmark", "sweep"))
    assert [part.name for part in some] == ["environment", "sweep", "benchmark"]
    with pytest.raises(ValueError, match="expected some of environment, sweep.*got nothing"):
        gpu_check.chosen_parts(("nothing",))
    assert sum(part.budget_s for part in gpu_check.PARTS) + processes.GRACE_S <= 8 * 60


def test_the_folder_is_that_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUT", "/somewhere")
    assert gpu_check.default_folder() == Path("/somewhere")
    monkeypatch.delenv("OUT")
    assert gpu_check.default_folder() == ROOT / "benchmarks" / "gpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_command_says_what_is_missing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "tools/gpu_check.py", "--out", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "built without CUDA" in done.stderr or "no GPU" in done.stderr
    assert not list(tmp_path.iterdir())
    assert command.main(["--only", "nothing"]) == 2


def test_facts_and_the_operators_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = environment.facts(ROOT)
    assert set(facts["libraries"]) <= {"_C.so", "_C_cuda.so"} and facts["torch"]
    monkeypatch.setattr(environment._native, "has_kernel", lambda name, _: name != "pool")
    assert environment.operators_without_cuda() == ["pool"]
    monkeypatch.setattr(environment._native, "has_kernel", lambda *_: False)
    missing = environment.operators_without_cuda()
    assert {"sparse_conv", "kernel_map", "vector_quantize"} <= set(missing)
    assert not {"cpu_isa", "fma_peak"} & set(missing)


def test_tests_are_dealt_out_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    good = "def test_good(x): pass\n"
    (tmp_path / "test_few.py").write_text(
        "import pytest\n"
        f"@pytest.mark.parametrize('x', range(4))\n{good}"
        "def test_skipped(): pytest.skip('no GPU')\n"
        "def test_bad(): assert 1 == 2\n"
    )
    result = run_tests(tmp_path, ("test_few.py",), 120.0)
    assert result["processes"] == 2
    assert (result["status"], result["passed"], result["failed"]) == ("failed", 4, 1)
    assert result["reasons"] == {"no GPU": 1}
    ((name, words),) = result["failures"].items()
    assert name.endswith("test_bad") and "1 == 2" in words
    assert run_tests(tmp_path, ("test_few.py", "-k", "nothing"), 120.0)["status"] == "failed"


def test_one_process_without_a_test_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (tmp_path / "test_one.py").write_text("def test_good(): pass\n")
    result = run_tests(tmp_path, ("test_one.py",), 120.0)
    assert (result["status"], result["passed"], result["processes"]) == ("passed", 1, 2)


def test_tests_that_are_not_done_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (tmp_path / "test_slow.py").write_text(
        "import time\ndef test_quick(): pass\ndef test_slow(): time.sleep(600)\n"
    )
    result = run_tests(tmp_path, ("test_slow.py",), 45.0)
    assert (result["status"], result["passed"]) == ("out of time", 1)


SANITIZER = """#!{python}
import sys
if "--help" in sys.argv:
    print("--kernel-regex arg")
    raise SystemExit
tool = sys.argv[sys.argv.index("--tool") + 1]
assert "--report-api-errors" not in sys.argv and "kns=pointseg" in sys.argv
print("========= Invalid __global__ read of size 4 bytes" if tool == {wrong!r} else "fine")
print("========= ERROR SUMMARY:", int(tool == {wrong!r}), "errors")
raise SystemExit(99 if tool == {wrong!r} else 0)
"""


@pytest.mark.parametrize("wrong", ["", "racecheck"])
def test_the_sanitizer_is_asked_and_believed(wrong: str, tmp_path: Path) -> None:
    program = tmp_path / "compute-sanitizer"
    program.write_text(SANITIZER.format(python=sys.executable, wrong=wrong))
    program.chmod(0o755)
    result = run_sanitizer(tmp_path, 60.0, str(program))
    assert result["status"] == ("failed" if wrong else "passed")
    assert result["tools"]["memcheck"] == "ERROR SUMMARY: 0 errors"
    assert ("racecheck_said" in result) == bool(wrong)
    assert result["unfinished"] == []


def test_no_sanitizer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sanitizer, "find_program", lambda: None)
    assert run_sanitizer(ROOT, 1.0) == {
        "status": "skipped",
        "reason": "compute-sanitizer is not installed here",
    }


def test_everything_it_needs_imports_with_torch_numpy_and_pytest_alone() -> None:
    code = f"""
import importlib, sys
from pathlib import Path
for name in {BARE!r}:
    sys.modules[name] = None  # importing it raises ImportError
import pointseg.cli.gpu_check, pointseg.benchmark.gpu_check.environment
import pointseg.benchmark.gpu_check.table, tests.conftest
for folder in ("ops", "gpu"):
    for path in sorted(Path("tests", folder).glob("*.py")):
        importlib.import_module(f"tests.{{folder}}.{{path.stem}}")
"""
    done = subprocess.run(python(code), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
