"""Where the tests here run: on a GPU, and those of values on emulated threads, too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.gpu.place import Place


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "place" in metafunc.fixturenames:
        option = metafunc.config.getoption("--kernels")
        chosen = option.split(",") if option else ["emulated", "cuda"]
        kernels = [name for name in chosen if name != "cpu"]
        metafunc.parametrize("place", kernels, indirect=True)


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Place:
    """The CUDA kernels on a GPU's own tensors, or on emulated threads."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU")
    return Place(request.param)


@pytest.fixture
def gpu() -> Iterator[torch.device]:
    """A GPU; whatever the test did on it is over when the test is."""
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    yield torch.device("cuda", torch.cuda.current_device())
    torch.cuda.synchronize()
