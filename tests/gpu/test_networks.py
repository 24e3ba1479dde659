"""Whole networks: a training step that never waits, and a forward pass in a CUDA graph."""

from __future__ import annotations

import contextlib

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pointseg.engine.optimizers import OptimizerConfig, build_optimizer
from pointseg.models import build_model
from pointseg.sparse import SparseTensor, VoxelGrid
from tests.gpu.place import Place
from tests.ops import scenes
from tests.ops.cases import CASES, Case

NETWORKS = ("minkunet", "codedvtr")
TINY = {"depths": [1, 1], "widths": [16, 16], "stem_kernel": 3, "stem_width": 16}
IN_CHANNELS, NUM_CLASSES = 3, 5
TOLERANCE = 1e-4  # of the largest value: float32 through a dozen layers with batch norms


def network(name: str, device: torch.device) -> nn.Module:
    torch.manual_seed(0)
    return build_model(name, IN_CHANNELS, NUM_CLASSES, **TINY).to(device)


def prepared(model: nn.Module, coords: Tensor) -> VoxelGrid:
    grid = VoxelGrid(coords, num_scenes=2)
    return grid.prepare(model.geometry())  # type: ignore[operator]


def train(
    name: str, coords: Tensor, place: Place | None, dtype: torch.dtype | None
) -> list[Tensor]:
    """Losses and parameters of three steps on a prepared grid; the last two must not wait."""
    device = coords.device
    model = network(name, device)
    grid = prepared(model, coords)
    feats = scenes.randn(len(coords), IN_CHANNELS, seed=1, dtype=torch.float32).to(device)
    labels = torch.arange(len(coords), device=device) % NUM_CLASSES
    optimizer = build_optimizer(OptimizerConfig(lr=0.01), model)
    autocast = contextlib.nullcontext() if dtype is None else torch.autocast(device.type, dtype)
    losses = []
    for step in range(3):
        waits = place is None or step == 0  # libraries and memory come with the first step
        with contextlib.nullcontext() if waits else place.no_host_sync():
            with autocast:
                logits = model(SparseTensor(feats, grid))
            loss = F.cross_entropy(logits.float(), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        losses.append(loss.detach())
    return [torch.stack(losses), *(p.detach() for p in model.parameters())]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_training_step_waits_for_nothing_and_is_that_of_the_cpu(name: str, place: Place) -> None:
    coords = place.surface(on_gpu=5000, emulated=40)
    expected = train(name, coords, None, None)
    with place.kernels_in_use():
        first = train(name, coords.to(place.device), place, None)
        again = train(name, coords.to(place.device), place, None)
    for ours, same, wanted in zip(first, again, expected, strict=True):
        assert torch.equal(ours, same)
        scenes.assert_close(ours.cpu(), wanted, 10 * TOLERANCE)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_a_training_step_in_16_bits_waits_for_nothing(
    name: str, dtype: torch.dtype, place: Place
) -> None:
    coords = place.surface(on_gpu=5000, emulated=40)
    with place.kernels_in_use():
        losses, *parameters = train(name, coords.to(place.device), place, dtype)
    assert losses.isfinite().all()
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in parameters)


@pytest.mark.parametrize("name", NETWORKS)
def test_forward_in_a_graph(name: str, gpu: torch.device) -> None:
    """Captured on a prepared grid, replayed with other features: the bits of a plain call."""
    model = network(name, gpu).eval()
    coords = scenes.surface_voxels(5000, seed=4, num_scenes=2).to(gpu)
    grid = prepared(model, coords)
    first, second = (
        scenes.randn(len(coords), IN_CHANNELS, seed=seed, dtype=torch.float32).to(gpu)
        for seed in (1, 2)
    )
    feats = first.clone()
    with torch.no_grad():
        replayed = captured(lambda: model(SparseTensor(feats, grid)))
        for wanted in (second, first):
            feats.copy_(wanted)
            assert torch.equal(replayed(), model(SparseTensor(wanted, grid)))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_op_in_a_graph(case: Case, gpu: torch.device) -> None:
    coords = scenes.surface_voxels(600, seed=4, num_scenes=2).to(gpu)
    problem = case.on_device(coords, torch.float32)
    inputs = [x.clone() for x in problem.inputs]
    with torch.no_grad():
        replayed = captured(lambda: problem.function(*inputs))
        others = [x.flip(0).contiguous() for x in problem.inputs]
        for held, other in zip(inputs, others, strict=True):
            held.copy_(other)
        assert torch.equal(replayed(), problem.function(*others))


def captured(call):  # type: ignore[no-untyped-def]
    """`call` in a graph: a function that replays it and gives a copy of its result."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # what is made only once is made before
        for _ in range(2):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = call()

    def replay() -> Tensor:
        graph.replay()
        return out.clone()

    return replay
