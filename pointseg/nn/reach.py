"""How far a network looks: what the output at a voxel may depend on."""

from __future__ import annotations

from dataclasses import dataclass

from pointseg.sparse import KernelSpec, Region, RegionSet


@dataclass(frozen=True)
class Reach:
    """The input voxels that a value may depend on, along each axis, in voxels of the finest grid.

    A value at coordinate c, whatever the stride of its grid, depends on the features of the input
    voxels from ``c - below`` to ``c + above`` and on which of them exist; on nothing else. It is a
    bound for every scene and every alignment, since a strided grid lies at multiples of its stride.
    """

    below: int = 0
    above: int = 0

    @property
    def margin(self) -> int:
        """Width of the strip around a region that the values inside may depend on."""
        return max(self.below, self.above)

    def __or__(self, other: Reach) -> Reach:
        """Of what depends on both."""
        return Reach(max(self.below, other.below), max(self.above, other.above))

    def conv(self, kernel: KernelSpec | Region | RegionSet, stride: int) -> Reach:
        """After a kernel over a grid of ``stride``; of a codebook: after any of its regions."""
        low, high = _extent(kernel)
        out = Reach(self.below - low * stride, self.above + high * stride)
        factor = kernel.stride if isinstance(kernel, KernelSpec) else 1
        # A coarse voxel is there if any voxel in it is, whether a tap sees that one or not.
        return out if factor == 1 else out | Reach(0, factor * stride - 1)

    def transposed_conv(self, spec: KernelSpec, stride: int) -> Reach:
        """After a transposed convolution onto a grid of ``stride``."""
        low, high = _extent(spec)
        return Reach(self.below + high * stride, self.above - low * stride)

    def averaged(self, stride: int) -> Reach:
        """After means of the finest voxels in each voxel of a grid of ``stride``."""
        return Reach(self.below, self.above + stride - 1)

    def interpolated(self, stride: int) -> Reach:
        """After a grid of ``stride`` has been read, trilinear, at the finest voxels."""
        return self if stride == 1 else Reach(self.below + stride - 1, self.above + stride)


def _extent(kernel: KernelSpec | Region | RegionSet) -> tuple[int, int]:
    """Lowest and highest offset of any tap on any axis, and 0, in voxels of the grid."""
    if isinstance(kernel, RegionSet):
        extents = [_extent(region) for region in kernel]
        return min(low for low, _ in extents), max(high for _, high in extents)
    dilation = 1 if isinstance(kernel, Region) else kernel.dilation  # a region's offsets have it in
    values = [dilation * value for offset in kernel.offsets for value in offset]
    return min(0, *values), max(0, *values)
