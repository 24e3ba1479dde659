"""The worker's side, the same for every engine: read the problem, measure, write the answer."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from pointseg.benchmark.peers.process import Job, load_arrays, matching_rows, save_arrays
from pointseg.benchmark.timing import median_ms
from pointseg.machine import keep_freed_memory

Results = dict[str, Tensor]


@dataclass(frozen=True)
class Layer:
    """A convolution of an engine over coordinates that its map is known for.

    Attributes:
        forward: features [N, C_in] -> features [N, C_out].
        weight: its parameter, in its own layout.
        to_our_layout: of anything shaped like `weight`.
        coords: (batch, x, y, z) of the rows that `forward` puts out, int32 [N, 4].
    """

    forward: Callable[[Tensor], Tensor]
    weight: Tensor
    to_our_layout: Callable[[Tensor], Tensor]
    coords: Tensor


class Engine(Protocol):
    """What a worker module knows of its engine. Rows of features are those of the coordinates
    given; weights come in our layout, [K, C_in, C_out] or [K, C], x fastest among the taps.
    """

    version: str

    def find_map(self, coords: Tensor) -> Any:
        """The 3x3x3 map of voxels, from coordinates alone: this is what is timed."""

    def neighbors(self, found: Any, coords: Tensor) -> Results:
        """A found map as ``neighbors``, int32 [N, 27], input row or -1, and ``coords`` of rows."""

    def sparse_conv(self, coords: Tensor, weight: Tensor) -> Layer: ...

    def depthwise_conv(self, coords: Tensor, weight: Tensor) -> Layer: ...


def main(load: Callable[[], Engine]) -> None:
    """Do the job in the folder that the command line names.

    Whatever goes wrong ends the process with its traceback, whose last line the parent reports.
    """
    keep_freed_memory()  # the parent does, too
    folder = Path(sys.argv[1])
    job = Job(**json.loads((folder / "job.json").read_text(encoding="utf-8")))
    engine = load()
    problem = load_arrays(folder / "problem.npz")
    answer: dict[str, Any] = {"version": engine.version}
    results: Results = {}
    if job.operator != "version":
        call, results = _prepare(engine, job, problem)
        answer["median_ms"] = median_ms(call, job.repeats)
    save_arrays(folder / "results.npz", results)
    (folder / "answer.json").write_text(json.dumps(answer), encoding="utf-8")


def _prepare(engine: Engine, job: Job, problem: Results) -> tuple[Callable[[], Any], Results]:
    """What to time, and the results of one call."""
    coords = problem["coords"]
    if job.operator == "kernel_map":
        results = engine.neighbors(engine.find_map(coords), coords)
        return lambda: engine.find_map(coords), results
    layer: Layer = getattr(engine, job.operator)(coords, problem["weight"])
    feats = problem["feats"]
    if not job.backward:

        def forward() -> Tensor:
            with torch.no_grad():
                return layer.forward(feats)

        return forward, {"out": forward(), "coords": layer.coords}

    grad = problem["grad"][matching_rows(layer.coords, coords)]
    leaves = (feats.requires_grad_(), layer.weight)

    def both() -> tuple[Tensor, ...]:
        out = layer.forward(feats)
        return (out, *torch.autograd.grad(out, leaves, grad))

    out, grad_feats, grad_weight = both()
    results = {"out": out, "grad_feats": grad_feats, "coords": layer.coords}
    results["grad_weight"] = layer.to_our_layout(grad_weight).contiguous()
    return both, results
