"""Batch norm against torch's in float64, and its contract."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pointseg import ops
from tests.ops import scenes

CHANNELS = (1, 3, 8, 17, 24, 40, 64, 96, 255, 300)


def arguments(rows: int, channels: int, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    return {
        "feats": scenes.randn(rows, channels, seed=1, dtype=dtype),
        "weight": scenes.randn(channels, seed=2, dtype=dtype),
        "bias": scenes.randn(channels, seed=3, dtype=dtype),
        "running_mean": scenes.randn(channels, seed=4, dtype=dtype),
        "running_var": scenes.randn(channels, seed=5, dtype=dtype).square() + 0.1,
    }


def of_torch(given: dict[str, Tensor], residual: Tensor, **settings: Any) -> Tensor:
    """relu(norm + residual) by torch, in float64."""
    exact = {name: value.double() for name, value in given.items()}
    feats = exact.pop("feats")
    mean, var = exact.pop("running_mean"), exact.pop("running_var")
    return F.relu(F.batch_norm(feats, mean, var, **exact, **settings) + residual.double())


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("rows", [2, 63, 64, 65, 9_000])
@pytest.mark.parametrize("training", [True, False])
def test_any_number_of_rows_and_channels(rows: int, channels: int, training: bool) -> None:
    given = arguments(rows, channels)
    residual = scenes.randn(rows, channels, seed=6, dtype=torch.float32)
    expected = of_torch(given, residual, training=training)
    out = ops.batch_norm(**given, residual=residual, relu=True, training=training)
    # Two rows far apart are +-1 whatever they are, two close together magnify rounding.
    scenes.assert_close(out, expected, 1e-4 if rows == 2 else scenes.TOLERANCE[torch.float32])


@pytest.mark.parametrize("outlier", [0.0, 1e4])
def test_a_mean_far_from_zero_costs_no_accuracy(outlier: float) -> None:
    """Mean 1,000 and deviation 0.01; the first row may be far from all others."""
    feats = (1e3 + 1e-2 * scenes.randn(30_000, 20, seed=1)).float()
    feats[0] += outlier
    ones, zeros = torch.ones(20), torch.zeros(20)
    mean, var = torch.zeros(20), torch.zeros(20)
    out = ops.batch_norm(feats, ones, zeros, mean, var, training=True, momentum=1.0, eps=1e-8)
    exact = feats.double()
    scenes.assert_close(var, exact.var(dim=0), 1e-6)
    scenes.assert_close(mean, exact.mean(dim=0), 1e-7)
    expected = (exact - exact.mean(dim=0)) / (exact.var(dim=0, correction=0) + 1e-8).sqrt()
    scenes.assert_close(out, expected, 1e-5)


def test_largest_error_of_gradients_over_200k_rows() -> None:
    given = arguments(200_000, 6)
    feats = (given["feats"] * 3 + 5).requires_grad_()
    weight, bias = given["weight"].requires_grad_(), given["bias"].requires_grad_()
    out = ops.batch_norm(feats, weight, bias, relu=True, training=True)
    grad_out = scenes.randn(200_000, 6, seed=7, dtype=torch.float32) + 0.3
    ours = torch.autograd.grad(out, [feats, weight, bias], grad_out)
    exact = [tensor.detach().double().requires_grad_() for tensor in (feats, weight, bias)]
    normed = F.batch_norm(exact[0], None, None, exact[1], exact[2], training=True)
    # Where the exact result is closest to zero, rounding decides about its sign.
    open_ = (out > 0).double()
    theirs = torch.autograd.grad(normed * open_, exact, grad_out.double())
    assert ((normed > 0) != (out > 0)).sum() < 5
    for actual, expected in zip(ours, theirs, strict=True):
        scenes.assert_close(actual, expected, 2e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_running_statistics_move_as_those_of_torch(dtype: torch.dtype) -> None:
    given = arguments(5_000, 9, dtype)
    ours = given["running_mean"].clone(), given["running_var"].clone()
    theirs = given["running_mean"].double(), given["running_var"].double()
    ops.batch_norm(given["feats"], given["weight"], given["bias"], *ours, training=True)
    F.batch_norm(given["feats"].double(), *theirs, training=True)
    for actual, expected in zip(ours, theirs, strict=True):
        assert actual.dtype == dtype
        scenes.assert_close(actual, expected, 2 * scenes.TOLERANCE[dtype])


def test_evaluation_leaves_the_running_statistics_alone() -> None:
    given = arguments(50, 4)
    before = given["running_mean"].clone(), given["running_var"].clone()
    ops.batch_norm(**given)
    assert torch.equal(given["running_mean"], before[0])
    assert torch.equal(given["running_var"], before[1])


def test_no_rows_leave_the_running_statistics_alone() -> None:
    given = arguments(0, 4)
    before = given["running_mean"].clone(), given["running_var"].clone()
    assert ops.batch_norm(**given, training=True).shape == (0, 4)
    assert torch.equal(given["running_mean"], before[0])
    assert torch.equal(given["running_var"], before[1])


def test_a_single_row_has_no_variance() -> None:
    given = arguments(1, 4)
    with pytest.raises(ValueError, match="more than 1 row"):
        ops.batch_norm(**given, training=True)
    assert torch.isfinite(ops.batch_norm(**given)).all()


@pytest.mark.parametrize("training", [True, False])
def test_nan_is_not_clipped_away(training: bool) -> None:
    given = arguments(100, 4)
    given["feats"][7, 2] = torch.nan
    out = ops.batch_norm(**given, relu=True, training=training)
    assert torch.isnan(out[7, 2])
    assert torch.isfinite(out[:, [0, 1, 3]]).all()


def test_autocast_keeps_parameters_and_their_gradients_in_float32() -> None:
    given = arguments(300, 4)
    weight = given["weight"].requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = ops.batch_norm(given["feats"].bfloat16(), weight, given["bias"], training=True)
    assert out.dtype == torch.bfloat16
    out.sum().backward()
    assert weight.grad is not None
    assert weight.grad.dtype == torch.float32


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.cpu_kernels
def test_compiled_training_moves_the_running_statistics() -> None:
    given = arguments(300, 4)
    eager = {name: value.clone() for name, value in given.items()}
    torch.compiler.reset()
    compiled = torch.compile(ops.batch_norm, fullgraph=True, backend="aot_eager")
    out = compiled(**given, training=True)
    assert torch.equal(out, ops.batch_norm(**eager, training=True))
    for name in ("running_mean", "running_var"):
        assert torch.equal(given[name], eager[name])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"feats": torch.zeros(9)}, "feats"),
        ({"feats": torch.zeros(9, 4, dtype=torch.int32)}, "feats"),
        ({"weight": torch.zeros(3)}, "weight"),
        ({"bias": torch.zeros(4, dtype=torch.float64)}, "bias"),
        ({"running_mean": torch.zeros(4, 1)}, "running_mean"),
        ({"running_var": None}, "running_var"),
        ({"residual": torch.zeros(9, 3)}, "residual"),
        ({"residual": torch.zeros(9, 4, dtype=torch.float64)}, "residual"),
    ],
)
def test_bad_arguments_are_named(change: dict[str, Any], match: str) -> None:
    with pytest.raises((ValueError, TypeError), match=f"^{match}"):
        ops.batch_norm(**{**arguments(9, 4), **change})
