"""Operators run on the current stream of their tensors' device, and wait for nothing else."""

from __future__ import annotations

import pytest
import torch

from tests.ops import scenes
from tests.ops.cases import CASES, Case
from tests.ops.sweeps import run

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
COORDS = scenes.surface_voxels(600, seed=4, num_scenes=2)
BUSY_CYCLES = 600_000_000  # a third of a second: far more than asking for an operator takes


def busy() -> torch.cuda.Event:
    """Keep the current stream busy; the event is reached when it is free again."""
    torch.cuda._sleep(BUSY_CYCLES)
    event = torch.cuda.Event()
    event.record()
    return event


@every_case
def test_a_side_stream_gives_the_same_and_waits_for_no_other(case: Case, gpu: torch.device) -> None:
    problem = case.on_device(COORDS.to(gpu), torch.float32)
    expected = run(problem.function, problem.inputs)
    torch.cuda.synchronize()
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):  # its memory is there from now on: to ask for more would wait
        run(problem.function, problem.inputs)
    torch.cuda.synchronize()
    others = busy()
    with torch.cuda.stream(side):
        actual = run(problem.function, problem.inputs)
    side.synchronize()
    assert not others.query(), "it waited for the default stream"
    for ours, wanted in zip(actual, expected, strict=True):
        assert torch.equal(ours, wanted)


@every_case
def test_nothing_waits_for_the_device(case: Case, gpu: torch.device) -> None:
    """Forward and backward are asked for while the device is busy with something else."""
    problem = case.on_device(COORDS.to(gpu), torch.float32)
    leaves = [x.requires_grad_() for x in problem.inputs]

    def step() -> None:
        out = problem.function(*leaves)
        torch.autograd.grad(out, leaves, torch.ones_like(out), materialize_grads=True)

    step()
    torch.cuda.synchronize()
    free = busy()
    step()
    assert not free.query(), "it waited for the device"


@every_case
def test_the_second_device_while_the_first_is_current(case: Case, gpu: torch.device) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("no second GPU")
    first = case.on_device(COORDS.to("cuda:0"), torch.float32)
    second = case.on_device(COORDS.to("cuda:1"), torch.float32)
    with torch.cuda.device(0):
        pairs = zip(
            run(second.function, second.inputs), run(first.function, first.inputs), strict=True
        )
    for ours, wanted in pairs:
        assert ours.device == torch.device("cuda", 1)
        assert torch.equal(ours.cpu(), wanted.cpu())
