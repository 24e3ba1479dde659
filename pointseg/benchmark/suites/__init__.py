"""The suites: which cases are measured, and against what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pointseg.benchmark.inputs import Room, rooms
from pointseg.benchmark.report import Row
from pointseg.benchmark.suites.cases import Options
from pointseg.benchmark.suites.codebook import codebook_rows
from pointseg.benchmark.suites.data import data_rows
from pointseg.benchmark.suites.model import model_rows
from pointseg.benchmark.suites.ops import ops_rows


@dataclass(frozen=True)
class Suite:
    """Rows of every room; with --quick of the quick rooms only."""

    rows: Callable[[Options, Room], Iterator[Row]]
    all_rooms: tuple[Room, ...]
    quick_rooms: tuple[Room, ...]

    def rooms(self, options: Options) -> tuple[Room, ...]:
        return self.quick_rooms if options.quick else self.all_rooms

    def run(self, options: Options) -> Iterator[Row]:
        for room in self.rooms(options):
            yield from self.rows(options, room)


SUITES = {
    "ops": Suite(ops_rows, rooms("80k", "500k"), rooms("80k")),
    "codebook": Suite(codebook_rows, rooms("20k", "80k", "150k"), rooms("20k")),
    "data": Suite(data_rows, rooms("80k", "500k"), rooms("500k")),
    "model": Suite(model_rows, rooms("500k"), rooms("20k")),
}
