"""The codebook attention block: published numbers, finite differences, what gets no gradient."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pointseg.nn import (
    ChoiceConfig,
    CodebookBlock,
    CodebookConfig,
    PriorConfig,
    TemperatureConfig,
    record_choices,
)
from pointseg.nn.choice_record import choice_entropy
from pointseg.sparse import KernelSpec, Region, RegionSet, SparseTensor, VoxelGrid, cubes
from tests.nn.grids import random_tensor

# Our modules and the published names of their kernel and norm.
CONV_NORMS = {
    "value1": ("v.0.0", "v.0.1"),
    "value2": ("v.1.0", "v.1.1"),
    "out": ("out_bn_relu.0", "out_bn_relu.1"),
    "project": ("linear_top.0", "linear_top.1"),
}
DILATIONS = (2, 1, 3)
REGIONS = RegionSet(
    (
        Region(KernelSpec(3)),
        Region(KernelSpec(3, dilation=2), (0, 9, 13, 25)),
        Region(KernelSpec(3, shape="cross")),
    )
)

every_choice = pytest.mark.parametrize(
    ("query", "choice"),
    [
        ("conv", ChoiceConfig("soft")),
        ("dot", ChoiceConfig("soft")),
        ("conv", ChoiceConfig("topk", k=2)),
        ("dot", ChoiceConfig("hard")),
        ("none", ChoiceConfig("vq", code_dim=4)),
    ],
    ids=["soft-conv", "soft-dot", "topk", "hard", "vq"],
)


def published(arrays: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Arrays under published names as ours; kernels of size 1 are matrices there."""
    given = {n.removeprefix(prefix): v for n, v in arrays.items() if n.startswith(prefix)}
    ours = {}
    for module, (kernel, norm) in CONV_NORMS.items():
        if f"{kernel}.kernel" in given:
            weight = given[f"{kernel}.kernel"]
            ours[f"{module}.conv.weight"] = weight if weight.dim() == 3 else weight[None]
        for name, value in given.items():
            if name.startswith(f"{norm}.bn."):
                ours[f"{module}.norm.bn.{name.rsplit('.', 1)[1]}"] = value
    if "downsample.kernel" in given:
        ours["shortcut.weight"] = given["downsample.kernel"][None]
    for entry in range(3):
        ours[f"queries.{entry}.weight"] = given[f"q.{entry}.0.kernel"]
    ours["codebook"] = torch.cat([given[f"codebook.{entry}.0.kernel"] for entry in range(3)])
    return ours


@pytest.mark.parametrize("case", ["codebook_block_same", "codebook_block_project"])
def test_published_block_agrees(goldens: Path, case: str) -> None:
    """Output and choice to 2e-6 of the largest value, tight enough to tell a right choice from a
    uniform one; gradients to 1e-5, they are fp32 sums over all voxels in another order.
    """
    with np.load(goldens / f"{case}.npz") as archive:
        arrays = {name: torch.from_numpy(np.asarray(archive[name])) for name in archive.files}
    block = CodebookBlock(arrays["feats"].shape[1], 16, CodebookConfig(cubes(*DILATIONS)))
    state = published(arrays, "param/")
    block.load_state_dict({**state, "temperature": torch.tensor(1.0)})
    block.eval()
    feats = arrays["feats"].clone().requires_grad_()
    with record_choices(block) as records:
        out = block(SparseTensor(feats, VoxelGrid(arrays["coords"]))).feats
    index = {tuple(row): i for i, row in enumerate(arrays["coords"].tolist())}
    rows = torch.tensor([index[tuple(row)] for row in arrays["out_coords"].tolist()])
    grad_out = torch.zeros_like(out)
    grad_out[rows] = arrays["grad_out"]
    out.backward(grad_out)

    pairs = {
        "out": (out[rows], arrays["out"]),
        "choice": (records[""].choice[rows], arrays["choice"]),
        "grad feats": (feats.grad, arrays["grad_feats"]),
    }
    parameters = dict(block.named_parameters())
    expected = published(arrays, "grad/")
    assert expected.keys() == parameters.keys()
    pairs |= {name: (parameters[name].grad, value) for name, value in expected.items()}
    for name, (ours, theirs) in pairs.items():
        assert ours is not None
        error = float((ours - theirs).detach().abs().max() / theirs.abs().max())
        tolerance = 2e-6 if name in ("out", "choice") else 1e-5
        assert error < tolerance, f"{name}: largest error {error:.1e} of the largest value"


def build(query: str, choice: ChoiceConfig, **options: object) -> CodebookBlock:
    torch.manual_seed(0)
    config = CodebookConfig(REGIONS, heads=2, query=query, choice=choice, **options)  # type: ignore[arg-type]
    return CodebookBlock(3, 4, config)


