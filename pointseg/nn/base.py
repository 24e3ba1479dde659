"""What every module over a `SparseTensor` can say about itself: geometry, and how far it looks.

Strides are relative: the grid that enters a model has stride 1, whatever its own stride is. A
module is asked with the stride at which it stands and answers with plan entries
``(stride of the finer grid, KernelSpec)`` and with the stride that it leaves behind. Walking the
modules in the order of the forward pass gives the plan of a whole model, which
`VoxelGrid.prepare` turns into grids and kernel maps in one go. A plan has each kernel once, however
often it is used; how far a network looks is therefore asked for in a walk of its own, `reach`.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from pointseg.nn.reach import Reach
from pointseg.nn.recomputation import call_module
from pointseg.sparse import GeometryPlan, SparseTensor


class SparseModule(nn.Module):
    """Base of modules from `SparseTensor` to `SparseTensor`; needs no geometry by default.

    recomputes: whether a container runs it by `call_module`, which keeps its input alone for
    the backward pass.
    """

    recomputes = False

    def geometry(self, stride: int = 1) -> GeometryPlan:
        """Plan entries that a forward pass asks for when its input has relative stride `stride`."""
        return ()

    def out_stride(self, stride: int) -> int:
        """Relative stride of the output, given that of the input."""
        return stride

    def reach(self, of_input: Reach, stride: int = 1) -> Reach:
        """`Reach` of the output, given that of the input at relative stride `stride`.

        A module that asks for kernel maps must say so itself: TypeError.
        """
        if self.geometry(stride):
            raise TypeError(
                f"{type(self).__name__} has kernels and does not say how far they look: "
                "implement reach(of_input, stride)"
            )
        return of_input


def merge_plans(plans: Iterable[GeometryPlan]) -> GeometryPlan:
    """Join plans into one, each entry once, in the order of first use."""
    return tuple(dict.fromkeys(entry for plan in plans for entry in plan))


def chain_geometry(modules: Iterable[nn.Module], stride: int) -> tuple[GeometryPlan, int]:
    """Plan and final stride of modules that run one after the other, starting at `stride`."""
    plans = []
    for module in modules:
        if not isinstance(module, SparseModule):
            raise TypeError(
                f"geometry can only be collected from SparseModules, got {type(module).__name__}; "
                "wrap a module that works on plain features in pointseg.nn.Pointwise"
            )
        plans.append(module.geometry(stride))
        stride = module.out_stride(stride)
    return merge_plans(plans), stride


def chain_reach(modules: Iterable[nn.Module], of_input: Reach, stride: int) -> Reach:
    """`Reach` after modules that run one after the other, starting at `stride`."""
    for module in modules:
        assert isinstance(module, SparseModule)
        of_input = module.reach(of_input, stride)
        stride = module.out_stride(stride)
    return of_input


class Sequential(nn.Sequential, SparseModule):
    """`nn.Sequential` of `SparseModule`s that also chains their geometry and reach."""

    def forward(self, x: SparseTensor) -> SparseTensor:
        for module in self:
            x = call_module(module, x)
        return x

    def geometry(self, stride: int = 1) -> GeometryPlan:
        return chain_geometry(self, stride)[0]

    def out_stride(self, stride: int) -> int:
        return chain_geometry(self, stride)[1]

    def reach(self, of_input: Reach, stride: int = 1) -> Reach:
        return chain_reach(self, of_input, stride)
