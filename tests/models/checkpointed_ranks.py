"""What a rank of `test_ranks_exchange_nothing_again` does."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pointseg import distributed
from pointseg.models import build_model
from pointseg.models.codebook_unet import CodebookUNet
from pointseg.nn import synchronized
from tests.nn.grids import random_tensor

SHAPE: dict[str, Any] = {"depths": [1, 1, 1, 1], "widths": [8] * 4, "stem_kernel": 3}
CODEBOOKS = ({"choice": "vq", "query": "none"}, {"prior": "learned"})


def build(codebook: dict[str, Any]) -> CodebookUNet:
    model = build_model("codedvtr", 4, 5, **SHAPE, codebook=codebook).train()
    assert isinstance(model, CodebookUNet)
    return model


def step(codebook: dict[str, Any], parts: tuple[str, ...]) -> tuple[dict[str, Tensor], int]:
    """Gradients and buffers of this rank, and how many exchanges they took."""
    exchanges = 0
    gathered = distributed._gathered

    def counted(row: Tensor) -> Tensor:
        nonlocal exchanges
        exchanges += 1
        return gathered(row)

    torch.manual_seed(0)
    model = synchronized(build(codebook))
    model.checkpoint_activations(parts)
    distributed._gathered = counted
    logits = model(random_tensor(200, 4, seed=distributed.rank()))
    terms, _ = model.training_terms(0.0)
    (logits.square().mean() + sum(terms.values())).backward()
    distributed._gathered = gathered
    grads = {f"{n}.grad": p.grad for n, p in model.named_parameters() if p.grad is not None}
    return {**grads, **dict(model.named_buffers())}, exchanges


def exchanges_of_steps() -> list[int]:
    """For `on_ranks`: exchanges of a step with all kept, per codebook; with checkpointing there are
    as many, and the bits are the same.
    """
    counts = []
    with distributed.process_group("cpu", timeout_s=60):
        for codebook in CODEBOOKS:
            kept, exchanges = step(codebook, ())
            for parts in (("stages",), ("blocks",)):
                found, again = step(codebook, parts)
                assert again == exchanges, (parts, again, exchanges)
                wrong = [name for name in kept if not torch.equal(kept[name], found[name])]
                assert not wrong, (parts, wrong)
            counts.append(exchanges)
    return counts
