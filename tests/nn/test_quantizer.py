"""Codes as moving averages: what they follow, dead ones, and what a checkpoint needs."""

from __future__ import annotations

import pytest
import torch

from pointseg.nn import VectorQuantizer


def clusters(num: int, seed: int = 0) -> torch.Tensor:
    """[num, 1, 2]: vectors around (5, 0), (-5, 0) and (0, 5)."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.tensor([[5.0, 0.0], [-5.0, 0.0], [0.0, 5.0]])
    which = torch.arange(num) % 3
    return (centres[which] + 0.1 * torch.randn(num, 2, generator=generator))[:, None]


def test_codes_move_to_the_vectors_that_choose_them_and_dead_ones_come_back() -> None:
    torch.manual_seed(0)
    quantizer = VectorQuantizer(heads=1, entries=3, dims=2, decay=0.8, dead_below=0.05)
    quantizer.codes.copy_(torch.tensor([[[4.0, 0.0], [-4.0, 0.0], [90.0, 90.0]]]))
    for seed in range(60):
        quantizer(clusters(300, seed))
    found = quantizer.codes[0]
    for centre in ([5.0, 0.0], [-5.0, 0.0], [0.0, 5.0]):
        assert (found - torch.tensor(centre)).norm(dim=1).min() < 0.1


def test_the_first_batch_is_the_average_so_far() -> None:
    quantizer = VectorQuantizer(1, 2, 2, decay=0.9, dead_below=0.0)
    quantizer.codes.copy_(torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]]))
    vectors = torch.tensor([[[2.0, 0.0]], [[4.0, 0.0]], [[-3.0, 0.0]]])
    quantizer(vectors)
    assert torch.allclose(quantizer.codes[0], torch.tensor([[3.0, 0.0], [-3.0, 0.0]]), atol=1e-4)
    assert torch.equal(quantizer.mean_counts, torch.tensor([[2.0, 1.0]]))
    quantizer(torch.tensor([[[13.0, 0.0]]]))
    expected = (0.9 * 6.0 + 0.1 * 13.0) / (0.9 * 2.0 + 0.1)
    assert float(quantizer.codes[0, 0, 0]) == pytest.approx(expected, abs=1e-3)


def test_nothing_moves_in_evaluation_and_distances_have_a_gradient() -> None:
    torch.manual_seed(0)
    quantizer = VectorQuantizer(2, 4, 3, decay=0.9, dead_below=0.01).eval()
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    vectors = torch.randn(20, 2, 3, requires_grad=True)
    found = quantizer(vectors)
    for name, value in quantizer.state_dict().items():
        assert torch.equal(value, before[name])
    expected = (vectors[:, :, None] - quantizer.codes).square().sum(dim=3)
    assert torch.allclose(found.distances, expected, atol=1e-5)
    assert torch.equal(found.code, expected.argmin(dim=2))
    assert torch.equal(found.nearest, quantizer.codes[torch.arange(2), found.code])
    found.distances.sum().backward()
    assert vectors.grad is not None


def test_the_backward_pass_sees_the_codes_of_the_forward_pass() -> None:
    """Codes move in the forward pass of training, in place; the gradient must not notice."""
    torch.manual_seed(0)
    quantizer = VectorQuantizer(1, 3, 2, decay=0.5, dead_below=0.0)
    codes = quantizer.codes.clone()
    vectors = clusters(30).requires_grad_()
    quantizer(vectors).distances.sum().backward()
    assert not torch.equal(codes, quantizer.codes)
    expected = 2 * (vectors.detach()[:, :, None] - codes).sum(dim=2)
    assert torch.allclose(vectors.grad, expected, atol=1e-4)


def test_state_is_all_that_is_needed_to_go_on_with_the_same_bits() -> None:
    torch.manual_seed(0)
    first = VectorQuantizer(2, 5, 2, decay=0.9, dead_below=0.5)
    first(torch.randn(40, 2, 2))
    second = VectorQuantizer(2, 5, 2, decay=0.9, dead_below=0.5)
    second.load_state_dict(first.state_dict())
    batch = torch.randn(40, 2, 2)
    for quantizer in (first, second):
        torch.manual_seed(7)  # seeding dead codes draws from the global generator
        quantizer(batch)
    for ours, theirs in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


def test_codes_that_nothing_chose_stay_and_an_empty_batch_moves_nothing() -> None:
    torch.manual_seed(0)
    quantizer = VectorQuantizer(1, 4, 2, decay=0.9, dead_below=0.0)
    quantizer.codes.copy_(torch.tensor([[[1.0, 0.0], [50.0, 0.0], [60.0, 0.0], [70.0, 0.0]]]))
    before = quantizer.codes.clone()
    quantizer(torch.zeros(0, 1, 2))
    assert torch.equal(quantizer.codes, before)
    quantizer(torch.ones(10, 1, 2))
    assert torch.equal(quantizer.codes[0, 1:], before[0, 1:])
    assert torch.allclose(quantizer.codes[0, 0], torch.ones(2), atol=1e-4)
