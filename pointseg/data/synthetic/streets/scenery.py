"""Putting things beside a street without their standing in each other."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pointseg.data.synthetic.mesh import Prop
from pointseg.data.synthetic.streets.course import Course
from pointseg.data.synthetic.streets.layout import Layout, Lot
from pointseg.data.synthetic.streets.materials import Palette


@dataclass
class Scenery:
    """A street being furnished: ``contents`` grows, ``discs`` are places that are taken."""

    course: Course
    layout: Layout
    palette: Palette
    rng: np.random.Generator
    contents: Prop = field(default_factory=Prop)
    discs: list[tuple[float, float, float]] = field(default_factory=list)

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def put(self, prop: Prop, s: float, t: float, yaw: float = 0.0) -> None:
        """Place a prop on the ground at (s, t), its +x along the street turned by ``yaw``."""
        x, y, z, heading = self.course.at(np.array(s), np.array(t))
        height = self.layout.height(s, t)
        self.contents.add(prop, (float(x), float(y), float(z) + height), float(heading) + yaw)

    def put_on(self, lot: Lot, prop: Prop, s: float, out_m: float, yaw: float = 0.0) -> None:
        """Place a prop ``out_m`` from the street's middle; its +y points away from the street."""
        self.put(prop, s, lot.side * out_m, yaw if lot.side > 0 else yaw + np.pi)

    def free(self, s: float, t: float, radius: float) -> bool:
        """Whether nothing that was reserved comes nearer than ``radius``."""
        return all(
            (s - other_s) ** 2 + (t - other_t) ** 2 >= (radius + other) ** 2
            for other_s, other_t, other in self.discs
        )

    def reserve(self, s: float, t: float, radius: float) -> bool:
        """Take a round place if it is free; whether it was."""
        if not self.free(s, t, radius):
            return False
        self.discs.append((s, t, radius))
        return True

    def spot(
        self, lot: Lot, out_m: tuple[float, float], radius: float, tries: int = 12
    ) -> tuple[float, float] | None:
        """Reserve a random round place of a lot: its (s, out), or None where there is no room."""
        for _ in range(tries):
            inset = min(radius, lot.length_m / 2)
            s = self.uniform(lot.start_m + inset, lot.end_m - inset)
            out = self.uniform(*out_m)
            if self.reserve(s, lot.side * out, radius):
                return s, out
        return None
