"""Fixtures shared by all tests, and what the run says about the tests it skipped."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.properties import HealthCheck, settings

# The same examples every time: a red run can be repeated, and a green one means the same tomorrow.
settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("repeatable")

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def pytest_addoption(parser: Any) -> None:
    parser.addoption(
        "--kernels",
        default="",
        help="kernels that the tests of operators run on: some of cpu,emulated,cuda; by default "
        "cpu,emulated, and cuda where there is a GPU",
    )
    parser.addoption(
        "--shard",
        default="0/1",
        help="i/n: only every n-th test, from the i-th, of n processes that share the tests",
    )


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    index, count = map(int, config.getoption("--shard").split("/"))
    items[:] = items[index::count]


def _folder(variable: str, holds: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is unset: no {holds}")
    folder = Path(value).expanduser().resolve()
    if not folder.is_dir():
        raise NotADirectoryError(f"{variable}={value}: expected a folder with {holds}")
    return folder


@pytest.fixture(scope="session")
def goldens() -> Path:
    """The folder with the reference numbers of other engines (`POINTSEG_GOLDENS`)."""
    return _folder("POINTSEG_GOLDENS", "reference numbers")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real scenes, one sub-folder a dataset (`POINTSEG_REAL_DATA`)."""
    return _folder("POINTSEG_REAL_DATA", "real scenes")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium, driven by playwright: `browser.new_page()`."""
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip("no Chromium on this machine")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    arguments = [
        "--no-sandbox",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        # WebGL in software: there is no GPU where the tests run.
        "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader",
        "--ignore-gpu-blocklist",
    ]
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture(autouse=True)
def torch_threads() -> Iterator[None]:
    """Start every test with at most two threads, whatever the last one did."""
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    yield
    torch.set_default_dtype(torch.float32)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many tests were skipped for which reason."""
    reasons: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[reason.removeprefix("Skipped: ")] += 1
    if reasons:
        terminalreporter.section("skipped, by reason")
        for reason, count in reasons.most_common():
            terminalreporter.write_line(f"{count:5d}  {reason}")
