"""What holds for every differentiable op alike; each test runs over all of `cases.CASES`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.ops import scenes
from tests.ops.cases import CASES, Case
from tests.ops.sweeps import native_calls, opcheck, run

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)

SMALL = scenes.random_voxels(14, extent=4, num_scenes=2, seed=3)
MEDIUM = scenes.surface_voxels(600, seed=4, num_scenes=2)
# Enough rows for many blocks, so that two threads really share the work.
LARGE = scenes.surface_voxels(12_000, seed=5, num_scenes=2)


@pytest.fixture
def restore_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@every_case
def test_gradients_match_finite_differences(case: Case) -> None:
    problem = case.build(SMALL, torch.float64)
    inputs = tuple(tensor.requires_grad_() for tensor in problem.inputs)
    assert torch.autograd.gradcheck(problem.function, inputs)


@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_agrees_with_the_reference_twin(case: Case, dtype: torch.dtype) -> None:
    problem = case.build(MEDIUM, dtype)
    actual = run(problem.function, problem.inputs)
    expected = run(problem.reference, problem.inputs)
    for ours, theirs in zip(actual, expected, strict=True):
        assert ours.dtype == dtype
        scenes.assert_close(ours, theirs, scenes.TOLERANCE[dtype])


@every_case
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_storage_accumulates_in_float32(case: Case, dtype: torch.dtype) -> None:
    """Output and gradients are off by the rounding of what is stored, and by nothing else."""
    problem = case.build(MEDIUM, dtype)
    exact = tuple(tensor.double() for tensor in problem.inputs)
    out, *grads = run(problem.function, problem.inputs)
    leaves = [tensor.requires_grad_() for tensor in exact]
    expected = problem.function(*leaves)
    grad_out = scenes.randn(*expected.shape, seed=9, dtype=dtype).double()
    expected_grads = torch.autograd.grad(expected, leaves, grad_out)
    assert out.dtype == dtype
    scenes.assert_close(out, expected, scenes.TOLERANCE[dtype])
    for grad, wanted in zip(grads, expected_grads, strict=True):
        scenes.assert_close(grad, wanted, scenes.TOLERANCE[dtype])


@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.cpu_kernels
def test_same_bits_twice_and_for_any_number_of_threads(
    case: Case, dtype: torch.dtype, restore_threads: None
) -> None:
    results = []
    for threads in (1, 2, 2, 3):
        torch.set_num_threads(threads)
        problem = case.build(LARGE, dtype)
        results.append(run(problem.function, problem.inputs))
    for other in results[1:]:
        for first, second in zip(results[0], other, strict=True):
            assert torch.equal(first, second)


@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_same_bits_whatever_the_order_of_threads(
    case: Case, dtype: torch.dtype, kernels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU runs threads and blocks in any order; emulated ones run forward, then backward."""
    results = []
    for order in ("ascending", "descending"):
        monkeypatch.setenv("POINTSEG_EMULATED_ORDER", order)
        problem = case.build(MEDIUM, dtype)
        results.append(run(problem.function, problem.inputs))
    for first, second in zip(*results, strict=True):
        assert torch.equal(first, second)


@every_case
@pytest.mark.parametrize("num_voxels", [0, 1])
def test_empty_and_single_voxel_inputs(case: Case, num_voxels: int) -> None:
    problem = case.build(SMALL[:num_voxels], torch.float32)
    actual = run(problem.function, problem.inputs)
    expected = run(problem.reference, problem.inputs)
    for ours, theirs in zip(actual, expected, strict=True):
        scenes.assert_close(ours, theirs, scenes.TOLERANCE[torch.float32])


@every_case
def test_non_contiguous_inputs_give_the_same(case: Case) -> None:
    problem = case.build(MEDIUM, torch.float32)
    spread = []
    for tensor in problem.inputs:
        wide = torch.zeros(*tensor.shape, 2)
        wide[..., 0] = tensor
        spread.append(wide[..., 0])
    if all(tensor.is_contiguous() for tensor in spread):
        pytest.fail("the inputs of this test must not be contiguous")
    assert torch.equal(problem.function(*spread), problem.function(*problem.inputs))


@every_case
def test_expanded_gradients_are_accepted(case: Case) -> None:
    """`out.sum().backward()` hands the op a gradient whose strides are all zero."""
    problem = case.build(MEDIUM, torch.float64)
    leaves = [tensor.clone().requires_grad_() for tensor in problem.inputs]
    out = problem.function(*leaves)
    out.sum().backward()
    dense = torch.autograd.grad(problem.function(*leaves), leaves, torch.ones_like(out))
    for leaf, wanted in zip(leaves, dense, strict=True):
        assert leaf.grad is not None
        assert torch.equal(leaf.grad, wanted)


@every_case
def test_no_gradient_is_computed_where_none_is_asked(case: Case) -> None:
    problem = case.build(SMALL, torch.float64)
    assert not problem.function(*problem.inputs).requires_grad
    for position in range(len(problem.inputs)):
        leaves = [tensor.clone() for tensor in problem.inputs]
        leaves[position].requires_grad_()
        problem.function(*leaves).sum().backward()
        for other, leaf in enumerate(leaves):
            assert (leaf.grad is not None) == (other == position)


@every_case
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.cpu_kernels
def test_compiles_as_one_graph(case: Case) -> None:
    problem = case.build(MEDIUM, torch.float32)
    torch.compiler.reset()
    compiled = torch.compile(problem.function, fullgraph=True, backend="aot_eager")
    for actual, expected in zip(
        run(compiled, problem.inputs), run(problem.function, problem.inputs), strict=True
    ):
        assert torch.equal(actual, expected)


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if not case.name.startswith(("batch_norm", "scatter"))],
    ids=lambda case: case.name,
)
def test_features_on_another_device_than_the_map_are_refused(case: Case) -> None:
    """Kernels would take their pointers as they come."""
    problem = case.build(SMALL, torch.float32)
    with pytest.raises(ValueError, match="expected device cpu like the map's, got meta"):
        problem.function(*(tensor.to("meta") for tensor in problem.inputs))


@every_case
def test_opcheck(case: Case) -> None:
    """Schema, fake kernel and autograd registration of every native call the op makes."""
    calls = native_calls(case, SMALL)
    assert calls
    for call in calls:
        opcheck(call)


def test_every_native_op_is_swept() -> None:
    """No op of the library is left out of the sweep above."""
    seen = {
        func.__name__.split(".")[0] for case in CASES for func, _, _ in native_calls(case, SMALL)
    }
    schemas = torch._C._jit_get_all_schemas()
    declared = {s.name.split("::")[1] for s in schemas if s.name.startswith("pointseg::")}
    # What has no gradient has tests of its own; the others answer questions about the build.
    own = (
        "voxel",
        "vector_quantize",
        "sparse_conv_fused",
        "downsample",
        "row_lists",
        "prepare_geometry",
        "mask_order",
        "cpu_",
        "executor_check",
        "fma_",
    )
    elsewhere = {name for name in declared if name.startswith(own)}
    assert declared - seen - elsewhere == set()
