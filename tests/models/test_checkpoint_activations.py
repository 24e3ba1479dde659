"""Activations computed again in the backward pass: the same bits, and every effect once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn

from pointseg.benchmark.communication import traffic
from pointseg.models import build_model
from pointseg.models.codebook_unet import CodebookUNet
from pointseg.nn import (
    BatchNorm,
    CodebookBlock,
    Pointwise,
    Sequential,
    VectorQuantizer,
    call_module,
    record_choices,
)
from pointseg.recompute import is_second_pass, once, recomputed
from tests.helpers.ranks import on_ranks
from tests.models import checkpointed_ranks
from tests.models.checkpointed_ranks import CODEBOOKS, exchanges_of_steps
from tests.nn.grids import random_tensor

TINY = {"depths": [1, 2, 1, 1], "widths": [8] * 4, "stem_kernel": 3, "stem_width": 8}
BLOCKS = ["basic", "codebook", "codebook", "bottleneck"]
MODELS: dict[str, dict[str, Any]] = {
    "minkunet": {},
    "codedvtr": {"codebook": {"prior": "learned"}},
    "codedvtr_vq": {"blocks": BLOCKS, "codebook": {"choice": "vq", "query": "none"}},
    "spvcnn": {"blocks": BLOCKS, "codebook": {"choice": "hard", "query": "dot"}},
}
PARTS = (("stages",), ("blocks",), ("decoder.1", "encoder.1.blocks.0", "encoder.1.blocks.1"))


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    return build_model(name.partition("_")[0], 4, 5, **TINY, **MODELS[name]).train()


def trained(name: str, parts: Sequence[str], autocast: bool, prepare: bool) -> dict[str, Any]:
    """Logits, gradients, buffers and random state after two passes, their gradients summed."""
    model = build(name)
    model.checkpoint_activations(parts)
    x = random_tensor(300, 4)
    if prepare:
        x.grid.prepare(model.geometry())
    seen = {}
    for index in range(2):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits = model(x)
        terms = model.training_terms(0.1)[0] if isinstance(model, CodebookUNet) else {}
        (logits.float().square().mean() + sum(terms.values())).backward()
        seen[f"logits.{index}"] = logits.detach()
    seen |= dict(model.named_buffers())
    seen |= {f"{name}.grad": p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {**seen, "random_state": torch.get_rng_state()}


@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", MODELS)
def test_results_gradients_and_statistics_have_the_same_bits(name: str, autocast: bool) -> None:
    kept = trained(name, (), autocast, prepare=True)
    assert sum(key.endswith("running_mean") for key in kept) > 5
    for parts in PARTS[:1] if autocast else PARTS:
        found = trained(name, parts, autocast, prepare=parts == ("stages",))
        assert found.keys() == kept.keys()
        assert [key for key in kept if not torch.equal(kept[key], found[key])] == []


def test_inner_activations_are_not_kept() -> None:
    kept = {}
    x = random_tensor(2000, 4)
    for parts in ((), ("blocks",), ("stages",)):
        model = build("minkunet")
        model.checkpoint_activations(parts)
        held: dict[int, int] = {}

        def pack(tensor: torch.Tensor, held: dict[int, int] = held) -> torch.Tensor:
            held[tensor.data_ptr()] = tensor.nbytes
            return tensor

        parameters = {p.data_ptr() for p in model.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model(x)
        kept[parts] = sum(nbytes for at, nbytes in held.items() if at not in parameters)
    assert kept["stages",] < kept["blocks",] < 0.7 * kept[()]


def test_every_effect_happens_once() -> None:
    """Collectives of a pass are among them: each is inside the call that is counted."""
    updates = 0
    update = VectorQuantizer._update

    def counted(self: VectorQuantizer, *args: Any) -> None:
        nonlocal updates
        updates += 1
        update(self, *args)

    model = build("codedvtr_vq")
    model.checkpoint_activations(["stages"])
    blocks = [m for m in model.modules() if isinstance(m, CodebookBlock)]
    with pytest.MonkeyPatch.context() as patch, record_choices(model) as records:
        patch.setattr(VectorQuantizer, "_update", counted)
        logits = model(random_tensor(300, 4))
        terms, _ = model.training_terms(0.0)
        before = dict(records)
        statistics = [block.last_statistics for block in blocks]
        (logits.square().mean() + terms["commitment"]).backward()
        assert updates == len(blocks) == 3
        assert all(records[name] is record for name, record in before.items())
    assert all(b.last_statistics is s for b, s in zip(blocks, statistics, strict=True))
    # The graph of the second pass is not held.
    assert all(block.choice.last_commitment is None for block in blocks)
    assert {int(m.num_batches_tracked) for m in model.modules() if hasattr(m, "momentum")} == {1}


class OtherNorm(nn.BatchNorm1d):
    """Stands for a norm that has been put in place of torch's."""


