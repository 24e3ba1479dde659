"""The shape of a kernel: which offsets its taps have, and in which order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product

SHAPES = ("cube", "cross")


@dataclass(frozen=True)
class KernelSpec:
    """A kernel over voxels: K taps with integer offsets.

    Taps of an odd size reach from -r to r, of an even size from 0 to size - 1. A cube runs x
    fastest, then y, then z, each axis ascending. A cross is the centre, then for x, y and z in
    turn +1..+r, -r..-1. This is MinkowskiEngine's order, so its weights load without permuting
    them.

    Attributes:
        size: taps along an axis, >= 1.
        stride: output stride relative to the input grid.
        dilation: distance between taps, in voxels of the input grid.
        shape: ``"cube"`` or ``"cross"`` (odd sizes only).
    """

    size: int
    stride: int = 1
    dilation: int = 1
    shape: str = "cube"

    def __post_init__(self) -> None:
        for name in ("size", "stride", "dilation"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name}: expected an integer of at least 1, got {value!r}")
        if self.shape not in SHAPES:
            raise ValueError(f"shape: expected one of {SHAPES}, got {self.shape!r}")
        if self.shape == "cross" and self.size % 2 == 0:
            raise ValueError(f"size: a cross needs an odd size, got {self.size}")

    @cached_property
    def offsets(self) -> tuple[tuple[int, int, int], ...]:
        """Offset (x, y, z) of each tap, in voxels of the input grid before dilation."""
        low = -(self.size // 2) if self.size % 2 else 0
        line = range(low, low + self.size)
        if self.shape == "cube":
            return tuple((x, y, z) for z, y, x in product(line, line, line))
        arm = [*range(1, self.size // 2 + 1), *range(low, 0)]
        taps = [(0, 0, 0)]
        for axis in range(3):
            taps += [(v * (axis == 0), v * (axis == 1), v * (axis == 2)) for v in arm]
        return tuple(taps)

    @property
    def num_taps(self) -> int:
        """K."""
        return len(self.offsets)

    @cached_property
    def nearest_first(self) -> tuple[int, ...]:
        """The taps by their distance from the centre of the kernel: the nearest have most pairs."""
        middle = 0 if self.size % 2 else self.size - 1  # twice the centre of the offsets
        return tuple(
            sorted(
                range(self.num_taps),
                key=lambda tap: sum((2 * v - middle) ** 2 for v in self.offsets[tap]),
            )
        )

    @property
    def is_symmetric(self) -> bool:
        """Whether the map of this kernel is its own mirror: it stays on its grid and is odd."""
        return self.stride == 1 and self.size % 2 == 1

    @property
    def covers_once(self) -> bool:
        """Whether every input voxel lies at one tap of one output voxel: cubes side by side."""
        return (
            self.stride == self.size > 1
            and self.size % 2 == 0
            and self.dilation == 1
            and self.shape == "cube"
        )

    @cached_property
    def mirror(self) -> tuple[int, ...]:
        """For each tap, the tap with the opposite offset; only where :attr:`is_symmetric`."""
        if not self.is_symmetric:
            raise ValueError(f"mirror: {self} has no mirror, it needs stride 1 and an odd size")
        index = {offset: k for k, offset in enumerate(self.offsets)}
        return tuple(index[(-x, -y, -z)] for x, y, z in self.offsets)
