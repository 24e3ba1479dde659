"""The suites: which cases are measured, and against what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pointseg.benchmark.inputs import CORNER, LIDAR, Scene, rooms
from pointseg.benchmark.peers import PEERS, Peer
from pointseg.benchmark.report import Row
from pointseg.benchmark.suites.cases import Options
from pointseg.benchmark.suites.codebook import codebook_rows
from pointseg.benchmark.suites.gpu import gpu_rows
from pointseg.benchmark.suites.memory import memory_rows
from pointseg.benchmark.suites.model import model_rows
from pointseg.benchmark.suites.ops import ops_rows


@dataclass(frozen=True)
class Suite:
    """Rows of every scene; with --quick of the quick scenes only.

    peers: engines that it can set beside us.
    """

    rows: Callable[[Options, Scene], Iterator[Row]]
    all_scenes: tuple[Scene, ...]
    quick_scenes: tuple[Scene, ...]
    peers: tuple[Peer, ...] = ()

    def scenes(self, options: Options) -> tuple[Scene, ...]:
        return self.quick_scenes if options.quick else self.all_scenes

    def run(self, options: Options) -> Iterator[Row]:
        """The rows of the cases that are wanted."""
        for scene in self.scenes(options):
            yield from (row for row in self.rows(options, scene) if options.wants(row.case))


def data_rows(options: Options, scene: Scene) -> Iterator[Row]:
    """The suite of `suites.data`, which needs what reads files; the others need torch alone."""
    from pointseg.benchmark.suites import data

    return data.data_rows(options, scene)


SUITES = {
    "ops": Suite(ops_rows, (*rooms("80k", "500k"), LIDAR), rooms("20k"), PEERS),
    "codebook": Suite(codebook_rows, rooms("20k", "80k", "150k"), rooms("20k")),
    "data": Suite(data_rows, rooms("80k", "500k"), rooms("500k")),
    "gpu": Suite(gpu_rows, (CORNER,), (CORNER,)),
    "model": Suite(model_rows, rooms("500k"), rooms("20k")),
    "memory": Suite(memory_rows, rooms("500k"), rooms("20k")),
}
