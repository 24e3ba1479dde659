"""Where the time of a training step goes: native operators by kind, forward and backward apart.

A dispatch mode puts an event before and after every operator of the package. It works below
autograd, in the thread of the backward pass, too; profilers name an operator in a pass that records
gradients after its backward, and not every machine lets them read the device.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pointseg.benchmark.device_timing import new_event, wait_for

# Kind of work by the first pattern found in "operator phase"; all else is the rest.
KINDS = (
    ("geometry", r"kernel_map|row_lists|voxel_|voxelize|downsample|sort_keys|used_taps|geometry"),
    ("convolution, weight gradient", r"conv_weight_grad"),
    ("convolution, forward", r"sparse_conv\w* forward"),
    ("convolution, input gradient", r"sparse_conv\w* backward"),
    ("attention, forward", r"(codebook|depthwise|quantize)\w* forward"),
    ("attention, backward", r"(codebook|depthwise|quantize)\w* backward"),
    ("norm", r"batch_norm"),
    ("other operators", r""),
)
REST = "rest (torch's own operators, and waiting)"


class OpClock(TorchDispatchMode):
    """Events around the package's operators while it is entered; `phase` is set by the caller."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device
        self.phase = "forward"
        self.events: list[tuple[str, Any, Any]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if func.namespace != "pointseg":
            return func(*args, **(kwargs or {}))
        begin, end = new_event(self.device), new_event(self.device)
        begin.record()
        result = func(*args, **(kwargs or {}))
        end.record()
        name = func._schema.name.partition("::")[2]
        self.events.append((f"{name} {self.phase}", begin, end))
        return result

    def times_ms(self) -> dict[str, float]:
        """Time by kind of work, largest first."""
        wait_for(self.device)
        found: dict[str, float] = {}
        for name, begin, end in self.events:
            kind = next(kind for kind, pattern in KINDS if re.search(pattern, name))
            found[kind] = found.get(kind, 0.0) + begin.elapsed_time(end)
        return dict(sorted(found.items(), key=lambda item: -item[1]))


def step_shares(
    phases: Mapping[str, Callable[[], object]], device: torch.device
) -> dict[str, float]:
    """Share of one step's time by kind of work; shares sum to 1.

    phases: what a step does, in order, by name.
    """
    clock = OpClock(device)
    begin, end = new_event(device), new_event(device)
    begin.record()
    with clock:
        for clock.phase, call in phases.items():
            call()
    end.record()
    times = clock.times_ms()
    total = begin.elapsed_time(end)
    shares = {kind: time / total for kind, time in times.items()}
    return {**shares, REST: 1.0 - sum(shares.values())}
