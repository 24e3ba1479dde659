"""What ranks send each other in a training step, by a model: bytes, messages and their time.

Nothing is measured here. Sizes are those of the registered models, rates are the nominal ones of
links, and what no data sheet says is an assumption that `Link` states. A step ends with one
reduction of all gradients, which begins after the backward pass: the two do not overlap.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from pointseg.models import PRESETS, build_model
from pointseg.nn import GeometryPrior, VectorQuantizer

IN_CHANNELS, NUM_CLASSES = 3, 20
GRADIENT_BYTES = 4  # float32 in every precision: parameters stay float32 under autocast


@dataclass(frozen=True)
class Link:
    """The slowest link of a ring of ranks.

    Attributes:
        name: for tables.
        bytes_per_s: nominal, in one direction, of one rank's link to the next.
        message_s: of a small collective, which latency alone decides; an assumption.
    """

    name: str
    bytes_per_s: float
    message_s: float


NVLINK = Link("NVLink 4", 450e9, 20e-6)
INFINIBAND_400 = Link("400 Gb/s", 50e9, 100e-6)
ETHERNET_100 = Link("100 Gb/s", 12.5e9, 200e-6)


@dataclass(frozen=True)
class Traffic:
    """What a rank exchanges in one step of one pass, whatever the number of ranks.

    Attributes:
        parameters: trained numbers.
        gradient_bytes: of the reduction at the end of the step.
        messages: small collectives of a forward and a backward pass: two of every batch norm that
            sees the voxels of all ranks (moments, and the sums of its gradient), two of every
            quantiser (sums, seeds), one of every prior with running statistics. Activation
            checkpointing adds none.
    """

    parameters: int
    gradient_bytes: int
    messages: int


def traffic(model: nn.Module) -> Traffic:
    """Of a model on any device, ``meta`` among them."""
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    messages = 0
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, VectorQuantizer)):
            messages += 2
        elif isinstance(module, GeometryPrior) and module.is_running:
            messages += 1
    return Traffic(parameters, parameters * GRADIENT_BYTES, messages)


def registered_traffic() -> dict[str, Traffic]:
    """Of every preset, with three input channels and twenty classes."""
    with torch.device("meta"):  # shapes only
        return {name: traffic(build_model(name, IN_CHANNELS, NUM_CLASSES)) for name in PRESETS}


def ring_s(num_bytes: int, num_ranks: int, link: Link) -> float:
    """Least time of a ring all-reduce: every rank sends ``2 (n - 1) / n`` of the bytes to the next
    (Patarasu and Yuan 2009).

    Raises ValueError for less than one rank.
    """
    if num_ranks < 1:
        raise ValueError(f"num_ranks: expected at least 1, got {num_ranks}")
    return 2 * (num_ranks - 1) / num_ranks * num_bytes / link.bytes_per_s


def step_s(work: Traffic, num_ranks: int, link: Link, accumulate: int = 1) -> float:
    """Communication of a step of ``accumulate`` passes; none for a single rank."""
    if num_ranks == 1:
        return 0.0
    messages = accumulate * work.messages * link.message_s
    return ring_s(work.gradient_bytes, num_ranks, link) + messages


def efficiency(compute_s: float, communication_s: float) -> float:
    """Share of a step that is not communication, 0..1."""
    return compute_s / (compute_s + communication_s)


RINGS = ((8, NVLINK), (8, ETHERNET_100), (64, INFINIBAND_400), (64, ETHERNET_100))
"""Ranks and slowest link of the columns of `traffic_table`: eight GPUs of one machine, eight
machines with a GPU each, and eight machines with eight."""


def traffic_table(models: dict[str, Traffic]) -> str:
    """Models as a markdown table: gradients and messages, and the time of both in every ring."""
    names = [f"{ranks} ranks, {link.name}, ms" for ranks, link in RINGS]
    rows = [
        f"| model | parameters | gradients, MB | messages | {' | '.join(names)} |",
        f"|---|---:|---:|---:|{'---:|' * len(names)}",
    ]
    for name, work in models.items():
        times = (
            f"{1e3 * ring_s(work.gradient_bytes, ranks, link):.2f} + "
            f"{1e3 * work.messages * link.message_s:.1f}"
            for ranks, link in RINGS
        )
        rows.append(
            f"| `{name}` | {work.parameters:,} | {work.gradient_bytes / 1e6:.1f} | "
            f"{work.messages} | {' | '.join(times)} |"
        )
    return "\n".join(rows) + "\n"


def efficiency_table(models: dict[str, Traffic], compute_s: Iterable[float]) -> str:
    """Share of a step that ranks compute in, for steps that take ``compute_s`` on one of them."""
    steps = list(compute_s)
    rows = [
        f"| model | ranks | slowest link | {' | '.join(f'{s:g} s' for s in steps)} |",
        f"|---|---:|---|{'---:|' * len(steps)}",
    ]
    for name, work in models.items():
        for ranks, link in ((1, NVLINK), *RINGS):
            spent = step_s(work, ranks, link)
            shares = (f"{100 * efficiency(s, spent):.1f} %" for s in steps)
            label = "-" if ranks == 1 else link.name
            rows.append(f"| `{name}` | {ranks} | {label} | {' | '.join(shares)} |")
    return "\n".join(rows) + "\n"