@pytest.mark.parametrize("query", ["conv", "dot"])
@pytest.mark.parametrize("choice", ["soft", "topk"])
def test_gradients_are_finite_differences_with_s_frozen(query: str, choice: str) -> None:
    block = build(query, ChoiceConfig(choice), prior=PriorConfig("learned")).double()
    x = random_tensor(20, 3, extent=3, dtype=torch.float64)
    for name, parameter in block.named_parameters():
        if name.endswith("bn.bias"):  # away from the kink: where nothing arrives, relu(bias)
            torch.nn.init.uniform_(parameter, 0.05, 0.2)
    frozen = block.scale()
    block.scale = lambda: frozen  # type: ignore[method-assign]
    names, values = zip(*block.named_parameters(), strict=True)

    def run(feats: Tensor, *parameters: Tensor) -> Tensor:
        given = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(block, given, (x.replace(feats),)).feats

    block.eval()
    inputs = (x.feats.requires_grad_(), *(value.detach().requires_grad_() for value in values))
    assert torch.autograd.gradcheck(run, inputs)


@pytest.mark.parametrize("query", ["conv", "dot"])
def test_no_gradient_reaches_the_weights_through_the_logits(query: str) -> None:
    block = build(query, ChoiceConfig("soft"))
    logits = block.logits(random_tensor(40, 4, extent=3))
    logits.sum().backward()
    assert block.codebook.grad is None
    assert block.queries is not None
    assert all(p.grad is not None for p in block.queries.parameters())


@every_choice
def test_every_strategy_trains_and_its_shares_add_up(query: str, choice: ChoiceConfig) -> None:
    block = build(query, choice)
    x = random_tensor(60, 3, extent=4)
    with record_choices(block) as records:
        out = block(x)
    out.feats.square().sum().backward()
    share = records[""].choice
    assert share.shape == (60, 2, 3)
    assert torch.allclose(share.sum(dim=2), torch.ones(60, 2))
    if choice.name in ("hard", "vq"):
        assert torch.equal(share, share.round())  # exactly zero and one
    if choice.name == "topk":
        assert (share == 0).sum(dim=2).eq(1).all()
    for name, parameter in block.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name
    statistics = block.statistics()
    assert sum(statistics.usage()) == pytest.approx(1.0)
    assert 1.0 <= statistics.perplexity() <= 3.0 + 1e-6
    assert statistics.total == 120


@every_choice
def test_declared_geometry_is_what_a_forward_pass_asks_for(
    query: str, choice: ChoiceConfig
) -> None:
    block = build(query, choice)
    x = random_tensor(40, 3)
    x.grid.prepare(block.geometry())
    maps, region_maps = dict(x.grid._maps), dict(x.grid._region_maps)
    block(x)
    assert x.grid._maps == maps
    assert x.grid._region_maps == region_maps


def test_temperature_follows_the_progress_and_is_in_the_state() -> None:
    temperature = TemperatureConfig(4.0, 0.5, "linear")
    block = build("conv", ChoiceConfig("soft"), temperature=temperature)
    x = random_tensor(50, 3, extent=4)
    entropies = []
    for progress in (0.0, 0.5, 1.0):
        block.set_progress(progress)
        assert float(block.state_dict()["temperature"]) == pytest.approx(4.0 - 3.5 * progress)
        with record_choices(block) as records:
            block(x)
        entropies.append(float(choice_entropy(records[""].choice).mean()))
    assert entropies[0] > entropies[1] > entropies[2]


@pytest.mark.parametrize(
    ("shape", "middle"), [("linear", 2.5), ("cosine", 2.5), ("exponential", 2.0)]
)
def test_temperature_schedules(shape: str, middle: float) -> None:
    config = TemperatureConfig(4.0, 1.0, shape)
    assert config.at(0.0) == pytest.approx(4.0)
    assert config.at(0.5) == pytest.approx(middle)
    assert config.at(1.0) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="progress"):
        config.at(1.5)


@pytest.mark.parametrize("kind", ["product", "learned"])
def test_the_prior_moves_the_choice_towards_filled_regions(kind: str) -> None:
    """product: choice proportional to softmax(l / tau) * prior; learned begins there."""
    prior = PriorConfig(kind, temperature=0.5, mean=(0.3, 0.2, 0.1), std=(0.1, 0.2, 0.2))
    block = build("conv", ChoiceConfig("soft"), prior=prior).eval()
    x = random_tensor(60, 3, extent=3)
    with record_choices(block) as records:
        block(x)
    z = block.project(x)  # type: ignore[misc]
    shares = x.grid.region_map(REGIONS).shares()
    standard = (shares - torch.tensor([0.3, 0.2, 0.1])) / torch.tensor([0.1, 0.2, 0.2])
    product = block.logits(z).softmax(dim=2) * (standard / 0.5).softmax(dim=1)[:, None]
    expected = product / product.sum(dim=2, keepdim=True)
    assert torch.allclose(records[""].choice, expected, atol=2e-3)
    assert (block.prior.weight is not None) == (kind == "learned")  # type: ignore[union-attr]