def test_dropout_draws_and_other_norms_are_repeated() -> None:
    def run(recomputes: bool) -> list[torch.Tensor]:
        torch.manual_seed(1)
        norm = BatchNorm(8)
        norm.bn = OtherNorm(8)
        block = Sequential(norm, Pointwise(nn.Dropout(0.5)), Pointwise(nn.Linear(8, 8)))
        block.recomputes = recomputes
        x = random_tensor(50, 8)
        x.feats.requires_grad_()
        out = call_module(block, x).feats
        torch.rand(3)  # others draw before the backward pass
        out.square().sum().backward()
        assert x.feats.grad is not None
        return [out.detach(), x.feats.grad, *norm.buffers(), torch.get_rng_state()]

    assert all(map(torch.equal, run(False), run(True)))


def test_a_code_is_seeded_before_dropout_with_the_same_draws() -> None:
    def run(recompute: bool) -> list[torch.Tensor]:
        torch.manual_seed(2)
        quantizer = VectorQuantizer(2, 4, 3, decay=0.9, dead_below=0.9)
        vectors = torch.randn(40, 2, 3, requires_grad=True)

        def both(v: torch.Tensor) -> torch.Tensor:
            return nn.functional.dropout(quantizer(v).distances, 0.5).square()

        out = recomputed(both, vectors) if recompute else both(vectors)
        out.sum().backward()
        assert vectors.grad is not None
        return [vectors.grad, *quantizer.buffers()]

    assert all(map(torch.equal, run(False), run(True)))


def test_a_graph_may_be_walked_twice() -> None:
    calls: list[bool] = []

    def function(x: torch.Tensor) -> torch.Tensor:
        calls.append(is_second_pass())
        scale = once(lambda: torch.rand(1))
        return (x * scale).exp()

    x = torch.ones(3, requires_grad=True)
    out = recomputed(function, x).sum()
    (first,) = torch.autograd.grad(out, x, retain_graph=True)
    (second,) = torch.autograd.grad(out, x)
    assert torch.equal(first, second)
    assert calls == [False, True, True]
    assert not is_second_pass()


def test_one_inside_another_is_refused() -> None:
    x = torch.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="inside one that is computed again itself"):
        recomputed(lambda a: recomputed(torch.exp, a), x)


def test_nothing_is_computed_again_without_gradients() -> None:
    model = build("minkunet").eval()
    model.checkpoint_activations(["stages"])
    with torch.no_grad():
        assert not model(random_tensor(50, 4)).requires_grad


def test_names() -> None:
    model = build("minkunet")
    with pytest.raises(ValueError, match=r"'decoder.7' .*stages, blocks, or of encoder.0, .*1"):
        model.checkpoint_activations(["decoder.7"])
    with pytest.raises(ValueError, match=r"encoder.1.blocks.1 lies in encoder.1, which"):
        model.checkpoint_activations(["encoder.1.blocks.1", "encoder.1"])
    with pytest.raises(ValueError, match="which is computed again as a whole"):
        model.checkpoint_activations(["stages", "blocks"])
    model.checkpoint_activations(["stages"])
    model.checkpoint_activations(["encoder.0"])
    marked = [name for name, m in model.named_modules() if getattr(m, "recomputes", False)]
    assert marked == ["encoder.0"]


def test_ranks_exchange_nothing_again() -> None:
    """Two processes with synchronised norms, codes and priors: the exchanges that the model of
    communication counts, and the same bits.
    """
    expected = [traffic(checkpointed_ranks.build(codebook)).messages for codebook in CODEBOOKS]
    assert on_ranks(exchanges_of_steps, 2) == [expected] * 2
