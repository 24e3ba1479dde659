"""Folded models: the same logits, the original left alone, no training."""

from __future__ import annotations

import pytest
import torch

from pointseg import nn
from pointseg.models import MODELS, PRESETS, build_model
from tests.models.networks import with_running_statistics
from tests.nn.grids import random_tensor

TINY = {"depths": [1, 1], "widths": [4, 4], "stem_kernel": 3, "stem_width": 4}
QUERIES = {"dot": {"query": "dot"}, "vq": {"query": "none", "choice": {"name": "vq"}}}


def trained_like(name: str, **options: object) -> torch.nn.Module:
    torch.manual_seed(0)
    sizes = {} if name in PRESETS else TINY
    return with_running_statistics(build_model(name, 6, 13, **sizes, **options)).eval()


def largest_difference(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float((actual - expected).abs().max() / expected.abs().max())


@torch.no_grad()
def assert_same_logits(model: torch.nn.Module) -> None:
    x = random_tensor(400, 6)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    expected = model(x)
    twin = nn.folded(model)
    assert not [m for m in twin.modules() if isinstance(m, nn.BatchNorm)]
    assert largest_difference(twin(x), expected) < 1e-4
    assert torch.equal(model(x), expected)
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize("name", MODELS)
def test_every_model_gives_the_same_logits(name: str) -> None:
    assert_same_logits(trained_like(name))


@pytest.mark.parametrize("query", QUERIES)
def test_every_kind_of_codebook_block(query: str) -> None:
    assert_same_logits(trained_like("codedvtr", blocks=["codebook"] * 2, codebook=QUERIES[query]))


def test_a_model_in_the_middle_of_a_step_can_be_folded() -> None:
    """The commitment of the last pass, which the trainer has not asked for yet, stays behind."""
    options = {"blocks": ["codebook"] * 2, "codebook": QUERIES["vq"]}
    model = trained_like("codedvtr", **options).train()
    model(random_tensor(400, 6))
    twin = nn.folded(model)
    blocks = [m for m in model.modules() if isinstance(m, nn.CodebookBlock)]
    assert all(block.choice.last_commitment is not None for block in blocks)
    twins = [m for m in twin.modules() if isinstance(m, nn.CodebookBlock)]
    assert twins and all(block.choice.last_commitment is None for block in twins)


def test_bottlenecks() -> None:
    assert_same_logits(trained_like("minkunet", block="bottleneck"))


def test_a_model_in_training_is_folded_and_stays_in_training() -> None:
    model = trained_like("minkunet").train()
    twin = nn.folded(model)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not twin.training
    assert not any(parameter.requires_grad for parameter in twin.parameters())


def test_training_a_folded_model_is_refused() -> None:
    twin = nn.folded(trained_like("minkunet")).train()
    with pytest.raises(RuntimeError, match="cannot be trained"):
        twin(random_tensor(50, 6))


def test_folding_twice_changes_nothing() -> None:
    once = nn.folded(trained_like("minkunet"))
    x = random_tensor(100, 6)
    assert torch.equal(nn.folded(once)(x), once(x))


@torch.no_grad()
@pytest.mark.parametrize("name", ["minkunet", "codedvtr_s", "spvcnn"])
def test_autocast(name: str) -> None:
    model, x = trained_like(name), random_tensor(400, 6)
    expected = model(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = nn.folded(model)(x)
    assert logits.dtype == torch.bfloat16
    # Some thirty layers, each rounded to 8 bits.
    assert largest_difference(logits.float(), expected) < 0.1


@torch.no_grad()
def test_geometry_and_the_record_of_choices_are_those_of_the_model() -> None:
    model, x = trained_like("codedvtr_s"), random_tensor(400, 6)
    twin = nn.folded(model)
    assert twin.geometry() == model.geometry()
    with nn.record_choices(model) as wanted, nn.record_choices(twin) as records:
        model(x)
        twin(x)
    assert records.keys() == wanted.keys()
    for name, record in records.items():
        torch.testing.assert_close(record.choice, wanted[name].choice, rtol=1e-3, atol=1e-4)


def test_a_bias_before_the_norm_is_scaled_with_it() -> None:
    conv, norm = nn.SparseConv(3, 4, bias=True).eval(), nn.BatchNorm(4).eval()
    with_running_statistics(norm)
    x = random_tensor(50, 3)
    expected = norm(conv(x)).feats
    conv.fold(norm)
    with torch.no_grad():
        torch.testing.assert_close(conv.infer(x).feats, expected, rtol=1e-5, atol=1e-5)
