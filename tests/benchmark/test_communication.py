"""What ranks exchange: counted on real models, and the arithmetic of rings."""

from __future__ import annotations

import pytest
import torch

from pointseg.benchmark.communication import (
    ETHERNET_100,
    NVLINK,
    Link,
    Traffic,
    efficiency,
    efficiency_table,
    registered_traffic,
    ring_s,
    step_s,
    traffic,
    traffic_table,
)
from pointseg.cli import benchmark
from pointseg.models import PRESETS, build_model
from tests.models.test_registry import NUM_PARAMETERS

TINY = {"depths": [1, 1], "widths": [8, 8], "stem_width": 8, "blocks": ["codebook", "basic"]}


def test_sizes_are_those_of_the_registered_models() -> None:
    found = registered_traffic()
    assert set(found) == set(PRESETS)
    assert {name: work.parameters for name, work in found.items()} == NUM_PARAMETERS
    assert found["minkunet34c"].gradient_bytes == 4 * 37_856_052


def test_gradients_have_the_bytes_that_are_said() -> None:
    model = build_model("minkunet", 3, 20, depths=[1, 1], widths=[8, 8], stem_width=8)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    assert traffic(model).gradient_bytes == sum(grad.nbytes for grad in grads)


@pytest.mark.parametrize(
    ("codebook", "more"),
    [
        ({}, 0),
        ({"prior": "learned"}, 1),
        ({"choice": "vq", "query": "none"}, 2),
    ],
)
def test_messages_are_those_of_norms_priors_and_quantisers(
    codebook: dict[str, object], more: int
) -> None:
    model = build_model("codedvtr", 3, 20, **TINY, codebook=codebook)
    norms = sum(isinstance(m, torch.nn.BatchNorm1d) for m in model.modules())
    assert norms > 5
    assert traffic(model).messages == 2 * norms + more


def test_a_ring_sends_every_byte_twice_but_for_the_own_share() -> None:
    link = Link("test", 100.0, 0.5)
    assert ring_s(100, 1, link) == 0
    assert ring_s(100, 2, link) == pytest.approx(1.0)
    assert ring_s(100, 4, link) == pytest.approx(1.5)
    assert ring_s(100, 10**9, link) == pytest.approx(2.0)
    with pytest.raises(ValueError, match="num_ranks"):
        ring_s(100, 0, link)


def test_messages_are_paid_in_every_pass_and_gradients_once_a_step() -> None:
    link = Link("test", 100.0, 0.5)
    work = Traffic(parameters=25, gradient_bytes=100, messages=6)
    assert step_s(work, 2, link) == pytest.approx(1.0 + 3.0)
    assert step_s(work, 2, link, accumulate=4) == pytest.approx(1.0 + 12.0)
    assert step_s(work, 1, link) == 0
    assert efficiency(1.0, step_s(work, 1, link)) == 1.0
    assert efficiency(4.0, step_s(work, 2, link)) == pytest.approx(0.5)
    assert step_s(work, 8, NVLINK) < step_s(work, 8, ETHERNET_100)


def test_tables() -> None:
    work = {"a": Traffic(25_000_000, 100_000_000, 10)}
    *_, row = traffic_table(work).splitlines()
    # 2 * 7/8 * 100 MB over 450 GB/s, and 10 messages of 20 us.
    assert row.startswith("| `a` | 25,000,000 | 100.0 | 10 | 0.39 + 0.2 |")
    lines = efficiency_table(work, (0.1, 1.0)).splitlines()
    assert lines[0] == "| model | ranks | slowest link | 0.1 s | 1 s |"
    assert lines[2] == "| `a` | 1 | - | 100.0 % | 100.0 % |"
    assert len(lines) == 2 + 5


def test_the_command_prints_every_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(["communication"]) == 0
    table = capsys.readouterr().out
    assert all(f"| `{name}` |" in table for name in PRESETS)
    assert benchmark.main(["communication", "--json", "x.json"]) == 2
    assert "communication writes to the terminal" in capsys.readouterr().err