def test_running_statistics_of_the_prior_are_kept_like_those_of_batch_norm() -> None:
    block = build("conv", ChoiceConfig("soft"), prior=PriorConfig("product"))
    x = random_tensor(300, 3, extent=4)
    shares = x.grid.region_map(REGIONS).shares()
    for _ in range(100):
        block(x)
    state = block.state_dict()
    assert torch.allclose(state["prior.mean"], shares.mean(dim=0), atol=1e-4)
    assert torch.allclose(state["prior.var"], shares.var(dim=0), atol=1e-4)
    block.eval()
    block(random_tensor(50, 3, extent=9))
    assert torch.equal(block.state_dict()["prior.mean"], state["prior.mean"])


def test_records_end_with_their_context() -> None:
    block = build("conv", ChoiceConfig("soft"))
    x = random_tensor(30, 3)
    with record_choices(torch.nn.Sequential(torch.nn.ReLU(), block)) as records:
        block(x)
        assert records["1"].grid is x.grid
        assert not records["1"].choice.requires_grad
        with (
            pytest.raises(RuntimeError, match="being recorded already"),
            record_choices(block),
        ):
            pass
    block(x)
    assert block.recorder is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, "3 heads do not divide 8 channels"),
        ({"query": "none"}, "query: 'none' does not go with choice 'soft'"),
        ({"query": "conv", "choice": ChoiceConfig("vq")}, "query: 'conv' does not go with"),
        ({"query": "cross"}, "query: expected one of"),
        ({"heads": 0}, "heads: expected at least 1"),
        ({"choice": ChoiceConfig("topk", k=4)}, "k: 4 of 3 entries"),
        ({"prior": PriorConfig("product", mean=(0.1,), std=(0.1,))}, "mean: expected 3 values"),
        (
            {"query": "none", "choice": ChoiceConfig("vq"), "prior": PriorConfig("product")},
            "prior: vq",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CodebookBlock(4, 4, CodebookConfig(REGIONS, **{"heads": 2, **options}))


@pytest.mark.parametrize(
    ("build_config", "message"),
    [
        (lambda: ChoiceConfig("best"), "name: expected one of soft"),
        (lambda: ChoiceConfig(k=1), "k: expected an integer of at least 2.*'hard'"),
        (lambda: ChoiceConfig(code_dim=0), "code_dim: expected a positive integer"),
        (lambda: ChoiceConfig(decay=1.0), "decay"),
        (lambda: TemperatureConfig(0.0), "start: must be a positive number"),
        (lambda: TemperatureConfig(2.0, 1.0), "'constant' goes nowhere"),
        (lambda: TemperatureConfig(shape="steps"), "shape: expected one of"),
        (lambda: PriorConfig("sum"), "name: expected one of none"),
        (lambda: PriorConfig(mean=(0.1,)), "give both or neither"),
        (lambda: PriorConfig(mean=(0.1,), std=(0.0,)), "std: must be positive"),
    ],
)
def test_bad_constants_are_refused(build_config, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_config()


def test_the_commitment_is_handed_over_once() -> None:
    block = build("none", ChoiceConfig("vq", code_dim=4, commitment=0.5))
    x = random_tensor(30, 3)
    block(x)
    term = block.training_terms()["commitment"]
    assert term.requires_grad
    assert float(term.detach()) > 0
    assert block.training_terms() == {}
    copy.deepcopy(block)  # nothing of a graph is left on the module
    block(x)
    block.eval()
    block(x)
    assert block.training_terms() == {}


def test_autocast_leaves_codes_shares_and_counts_in_float32() -> None:
    x = random_tensor(400, 3, extent=4)
    block = build("none", ChoiceConfig("vq", code_dim=4, dead_below=0.0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        block(x)
        shares = x.grid.region_map(REGIONS).shares()
    assert shares.dtype == torch.float32
    quantizer = block.choice.quantizer  # type: ignore[union-attr]
    assert quantizer.mean_counts.sum(dim=1).eq(400).all()  # bfloat16 could not count so far


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("choice", ["soft", "topk", "hard"])
def test_compiles_as_one_graph(choice: str) -> None:
    block = build("conv", ChoiceConfig(choice), prior=PriorConfig("product")).eval()
    x = random_tensor(50, 3)
    x.grid.prepare(block.geometry())
    x.grid.region_map(REGIONS).shares()
    torch.compiler.reset()
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        assert torch.equal(compiled(x).feats, block(x).feats)
