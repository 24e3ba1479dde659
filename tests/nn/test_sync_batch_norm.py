"""Batch norm over ranks is batch norm of all rows, in every dtype, however rows are spread."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pointseg import models, nn, ops
from pointseg.distributed import process_group, rank
from pointseg.nn import SyncBatchNorm1d, batch_norm_rows, synchronized
from tests.helpers.ranks import on_ranks

CHANNELS = 5
ROWS = {"uneven": (7, 0, 30), "one_row": (1, 0, 0), "none": (0, 0, 0), "single": (1, 1, 1)}
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
CASES = [
    ("uneven", dtype, residual, relu)
    for dtype in DTYPES
    for residual, relu in ((False, False), (False, True), (True, False), (True, True))
] + [(name, torch.float64, True, True) for name in ("one_row", "none", "single")]


def inputs(name: str, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Rows far from zero, where squares would cancel in float32."""
    generator = torch.Generator().manual_seed(3)
    shape = (sum(ROWS[name]), CHANNELS)
    far = 1000.0 if dtype in (torch.float32, torch.float64) else 1.0
    draws = torch.randn(3, *shape, generator=generator, dtype=torch.float64)
    draws[0] += far * torch.arange(CHANNELS)
    return dict(zip(("feats", "residual", "grad"), draws.to(dtype), strict=True))


def norm_of(cls: type, dtype: torch.dtype) -> Any:
    norm = cls(CHANNELS).to(torch.float64 if dtype == torch.float64 else torch.float32)
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 2.0, CHANNELS))
        norm.bias.copy_(torch.linspace(-1.0, 1.0, CHANNELS))
    return norm


def normalized(norm: Any, given: dict, residual: bool, relu: bool) -> dict[str, torch.Tensor]:
    feats = given["feats"].clone().requires_grad_()
    add = given["residual"].clone().requires_grad_() if residual else None
    out = batch_norm_rows(norm, feats, add, relu)
    out.backward(given["grad"])
    assert feats.grad is not None
    found = {"out": out.detach(), "grad_feats": feats.grad}
    found |= {"grad_weight": norm.weight.grad, "grad_bias": norm.bias.grad}
    if add is not None:
        found["grad_residual"] = add.grad
    return found | {f"state_{name}": value for name, value in norm.state_dict().items()}


def all_cases_on_a_rank() -> list[dict[str, torch.Tensor]]:
    with process_group("cpu", 60):
        results = []
        for name, dtype, residual, relu in CASES:
            given = {k: v.split(ROWS[name])[rank()] for k, v in inputs(name, dtype).items()}
            norm = norm_of(SyncBatchNorm1d, dtype)
            results.append(normalized(norm, given, residual, relu))
        return results


@pytest.fixture(scope="module")
def by_rank() -> list[list[dict[str, torch.Tensor]]]:
    return on_ranks(all_cases_on_a_rank, 3)


# Rounding of sums in another order, of rows up to 4000 standard deviations from zero; 16-bit
# gradients are rounded twice.
TOLERANCES = {
    torch.float64: 1e-10,
    torch.float32: 2e-5,
    torch.float16: 2e-3,
    torch.bfloat16: 2e-2,
}


@pytest.mark.parametrize("case", range(len(CASES)), ids=[str(case) for case in CASES])
def test_it_is_the_norm_of_all_rows(case: int, by_rank: list) -> None:
    name, dtype, residual, relu = CASES[case]
    parts = [results[case] for results in by_rank]
    for key in parts[0]:  # statistics have the same bits everywhere
        if key.startswith("state_"):
            assert all(torch.equal(part[key], parts[0][key]) for part in parts)
    if sum(ROWS[name]) < 2:
        assert torch.equal(parts[0]["state_running_mean"], torch.zeros(CHANNELS).double())
        assert torch.equal(parts[0]["state_running_var"], torch.ones(CHANNELS).double())
        return
    expected = normalized(norm_of(torch.nn.BatchNorm1d, dtype), inputs(name, dtype), residual, relu)
    for key, value in expected.items():
        found = {
            "state": lambda found: found[0],
            "out": torch.cat,
            "grad": torch.cat if "feats" in key or "residual" in key else sum,
        }[key.partition("_")[0]]([part[key] for part in parts])
        tolerance = TOLERANCES[dtype]
        scale = float(value.abs().max().clamp(min=1.0))
        torch.testing.assert_close(found, value, rtol=tolerance, atol=tolerance * scale)


def test_alone_it_is_the_norm_of_the_own_rows() -> None:
    given = inputs("uneven", torch.float64)
    found = normalized(norm_of(SyncBatchNorm1d, torch.float64), given, True, True)
    expected = normalized(norm_of(torch.nn.BatchNorm1d, torch.float64), given, True, True)
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-12, atol=1e-12)


def test_a_model_keeps_parameters_state_and_evaluation() -> None:
    model = models.build_model("minkunet", 3, 4, depths=[1, 1], widths=[8, 8], stem_width=8)
    parameters, state = list(model.parameters()), dict(model.state_dict())
    assert synchronized(model) is model
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm1d)]
    assert norms and all(type(norm) is SyncBatchNorm1d for norm in norms)
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert list(model.state_dict()) == list(state)
    norm = norm_of(SyncBatchNorm1d, torch.float32).eval()
    feats = torch.randn(6, CHANNELS)
    expected = ops.batch_norm(feats, norm.weight, norm.bias, norm.running_mean, norm.running_var)
    assert torch.equal(batch_norm_rows(norm, feats), expected)
    assert nn.folded(model) is not model
