"""Every case of the operators' sweeps: this place against the CPU, and against itself."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor

from tests.gpu.place import Place
from tests.ops import scenes
from tests.ops.cases import CASES, Case
from tests.ops.sweeps import native_calls, opcheck, run

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
SMALL = scenes.random_voxels(14, extent=4, num_scenes=2, seed=3)


@every_case
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_output_and_gradients_are_those_of_the_cpu(
    case: Case, dtype: torch.dtype, place: Place
) -> None:
    """Both round the same sums, added in another order: each may be off by the tolerance."""
    coords = place.surface(on_gpu=2000, emulated=40)
    problem = case.build(coords, dtype)
    expected = run(problem.function, problem.inputs)
    with place.kernels_in_use():
        problem = case.on_device(coords.to(place.device), dtype)
        first, second = (run(problem.function, problem.inputs) for _ in range(2))
    for ours, again, wanted in zip(first, second, expected, strict=True):
        assert ours.device == place.device
        assert ours.dtype == wanted.dtype
        assert torch.equal(ours, again)
        scenes.assert_close(ours.cpu(), wanted, 2 * scenes.TOLERANCE[dtype])


@every_case
@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
def test_largest_error_of_many_rows(case: Case, dtype: torch.dtype, place: Place) -> None:
    """Against the same operator in float64. Gradients of parameters are sums over all rows: sums of
    float32 in as many steps are off by 2e-5 at most, as on the CPU.
    """
    coords = place.surface(on_gpu=160_000, emulated=200)
    with place.kernels_in_use():
        problem = case.on_device(coords.to(place.device), dtype)
        actual = run(problem.function, problem.inputs)
        leaves = tuple(x.double().requires_grad_() for x in problem.inputs)
        out = problem.function(*leaves)
        grad = scenes.randn(*out.shape, seed=9, dtype=dtype).to(place.device).double()
        expected = [out.detach(), *torch.autograd.grad(out, leaves, grad)]
    for ours, wanted in zip(actual, expected, strict=True):
        assert torch.isfinite(ours).all()
        scenes.assert_close(ours, wanted, max(scenes.TOLERANCE[dtype], 2e-5))


@every_case
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_autocast(case: Case, dtype: torch.dtype, place: Place) -> None:
    """As on the CPU: dtypes of output and gradients, and their values, of inputs that are rounded
    once more.
    """
    coords = place.surface(on_gpu=2000, emulated=40)

    def results(coords: Tensor) -> list[Tensor]:
        problem = case.on_device(coords, torch.float32)
        with torch.autocast(coords.device.type, dtype=dtype):
            return run(problem.function, problem.inputs)

    expected = results(coords)
    with place.kernels_in_use():
        actual = results(coords.to(place.device))
    for ours, wanted in zip(actual, expected, strict=True):
        assert ours.dtype == wanted.dtype
        scenes.assert_close(ours.cpu(), wanted, 4 * scenes.TOLERANCE[dtype])


@every_case
def test_opcheck(case: Case, gpu: torch.device) -> None:
    calls = native_calls(case, SMALL.to(gpu))
    assert calls
    for call in calls:
        opcheck(call)


def on_cuda(argument: object, device: torch.device) -> object:
    """An argument of a call on the CPU as that of the call by tap on CUDA, which has the number of
    pairs of every tap on the host.
    """
    if isinstance(argument, list) and argument:  # a map: beside it the pairs of every tap
        in_rows, out_rows, segments = argument
        tap_pairs = (segments[..., 1] - segments[..., 0]).sum(0)
        return [*(array.to(device) for array in (in_rows, out_rows, segments)), tap_pairs]
    return argument.to(device) if isinstance(argument, Tensor) else argument


def words_of(error: RuntimeError) -> str:
    """What a binding says, without the place in its source that stands before it."""
    return re.sub(r"^.*?:\d+, ", "", str(error).splitlines()[0])


@every_case
def test_wrong_shapes_are_refused_in_the_same_words(case: Case, place: Place) -> None:
    """The first matrix of floats of every native call loses a column: what the CPU's binding says
    of it, this one says.
    """
    refused = 0
    for func, args, kwargs in native_calls(case, SMALL):
        position = next(
            (i for i, x in enumerate(args) if isinstance(x, Tensor) and x.is_floating_point()), None
        )
        if position is None:
            continue
        narrow = list(args)
        narrow[position] = args[position].detach()[..., :-1].contiguous()
        try:
            func(*narrow, **kwargs)
        except RuntimeError as error:
            said = words_of(error)
        else:
            continue  # fewer channels are a smaller problem to this operator
        moved = [on_cuda(x, place.device) for x in narrow]
        with place.kernels_in_use(), pytest.raises(RuntimeError) as refusal:
            func(*moved, **kwargs)
        assert words_of(refusal.value) == said
        refused += 1
    if not refused:
        pytest.skip("no argument of these calls has to have as many columns as another")


@every_case
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiles_as_one_graph(case: Case, gpu: torch.device) -> None:
    coords = scenes.surface_voxels(600, seed=4, num_scenes=2).to(gpu)
    problem = case.on_device(coords, torch.float32)
    torch.compiler.reset()
    compiled = torch.compile(problem.function, fullgraph=True, backend="aot_eager")
    for actual, expected in zip(
        run(compiled, problem.inputs), run(problem.function, problem.inputs), strict=True
    ):
        assert torch.equal(actual, expected)
