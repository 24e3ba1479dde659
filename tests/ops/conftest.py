"""Every test of the operators runs on each kind of kernels, unless it says otherwise."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.helpers.kernels import run_with


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kernels" not in metafunc.fixturenames:
        return
    option = metafunc.config.getoption("--kernels")
    chosen = option.split(",") if option else ["cpu", "emulated"]
    if not option and torch.cuda.is_available():
        chosen.append("cuda")
    if metafunc.definition.get_closest_marker("cpu_kernels"):
        chosen = ["cpu"] if "cpu" in chosen else []
    if metafunc.definition.get_closest_marker("cuda_kernels"):
        chosen = [kernels for kernels in chosen if kernels != "cpu"]
    metafunc.parametrize("kernels", chosen, indirect=True)


@pytest.fixture(autouse=True)
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The kernels a test runs on: ``cpu``, ``emulated`` or ``cuda``."""
    with run_with(request.param, monkeypatch):
        yield request.param
